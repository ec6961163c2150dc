r"""Operational time: a purchase process whose rate follows the calendar, on a clock of its own.

If all rates are multiplied by a profile :math:`s(t)` and dropout happens at purchases, then on the
clock :math:`S(t) = \int^t s` the process is the plain one. A profile is constant within a week
(Monday to Sunday), so the clock is piecewise linear. Weeks are counted from Monday 1970-01-05;
moments are in days since 1970-01-01.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import gammaln

from crmml._typing import FloatArray, IntArray
from crmml.stats import bg_nbd
from crmml.stats.alpha_curves import along_alpha
from crmml.stats.quadrature import legendre

DAYS_PER_WEEK = 7.0
WEEKS_PER_YEAR = 365.2425 / 7.0
FIRST_MONDAY = 4.0
"""Day of the first Monday."""
LONG_WEEK_SHARE = 71.0 / 400.0
"""Share of ISO years that have a week 53: 71 in every 400 years."""


def week_at(day: FloatArray | float) -> IntArray:
    """Return the week that holds a moment.

    Examples
    --------
    >>> week_at(np.array([3.9, 4.0, 11.0])).tolist()
    [-1, 0, 1]
    """
    return np.asarray(np.floor((np.asarray(day) - FIRST_MONDAY) / DAYS_PER_WEEK), dtype=np.int64)


def week_of_year(week: IntArray) -> IntArray:
    """Return the ISO 8601 number (1 to 53) of weeks: that of the year of their Thursday.

    Examples
    --------
    >>> week_of_year(week_at(np.datetime64("2021-01-03").astype(int) + np.array([0, 1]))).tolist()
    [53, 1]
    """
    # ISO 8601 gives a week to the year that holds its Thursday.
    thursday = (np.asarray(week) * 7 + int(FIRST_MONDAY) + 3).astype("datetime64[D]")
    new_year = thursday.astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray((thursday - new_year).astype(np.int64) // 7 + 1)


def week_edges(first: int, n_weeks: int) -> FloatArray:
    """Moments at which consecutive weeks begin, and the end of the last, shape (n_weeks + 1,)."""
    return FIRST_MONDAY + DAYS_PER_WEEK * (first + np.arange(n_weeks + 1.0))


def waves(week_number: IntArray, n: int) -> FloatArray:
    """Sines and cosines of 1 to ``n`` turns a year at the middle of weeks, shape (n_weeks, 2 n)."""
    turn = 2.0 * np.pi * (np.asarray(week_number) - 0.5) / WEEKS_PER_YEAR
    k = np.arange(1, n + 1)
    angle = turn[:, None] * k
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def poisson_regression(
    design: FloatArray, counts: FloatArray, expected: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """Fit counts ~ Poisson(expected x exp(design @ coefficients)) by Newton's method.

    Parameters
    ----------
    design : ndarray, shape (n, p)
        Its first column is the intercept.
    counts, expected : ndarray, shape (n,)
        ``expected`` > 0.

    Returns
    -------
    coefficients : ndarray, shape (p,)
    mean : ndarray, shape (n,)
    log_likelihood : float
    """
    at = np.zeros(design.shape[1])
    at[0] = np.log(counts.sum() / expected.sum())

    def value(at: FloatArray) -> tuple[float, FloatArray]:
        log_mean = design @ at + np.log(expected)
        mean = np.exp(log_mean)
        return float(counts @ log_mean - mean.sum()), mean

    best, mean = value(at)
    for _ in range(100):
        information = (design * mean[:, None]).T @ design
        # Least squares, since a week without expectation leaves the information singular.
        step = np.linalg.lstsq(information, design.T @ (counts - mean), rcond=None)[0]
        moved, its_mean = value(at + step)
        # A long step overshoots where the exponential grows; half of it always climbs in the end.
        while moved < best - 1e-9 * abs(best) and np.abs(step).max() > 1e-12:
            step = step / 2.0
            moved, its_mean = value(at + step)
        at, best, mean = at + step, moved, its_mean
        # Newton squares what is left: of a step of 1e-6 about 1e-12 remains.
        if np.abs(step).max() < 1e-6:
            break
    return at, mean, best - float(gammaln(counts + 1.0).sum())


def choose_waves(
    counts: FloatArray, expected: FloatArray, week_number: IntArray, most: int
) -> tuple[int, float, FloatArray]:
    """Choose how many waves a year the counts support.

    Parameters
    ----------
    counts, expected : ndarray, shape (n_weeks,)
        Purchases, and what is expected of them without a profile.
    week_number : ndarray of int, shape (n_weeks,)
        Week of the year.
    most : int
        Largest number tried.

    Returns
    -------
    n : int
        Minimises ``-2 log L / phi + 2 n log(n_weeks)``: the Bayesian information criterion, with
        the likelihood weakened by the dispersion, so that a good or bad week of one single year
        is not taken for a season.
    phi : float
        Pearson dispersion of the largest model, at least 1.
    coefficients : ndarray, shape (2 n,)
        Of the cosines and sines chosen.
    """
    everything = np.column_stack([np.ones(len(counts)), waves(week_number, most)])
    half = everything.shape[1] // 2
    _, mean, _ = poisson_regression(everything, counts, expected)
    # All candidates are judged by the dispersion of the largest: a poor one must not excuse itself.
    free = max(len(counts) - everything.shape[1], 1)
    phi = max(1.0, float(((counts - mean) ** 2 / mean).sum()) / free)
    scores, found = [], []
    for n in range(most + 1):
        chosen = np.r_[0, 1 : n + 1, half + 1 : half + 1 + n]
        at, _, likelihood = poisson_regression(everything[:, chosen], counts, expected)
        scores.append(-2.0 * likelihood / phi + 2 * n * np.log(len(counts)))
        found.append(at[1:])
    best = int(np.argmin(scores))
    return best, phi, found[best]


def discounted_purchases(
    params: bg_nbd.Params,
    calendar: FloatArray,
    clock: FloatArray,
    delta: float,
) -> FloatArray:
    r"""E[sum of exp(-delta u) over the purchases] of active customers, ``u`` in calendar time.

    By parts, :math:`e^{-\delta t} E[X(S(t))] + \delta \int_0^t e^{-\delta u} E[X(S(u))] du`. As a
    function of ``log(1 + v / c)`` the expectation ``E[X(v)]`` is smooth for all customers alike, so
    it is interpolated between a few dozen Chebyshev nodes, and the integral along the calendar
    becomes one fixed weighted sum of its values there.

    Parameters
    ----------
    params : Params
        Of active customers of the BG/NBD or MBG/NBD, fields of shape (n,) or numbers.
    calendar, clock : ndarray, shape (m,)
        Points of time after the cutoff, both from 0 on, between which the clock runs evenly.
    delta : float
        Continuous discount rate per unit of calendar time, >= 0.

    Returns
    -------
    ndarray, shape (n,)
    """
    fields = bg_nbd.Params(*np.broadcast_arrays(*(np.atleast_1d(v) for v in params)))
    work = partial(_by_bend, calendar=calendar, clock=clock, delta=delta)
    if np.ndim(params.a):  # customers who differ in dropout share no curves
        return work(fields)
    return along_alpha((calendar.tobytes(), clock.tobytes(), delta), fields, work)


def _by_bend(
    params: bg_nbd.Params, calendar: FloatArray, clock: FloatArray, delta: float
) -> FloatArray:
    r, alpha, a, b = params
    # The time in which the expectation of a customer bends, rounded down to a power of four: those
    # of one such time share their nodes, so that no figure depends on who else is there.
    bends = alpha / (1.0 + r * (a + 4.0) / (a + b + 4.0))
    powers = np.floor(0.5 * np.log2(bends))
    total = np.empty(len(r))
    for power in np.unique(powers):
        rows = np.flatnonzero(powers == power)
        nodes, shares = _along(float(4.0**power), calendar, clock, delta)
        its = bg_nbd.Params(r[rows], alpha[rows], a[rows], b[rows])
        total[rows] = bg_nbd.weighted_expectations(its, nodes, shares)
    return total


def _along(
    bend: float, calendar: FloatArray, clock: FloatArray, delta: float
) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights that make discounted purchases of expectations that bend in ``bend``."""
    end = float(clock[-1])
    length = np.log1p(end / bend)
    # The nearest pole sets how fast Chebyshev coefficients fall, and so how many nodes are needed.
    ellipse = np.arcsinh(2.0 * np.pi / length)
    n = 8 + int(np.ceil(30.0 / ellipse))
    angle = np.pi * (np.arange(n) + 0.5) / n
    nodes = bend * np.expm1(length * (np.cos(angle) + 1.0) / 2.0)

    # Chebyshev coefficients of the functional: value at the end, and the integral on the way.
    functional = np.full(n, np.exp(-delta * float(calendar[-1])))
    points, weights = legendre(4)
    # Blocks keep a daily profile of centuries out of memory.
    for low in range(0, len(calendar) - 1, 4096):
        u, v = calendar[low : low + 4097], clock[low : low + 4097]
        stretch = np.diff(u)
        at = u[:-1, None] + points * stretch[:, None]
        on_clock = v[:-1, None] + points * np.diff(v)[:, None]
        mass = delta * np.exp(-delta * at) * weights * stretch[:, None]
        where = np.clip(2.0 * np.log1p(on_clock / bend) / length - 1.0, -1.0, 1.0)
        functional += mass.ravel() @ np.polynomial.chebyshev.chebvander(where.ravel(), n - 1)
    functional[1:] *= 2.0
    shares = np.cos(np.outer(angle, np.arange(n))) @ functional / n
    return nodes, shares
