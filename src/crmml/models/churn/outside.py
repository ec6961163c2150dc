"""Churn of those whom no churn model was calibrated for: the process's word, held to what happened.

A churn model is calibrated on its candidates, customers who bought not long ago. Of all others the
purchase process says how likely no purchase is, and a few closed windows say how often that came
true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy.special import expit, logit

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import DataError

FREQUENCY_EDGES = (1.0, 2.0, 4.0, 8.0)
"""Repeat purchases at which the groups 1, 2 to 3, 4 to 7, and 8 or more begin; 0 is the first."""

INACTIVITY_EDGES = (1.0, 2.0, 4.0, 8.0)
"""Horizons of inactivity above which the groups after the first begin."""

_N_TERMS = 2 + (len(FREQUENCY_EDGES) + 1) + (len(INACTIVITY_EDGES) + 1)
_LEVEL, _SHAPE, _WINDOW = 0.5, 0.25, 0.25
"""Standard deviations, in log-odds and before any case, of the level outside the candidates, of
slope and groups, and of the level of one window: windows differ as a whole, so one of them, with
however many customers, does not settle the level of the next."""

_NEVER = 1e-12


@dataclass(frozen=True)
class Cases:
    """Customers of closed windows: what the process said of them, and what happened.

    Attributes
    ----------
    no_purchase : ndarray, shape (n,)
        P(no purchase in the horizon) of the process, as it was served at the cutoff.
    frequency : ndarray, shape (n,)
        Repeat purchases.
    inactivity : ndarray, shape (n,)
        Time since the last purchase, in horizons.
    churned : ndarray, shape (n,)
        1 for no purchase in the outcome window, else 0.
    """

    no_purchase: FloatArray
    frequency: FloatArray
    inactivity: FloatArray
    churned: FloatArray

    def beyond(self, horizons: float) -> Self:
        """Return the cases that have been inactive for longer than so many horizons."""
        keep = self.inactivity > horizons
        return type(self)(*(column[keep] for column in vars(self).values()))

    def __len__(self) -> int:
        return len(self.churned)


def frequency_group(frequency: FloatArray) -> IntArray:
    """Return the number of the group of :data:`FREQUENCY_EDGES`, shape (n,).

    Examples
    --------
    >>> frequency_group(np.array([0.0, 1.0, 3.0, 8.0, 90.0])).tolist()
    [0, 1, 2, 4, 4]
    """
    return np.searchsorted(FREQUENCY_EDGES, frequency, side="right").astype(np.int64)


def inactivity_group(inactivity: FloatArray) -> IntArray:
    """Return the group of :data:`INACTIVITY_EDGES`, shape (n,); the argument is in horizons.

    Examples
    --------
    >>> inactivity_group(np.array([0.0, 1.0, 1.5, 4.0, 4.1])).tolist()
    [0, 0, 1, 2, 3]
    """
    return np.searchsorted(INACTIVITY_EDGES, inactivity, side="left").astype(np.int64)


@dataclass(frozen=True)
class OutsideCalibration:
    """P(no purchase) outside the candidates: the log-odds of the process, moved to what happened.

    The log-odds are linear in those of the process, with a term for each group of frequency and of
    inactivity, all shrunk: without a case the process has its word.

    Attributes
    ----------
    candidate_horizons : float
        Who bought within so many horizons is a candidate and has a churn model.
    coefficients : tuple of float
        Intercept, slope, and a term for each group.
    lowest, highest : float
        No probability goes beyond: where few were seen nothing is nearly certain.
    n_cases, n_windows : int
        Customers outside the candidates in the windows, each once for every window, and windows
        that have any.
    """

    candidate_horizons: float
    coefficients: tuple[float, ...]
    lowest: float
    highest: float
    n_cases: int
    n_windows: int

    def __post_init__(self) -> None:
        if len(self.coefficients) != _N_TERMS:
            got = f"{_N_TERMS} numbers; got {len(self.coefficients)}"
            raise DataError(f"coefficients must be {got}", table="OutsideCalibration")

    @classmethod
    def fit(cls, windows: Sequence[Cases], *, candidate_horizons: float) -> Self:
        """Fit on the customers of closed windows; without any the process is left as it is.

        Parameters
        ----------
        windows : sequence of Cases
            One for each window, of all its customers; candidates are passed over.
        candidate_horizons : float
            See :class:`~crmml.models.churn.model.ChurnModel`.

        Notes
        -----
        The mode of a logistic regression with normal priors around "as the process says"; each
        window has a level of its own besides, which is not carried on to other windows.
        """
        parts = [part for part in (p.beyond(candidate_horizons) for p in windows) if len(part)]
        plain = np.zeros(_N_TERMS)
        plain[1] = 1.0
        if not parts:
            return cls(candidate_horizons, tuple(plain.tolist()), 0.0, 1.0, 0, 0)
        matrix = np.concatenate(
            [_matrix(part.no_purchase, part.frequency, part.inactivity) for part in parts]
        )
        window = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        levels = (window[:, None] == np.arange(len(parts))).astype(np.float64)
        found = posterior_mode(
            np.hstack([matrix, levels]),
            np.concatenate([part.churned for part in parts]),
            np.r_[plain, np.zeros(len(parts))],
            np.r_[_LEVEL, np.full(len(plain) - 1, _SHAPE), np.full(len(parts), _WINDOW)],
        )
        # What threads add up in another order differs in the last digits only.
        found = np.round(found[: len(plain)], 9)
        lowest, highest = _supported(expit(matrix @ found))
        n = len(matrix)
        return cls(candidate_horizons, tuple(found.tolist()), lowest, highest, n, len(parts))

    def __call__(
        self, no_purchase: FloatArray, frequency: FloatArray, inactivity: FloatArray
    ) -> FloatArray:
        """Return probabilities of no purchase (n,); the arguments are those of :class:`Cases`."""
        moved = expit(_matrix(no_purchase, frequency, inactivity) @ np.array(self.coefficients))
        return np.asarray(np.clip(moved, self.lowest, self.highest))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "coefficients": list(self.coefficients)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(**{**stored, "coefficients": tuple(stored["coefficients"])})


def carry_over(buys: FloatArray, predictions: FloatArray, calibrated: FloatArray) -> FloatArray:
    """Carry a calibration from one window over to another, customer by customer.

    Parameters
    ----------
    buys : ndarray, shape (n,)
        P(a purchase) of the process within the other window.
    predictions, calibrated : ndarray, shape (n,)
        P(a purchase) within the first window, of the process and calibrated.

    Returns
    -------
    ndarray, shape (n,)
        The log-odds of ``buys`` moved by as much as those of ``predictions`` were.

    Examples
    --------
    >>> half, third, fourth = (np.array([x]) for x in (1 / 2, 1 / 3, 1 / 4))
    >>> carry_over(half, predictions=half, calibrated=third).round(4).tolist()
    [0.3333]
    >>> bool(carry_over(fourth, predictions=half, calibrated=third) < fourth)
    True
    """
    moved = _log_odds(calibrated) - _log_odds(predictions)
    return np.asarray(expit(_log_odds(buys) + moved))


def _log_odds(p: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(p, _NEVER, 1.0 - _NEVER)))


def _matrix(no_purchase: FloatArray, frequency: FloatArray, inactivity: FloatArray) -> FloatArray:
    groups = (
        (frequency_group(frequency), len(FREQUENCY_EDGES) + 1),
        (inactivity_group(inactivity), len(INACTIVITY_EDGES) + 1),
    )
    dummies = [(group[:, None] == np.arange(n)).astype(np.float64) for group, n in groups]
    return np.column_stack([np.ones(len(no_purchase)), _log_odds(no_purchase), *dummies])


def posterior_mode(
    matrix: FloatArray, event: FloatArray, centre: FloatArray, deviations: FloatArray
) -> FloatArray:
    """Find the mode of a logistic regression with independent normal priors."""
    precision = deviations**-2.0

    def loss(at: FloatArray) -> float:
        score = matrix @ at
        fit = float((np.logaddexp(0.0, score) - event * score).sum())
        return fit + float(precision @ (at - centre) ** 2) / 2.0

    found = centre.copy()
    for _ in range(50):
        p = expit(matrix @ found)
        slope = matrix.T @ (p - event) + precision * (found - centre)
        curvature = (matrix * (p * (1.0 - p))[:, None]).T @ matrix + np.diag(precision)
        step, size = np.linalg.solve(curvature, slope), 1.0
        # The loss is convex, so a step that is short enough always helps.
        while loss(found - size * step) > loss(found) and size > 1e-6:
            size /= 2.0
        found = found - size * step
        if np.abs(step).max() < 1e-9:
            break
    return found


def _supported(fitted: FloatArray) -> tuple[float, float]:
    """Find the most extreme probabilities that the number of cases supports.

    Of ``n`` cases alike of which none churned, Laplace's rule says ``1 / (n + 2)``. A probability
    is as extreme as supported if at least so many cases were given one as extreme.
    """
    p = np.sort(fitted)
    as_high = np.arange(len(p), 0, -1)
    highest = np.minimum(p, (as_high + 1.0) / (as_high + 2.0)).max()
    lowest = np.maximum(p, 1.0 / (as_high[::-1] + 2.0)).min()
    return float(lowest), float(highest)
