"""Ratios of gamma functions that keep their digits when both are huge."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from crmml._typing import FloatArray

_LARGE = 50.0


def log_rising(r: FloatArray | float, x: FloatArray | float) -> FloatArray:
    """Logarithm of the rising factorial, ``log Γ(r + x) - log Γ(r)``.

    Parameters
    ----------
    r : float or ndarray
        Positive; from 50 on, Stirling's series is subtracted term by term, so nothing cancels.
    x : float or ndarray
        Non-negative.

    Examples
    --------
    >>> round(float(np.exp(log_rising(3.0, 2.0))), 9)
    12.0
    >>> round(float(log_rising(1e12, 1.0) - np.log(1e12)), 12)
    0.0
    """
    r, x = np.broadcast_arrays(np.asarray(r, dtype=np.float64), np.asarray(x, dtype=np.float64))
    large = r >= _LARGE
    if not large.any():
        return np.asarray(gammaln(r + x) - gammaln(r))
    safe = np.where(large, r, _LARGE)
    series = (
        (safe + x - 0.5) * np.log1p(x / safe)
        + x * (np.log(safe) - 1.0)
        + _correction(safe + x)
        - _correction(safe)
    )
    return np.where(large, series, gammaln(r + x) - gammaln(r))


def log_gamma_mode(shape: FloatArray | float) -> FloatArray:
    """Greatest logarithmic density of ``log λ`` where ``λ`` is Gamma(shape), any rate.

    It is ``shape log(shape) - shape - log Γ(shape)``, by Stirling's series where that cancels.

    Examples
    --------
    >>> round(float(log_gamma_mode(1.0)), 12)
    -1.0
    """
    shape = np.asarray(shape, dtype=np.float64)
    safe = np.maximum(shape, _LARGE)
    series = 0.5 * np.log(safe / (2.0 * np.pi)) - _correction(safe)
    small = np.minimum(shape, _LARGE)
    return np.where(shape >= _LARGE, series, small * np.log(small) - small - gammaln(small))


def _correction(z: FloatArray) -> FloatArray:
    """Stirling's series beyond its leading terms (Abramowitz and Stegun 6.1.41)."""
    square = 1.0 / (z * z)
    return np.asarray((1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0)) / z)
