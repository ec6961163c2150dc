"""Gauss-Legendre rules for integrals of smooth, log-concave functions over a stretch of time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from crmml._typing import FloatArray, IntArray

REACH = 40.0
"""Nats below the peak at which an integrand is negligible: ``exp(-40) = 4e-18``."""


@lru_cache(maxsize=64)
def legendre(n: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of the ``n``-point Gauss-Legendre rule on (0, 1).

    Examples
    --------
    >>> nodes, weights = legendre(3)
    >>> round(float(weights @ nodes**5), 12) == round(1 / 6, 12)
    True
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1.0) / 2.0, weights / 2.0


def nodes_needed(fall: FloatArray, length: FloatArray) -> IntArray:
    """How many nodes give 1e-13 relative for ``exp(-G(w))`` on ``(0, length)``.

    Parameters
    ----------
    fall : ndarray
        ``|G(length)|``, the range of the exponent; ranges beyond some sixty nats are meant to be
        cut off before.
    length : ndarray
        Length of the interval in logarithmic time, whose nearest singularity lies pi away.

    Returns
    -------
    ndarray of int
        Multiples of four, so that rows fall into few groups.

    Notes
    -----
    Measured against 200 nodes over twenty thousand random histories and parameters.
    """
    needed = np.maximum(np.minimum(6.0 + 0.5 * fall, 24.0), 6.0 + 3.2 * length)
    return (4 * np.ceil(needed / 4.0)).astype(np.int64)
