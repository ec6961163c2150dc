"""From a score to a probability by a monotone curve, kept as plain knots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.isotonic import IsotonicRegression, isotonic_regression

from crmml._typing import FloatArray
from crmml.exceptions import TooLittleDataError


@dataclass(frozen=True)
class MonotoneCalibration:
    """Piecewise linear, rising map of a score to the rate of the event that was observed at it.

    Attributes
    ----------
    scores, probabilities : tuple of float
        The knots; scores strictly ascending, probabilities ascending. Beyond the ends the map is
        constant.

    Notes
    -----
    Isotonic regression (scikit-learn), then each flat block is replaced by one knot at its mean
    score (centred isotonic regression, Oron and Flournoy 2017, Statistics in Biopharmaceutical
    Research 9). Unlike the step function this keeps customers of one block in their order.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def fit(cls, score: FloatArray, event: FloatArray) -> Self:
        """Fit the curve on scores (n,) and events of 0 and 1 (n,).

        The rate of a block of ``n`` customers keeps a distance of ``1 / (n + 2)`` from 0 and 1
        (Laplace's rule): where few were seen nothing is nearly certain. A block whose rate then
        falls behind its neighbour's is joined to it.

        Raises
        ------
        TooLittleDataError
            If there is no row.
        """
        n = len(score)
        if not n:
            raise TooLittleDataError("a probability cannot be calibrated on no customers")
        rate = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(score, event)
        rates, block = np.unique(rate, return_inverse=True)
        size = np.bincount(block)
        rates = np.clip(rates, 1 / (size + 2), (size + 1) / (size + 2))
        joined = isotonic_regression(rates, sample_weight=size)
        rates, block = np.unique(joined[block], return_inverse=True)
        size = np.bincount(block)
        centre = np.bincount(block, score) / size
        low, high = float(np.min(score)), float(np.max(score))
        # Half a step of the smallest size outside keeps the order inside the first and last block.
        margin = 1e-4 / (n + 2)
        knots = {
            low: float(rates[0]) - margin,
            **dict(zip(centre.tolist(), rates.tolist(), strict=True)),
        }
        if high > float(centre[-1]):
            knots[high] = float(rates[-1]) + margin
        return cls(tuple(knots), tuple(knots.values()))

    def __call__(self, score: FloatArray) -> FloatArray:
        """Return probabilities (n,) for scores (n,)."""
        return np.asarray(np.interp(score, self.scores, self.probabilities))

    def to_dict(self) -> dict[str, Any]:
        """Return the knots as plain JSON values."""
        return {"scores": list(self.scores), "probabilities": list(self.probabilities)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild the curve from :meth:`to_dict`."""
        return cls(tuple(stored["scores"]), tuple(stored["probabilities"]))
