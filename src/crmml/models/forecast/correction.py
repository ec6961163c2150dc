"""What a learned correction may do: as much as customers outside its training bear out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import brentq

from crmml._typing import FloatArray, IntArray

_LEAST = 200
"""Rows of the class with the largest expectations, where there are so many."""
_SEEN = 3
"""So many customers must have had a factor at least as extreme, or an expectation as large."""


@dataclass(frozen=True)
class FactorBounds:
    """Range of learned factors, by how much the process expects of a customer.

    Learned factors are good where they were learned. Where the process expects next to nothing,
    factors of ten are true; one such factor for a customer of whom it expects thirteen purchases
    would ruin the forecast. So each class of customers of like expectation has a range of its own,
    found from factors of customers whom the trees had not seen.

    Attributes
    ----------
    level : list of float, rising
        Of each class the mean logarithm of the expected purchases per time unit. Between two
        classes the range is interpolated; beyond the last the last one holds.
    low, high : list of float
        Range of the logarithm of the factor: at least three customers outside the training had one
        as small and as large.
    largest : float
        Purchases per time unit that were expected of at least three customers. Beyond, where
        nobody like them was seen, the logarithm of the factor shrinks by ``largest / rate``.
    """

    level: list[float]
    low: list[float]
    high: list[float]
    largest: float

    @classmethod
    def of(cls, rate: FloatArray, score: FloatArray) -> Self:
        """Find the ranges from customers outside the training.

        Parameters
        ----------
        rate : ndarray, shape (n,)
            Purchases that the process expects per time unit, > 0.
        score : ndarray, shape (n,)
            Logarithm of the factor, by trees that have not seen the customer.
        """
        found = []
        for rows in _classes(rate):
            s = np.sort(score[rows])
            m = min(_SEEN, (len(s) + 1) // 2)
            found.append((float(np.log(rate[rows]).mean()), float(s[m - 1]), float(s[-m])))
        level, low, high = (list(column) for column in zip(*found, strict=True))
        return cls(level, low, high, float(np.sort(rate)[-min(_SEEN, len(rate))]))

    def factor(self, rate: FloatArray, score: FloatArray) -> FloatArray:
        """Return the factors that are borne out, shape (n,).

        Parameters
        ----------
        rate : ndarray, shape (n,)
            Purchases that the process expects per time unit.
        score : ndarray, shape (n,)
            Logarithm of the learned factor.
        """
        rate = np.maximum(rate, 1e-12)
        low, high = (np.interp(np.log(rate), self.level, ends) for ends in (self.low, self.high))
        shrunk = np.clip(score, low, high) * np.minimum(1.0, self.largest / rate)
        return np.asarray(np.exp(shrunk))

    def shift(self, rate: FloatArray, score: FloatArray, expected: FloatArray) -> float:
        """Return what to add to the scores so that the factors leave the total as it is.

        Where the ranges do not allow that, it is what comes nearest, between -3 and 3.
        """

        def excess(added: float) -> float:
            return float(expected @ self.factor(rate, score + added) - expected.sum())

        if excess(-3.0) >= 0.0:
            return -3.0
        if excess(3.0) <= 0.0:
            return 3.0
        return float(brentq(excess, -3.0, 3.0, xtol=1e-14, rtol=1e-14))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(**stored)


def _classes(rate: FloatArray) -> list[IntArray]:
    """Rows by rising rate: the lower half, a quarter, an eighth, down to some fifty."""
    rows = np.argsort(rate, kind="stable")
    found = []
    while len(rows) >= 2 * _LEAST:
        found.append(rows[: len(rows) // 2])
        rows = rows[len(rows) // 2 :]
    return [*found, rows]
