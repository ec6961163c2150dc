r"""Newcomers: a purchase rate that settles down, as a clock of each customer's own.

Many customers buy faster (or slower) soon after their first purchase than they do for good. If
the rate of a customer is multiplied by :math:`g(u) = 1 + (f - 1) e^{-u/\kappa}` at the age ``u``
since the first purchase, and dropout happens at purchases, then on the clock
:math:`S(u) = \int_0^u g = u + (f-1) \kappa (1 - e^{-u/\kappa})` the process is the plain one, with
the density of the purchase times multiplied by :math:`g` at each of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crmml._typing import FloatArray, IntArray
from crmml.stats import bg_nbd


class NewcomerEffect(NamedTuple):
    """How the purchase rate settles.

    Attributes
    ----------
    first : float
        ``f``, the rate just after the first purchase over the settled rate, > 0.
    decay : float
        ``kappa``, the time in which the difference falls to 1/e of itself, > 0.
    """

    first: float
    decay: float

    def rate(self, age: FloatArray) -> FloatArray:
        """Multiplier of the purchase rate at some ages.

        Examples
        --------
        >>> NewcomerEffect(3.0, 4.0).rate(np.array([0.0, 4.0, 1000.0])).round(4)
        array([3.    , 1.7358, 1.    ])
        """
        return np.asarray(1.0 + (self.first - 1.0) * np.exp(-np.asarray(age) / self.decay))

    def passed(self, age: FloatArray, t: FloatArray) -> FloatArray:
        """Operational time ``S(age + t) - S(age)`` of customers of some ages.

        Examples
        --------
        >>> NewcomerEffect(3.0, 4.0).passed(np.array([0.0, 400.0]), np.array([52.0, 52.0])).round(4)
        array([60., 52.])
        """
        left = np.exp(-np.asarray(age) / self.decay)
        return np.asarray(t + (self.first - 1.0) * self.decay * left * -np.expm1(-t / self.decay))


def discounted_purchases(
    params: bg_nbd.Params, age: FloatArray, t: FloatArray, delta: float, effect: NewcomerEffect
) -> FloatArray:
    """E[sum of exp(-delta u) over the purchases in (0, t]] of active customers of some ages.

    Parameters
    ----------
    params : Params
        Of active customers of the BG/NBD or MBG/NBD on the clock, fields of shape (n,) or numbers.
    age, t : ndarray, shape (n,)
        Time since the first purchase, and the horizon from there, possibly ``inf``.
    delta : float
        Continuous discount rate per unit of time, >= 0; > 0 where ``t`` is infinite.
    effect : NewcomerEffect

    Returns
    -------
    ndarray, shape (n,)
    """

    def clock(u: FloatArray, rows: IntArray) -> FloatArray:
        return effect.passed(age[rows, None], u)

    # Of those whose rate has settled the clock is that of the calendar.
    change = np.abs(effect.rate(age) - 1.0)
    scale = np.where(change > 1e-14, effect.decay, np.inf)
    return bg_nbd.discounted_purchases(params, t, delta, clock, scale)
