"""The model of a ready-made table: encoding, learner and calibration, stored as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError
from crmml.metrics.classification import log_loss
from crmml.models.arguments import check_rows
from crmml.models.labelled.cells import read_cells
from crmml.models.labelled.encoding import TableEncoding
from crmml.models.labelled.learners import Fitted, Logistic, learner_from_dict
from crmml.models.summary import ModelSummary, summarise_plain

BASIS = "cross_fitted"
"""Where probability and interval come from: customers whom the judged fits had not seen."""
MOST_REASONS, LEAST_REASON = 3, 0.1
"""Reasons that a score names, each of which moves the log-odds by so much."""


@dataclass(frozen=True)
class Line:
    """Log-odds from a score by a rising line (Platt 1999).

    Attributes
    ----------
    intercept, slope : float
        ``slope`` is positive.
    """

    intercept: float
    slope: float

    @classmethod
    def fit(cls, score: FloatArray, y: FloatArray) -> Self:
        """Fit to scores of rows that the learner had not seen."""

        def loss(at: FloatArray) -> float:
            return float(log_loss(y, expit(at[0] + np.exp(at[1]) * score)))

        found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6})
        return cls(float(found.x[0]), float(np.exp(found.x[1])))

    def __call__(self, score: FloatArray) -> FloatArray:
        """Return probabilities."""
        return np.asarray(expit(self.intercept + self.slope * score))


@dataclass(frozen=True)
class LabelledModel:
    """Probability of the outcome for a row of a ready-made table.

    Attributes
    ----------
    name : str
        Of the learner.
    encoding : TableEncoding
    learner : Fitted
    line : Line
        Calibration.
    bands : tuple of (predicted, low, high)
        Mean probability of each tenth of the training's customers outside, and the 95 % interval
        of the share to whom it happened.
    threshold : float
        Probability from which a contact pays.
    n_customers : int
        Of the training; 0 for a model stored before it was kept.
    log_likelihood : float
        Of the training's customers, each by fits that had not seen him; NaN likewise.
    """

    name: str
    encoding: TableEncoding
    learner: Fitted
    line: Line
    bands: tuple[tuple[float, float, float], ...]
    threshold: float
    n_customers: int = 0
    log_likelihood: float = math.nan

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together: a stored model may have been edited."""
        self.learner.check(len(self.encoding.features))
        bands = np.array(self.bands, dtype=np.float64)
        rising = bands.ndim == 2 and bands.shape[1:] == (3,) and (np.diff(bands[:, 0]) >= 0).all()
        if not (rising and len(bands) and (bands >= 0).all() and (bands <= 1).all()):
            raise ParameterError("bands", "triples of probabilities, rising and some", self.bands)
        if not np.isfinite([self.line.intercept, self.line.slope]).all():
            raise ParameterError("line", "two finite numbers", self.line)
        if not self.threshold >= 0:
            raise ParameterError("threshold", "a number from 0", self.threshold)

    @property
    def columns(self) -> list[str]:
        """Columns of the table that it reads."""
        return [rule.name for rule in self.encoding.rules]

    def predict(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """Return probabilities of new rows, and what is unlike the training.

        Parameters
        ----------
        rows : DataFrame
            Columns as at training, in any order; further ones are not looked at.

        Returns
        -------
        DataFrame
            ``churn_probability``, ``_lower``, ``_upper``, ``churn_basis``, ``contact_pays`` and
            ``churn_reasons``.
        list of str
            A sentence for each column that is missing or holds what cannot be read.

        Raises
        ------
        UnlikeTrainingError
            If more than half of the columns are missing.
        WrongArgumentError
            If the rows are no table.
        """
        check_rows(rows, self)
        texts, told = self.encoding.read(rows)
        X = self.encoding.matrix(texts)
        probability = self.line(self.learner.score(X))
        predicted, low, high = np.array(self.bands, dtype=np.float64).T
        table = pd.DataFrame(index=rows.index)
        table["churn_probability"] = probability
        table["churn_probability_lower"] = np.minimum(
            probability, np.interp(probability, predicted, low)
        )
        table["churn_probability_upper"] = np.maximum(
            probability, np.interp(probability, predicted, high)
        )
        table["churn_basis"] = BASIS
        table["contact_pays"] = probability >= self.threshold
        table["churn_reasons"] = _reasons(self._shown(texts), self._by_column(X))
        return table, told

    def explain(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return what each column adds to the log-odds of the mean customer of the training.

        Parameters
        ----------
        rows : DataFrame
            As for :meth:`predict`.

        Returns
        -------
        DataFrame
            One column for each column of the table, rows as given.
        """
        check_rows(rows, self)
        texts, _ = self.encoding.read(rows)
        added = self._by_column(self.encoding.matrix(texts))
        return pd.DataFrame(added, index=rows.index, columns=self.columns)

    def summary(self) -> ModelSummary:
        """Summarise the fit: calibration, and coefficients where the learner has some.

        Returns
        -------
        ModelSummary
            Its likelihood is of customers whom the fits had not seen, so that it needs no penalty
            for parameters: AIC and BIC are NaN.
        """
        rows = {
            "calibration: intercept": ("calibration", self.line.intercept),
            "calibration: slope": ("calibration", self.line.slope),
        }
        notes = ["the likelihood is of customers whom the fits had not seen: no AIC and BIC"]
        if isinstance(self.learner, Logistic):
            names = self.encoding.features
            rows["intercept"] = ("coefficient", self.learner.intercept)
            for name, value in zip(
                [*names, *(f"{name} missing" for name in names)],
                self.learner.coefficients.tolist(),
                strict=True,
            ):
                if value:
                    rows[name] = ("coefficient", value)
            notes.append("coefficients are of standardised numbers, shrunk: no standard errors")
        else:
            notes.append("trees have no coefficients; explain(rows) says what each column adds")
        return summarise_plain(
            f"{type(self).__name__} ({self.name})",
            rows,
            log_likelihood=self.log_likelihood,
            n_parameters=None,
            n_customers=self.n_customers,
            notes=tuple(notes),
        )

    def _shown(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Return the cells as people read them, alike whatever kind of file they come from."""
        shown = {}
        for rule in self.encoding.rules:
            cells = texts[rule.name].astype(object)
            if rule.form is not None and rule.form.startswith("number"):
                values = pd.Series(read_cells(cells, rule.form), index=cells.index)
                cells = values.map(lambda value: f"{value:.10g}").astype(object)
                cells = cells.where(values.notna(), None)
            shown[rule.name] = cells.where(cells.notna(), "unknown").map(lambda c: str(c)[:40])
        return pd.DataFrame(shown, index=texts.index)

    def _by_column(self, X: FloatArray) -> FloatArray:
        of_feature = self.line.slope * self.learner.contributions(X)
        owners = np.array(self.encoding.owners)
        parts = [of_feature[:, owners == name].sum(axis=1) for name in self.columns]
        return np.column_stack(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "encoding": self.encoding.to_dict(),
            "learner": self.learner.to_dict(),
            "line": [self.line.intercept, self.line.slope],
            "bands": [list(band) for band in self.bands],
            "threshold": self.threshold,
            "n_customers": self.n_customers,
            "log_likelihood": None if math.isnan(self.log_likelihood) else self.log_likelihood,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        known = stored.get("log_likelihood")
        return cls(
            name=stored["name"],
            encoding=TableEncoding.from_dict(stored["encoding"]),
            learner=learner_from_dict(stored["learner"]),
            line=Line(*map(float, stored["line"])),
            bands=tuple((float(a), float(b), float(c)) for a, b, c in stored["bands"]),
            threshold=float(stored["threshold"]),
            n_customers=int(stored.get("n_customers", 0)),
            log_likelihood=math.nan if known is None else float(known),
        )


def _reasons(shown: pd.DataFrame, added: FloatArray) -> list[str]:
    """Name the cells that move a customer furthest from the mean one, and whither."""
    first = np.argsort(-np.abs(added), axis=1, kind="stable")[:, :MOST_REASONS]
    names, cells = list(shown.columns), shown.to_numpy()
    return [
        "; ".join(
            f"{names[k]} = {cells[i, k]} ({'raises' if added[i, k] > 0 else 'lowers'} it)"
            for k in ranked
            if abs(added[i, k]) >= LEAST_REASON
        )
        for i, ranked in enumerate(first)
    ]
