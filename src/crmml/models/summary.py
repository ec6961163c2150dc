"""Summary of a fit by maximum likelihood: estimates, their errors, and what the fit is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from crmml.card import Card, Result
from crmml.exceptions import ParameterError

COLUMNS = ("kind", "estimate", "standard_error", "lower", "upper")


@dataclass(frozen=True, repr=False, eq=False)
class ModelSummary(Result):
    """What a fit found.

    Attributes
    ----------
    model : str
        Class of the model.
    estimates : DataFrame
        Index: names. ``kind`` is ``parameter`` (positive), ``coefficient`` (of a covariate),
        ``clock`` or ``calibration``; ``estimate``, ``standard_error``, ``lower`` and ``upper``. The
        interval of a parameter is symmetric in its logarithm, so that it is positive. Errors are
        NaN where the optimum lies on the boundary or does not tell.
    level : float
        Probability of the intervals.
    log_likelihood : float
        At the optimum, without the penalty of a ridge.
    n_parameters : int or None
        Numbers estimated; see :func:`count_parameters`. None where trees cannot be counted: AIC and
        BIC are then NaN.
    n_customers : int
        Customers of the fit, each once, whatever its sample weight.
    notes : tuple of str
        What limits the meaning of the figures.
    """

    model: str
    estimates: pd.DataFrame
    level: float
    log_likelihood: float
    n_parameters: int | None
    n_customers: int
    notes: tuple[str, ...] = ()

    @property
    def aic(self) -> float:
        """Akaike's criterion ``2 k - 2 log L``; less is better, on the same data."""
        if self.n_parameters is None:
            return math.nan
        return 2.0 * self.n_parameters - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Bayesian criterion ``k log n - 2 log L``; less is better, on the same data."""
        if self.n_parameters is None:
            return math.nan
        return self.n_parameters * math.log(self.n_customers) - 2.0 * self.log_likelihood

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of estimates."""
        return self.estimates.copy()

    def _card(self) -> Card:
        rows = [("log-likelihood", f"{self.log_likelihood:,.3f}")]
        if self.n_parameters is not None:
            worth = f"{self.aic:,.2f}, {self.bic:,.2f} ({self.n_parameters} parameters)"
            rows.append(("AIC, BIC", worth))
        room = 13 - len(rows) - min(len(self.notes), 3)
        told = list(self._told())
        if len(told) > room:
            told = [*told[: room - 1], ("and more", f"{len(told) - room + 1} in to_pandas()")]
        notes = [("note", note) for note in self.notes[:3]]
        title = f"{self.model}, summary of the fit to {self.n_customers:,} customers"
        return Card(title, (*told, *rows, *notes))

    def _told(self) -> Iterator[tuple[str, str]]:
        for name, row in self.estimates.drop(columns="kind").astype(float).iterrows():
            value, error, lower, upper = (float(number) for number in row)
            doubt = f"s.e. {error:.4g}, {self.level:.0%}: {lower:.4g} to {upper:.4g}"
            known = math.isfinite(error)
            yield str(name), f"{value:.5g} ({doubt if known else 'no standard error'})"


class WithLikelihood:
    """Mix-in of estimators that maximise a likelihood; it gives them :meth:`summary`."""

    def summary(self, level: float = 0.95) -> ModelSummary:
        """Summarise the fit.

        Parameters
        ----------
        level : float
            Probability of the intervals, strictly between 0 and 1.

        Returns
        -------
        ModelSummary
            To print, to show in a notebook, or as a table (``to_pandas``).

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ParameterError
            If ``level`` is out of range.
        """
        return summarise(self, level)


def count_parameters(model: Any) -> int:
    """Count what a fit estimated: parameters, coefficients, clocks, and a chosen regularity."""
    sizes = [len(getattr(model, name, ())) for name in ("params_", "coefficients_", "clock_names_")]
    return sum(sizes) + (getattr(model, "k_", 1) > 1)


def summarise(model: Any, level: float) -> ModelSummary:
    """Summarise a fitted model; see :meth:`WithLikelihood.summary`."""
    model._check_fitted()
    if not 0.0 < level < 1.0:
        raise ParameterError("level", "strictly between 0 and 1", level)
    reach = NormalDist().inv_cdf(0.5 + level / 2.0)
    rows = {name: row for name, *row in _estimates(model, reach)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))
    return ModelSummary(
        type(model).__name__,
        table.rename_axis("name"),
        level,
        model.log_likelihood_,
        count_parameters(model),
        model.n_customers_,
        (*_limits(model, table), *getattr(model, "notes", ())),
    )


def summarise_plain(
    name: str,
    rows: Mapping[str, tuple[str, float]],
    *,
    log_likelihood: float,
    n_parameters: int | None,
    n_customers: int,
    notes: tuple[str, ...],
) -> ModelSummary:
    """Summarise a fit that has estimates but no standard errors.

    Parameters
    ----------
    name : str
        Of the model.
    rows : mapping of str to (kind, estimate)
    log_likelihood, n_parameters, n_customers, notes
        See :class:`ModelSummary`; the notes say why there are no errors.
    """
    nan = math.nan
    lines = {name: [kind, value, nan, nan, nan] for name, (kind, value) in rows.items()}
    table = pd.DataFrame.from_dict(lines, orient="index", columns=list(COLUMNS))
    return ModelSummary(
        name, table.rename_axis("name"), 0.95, log_likelihood, n_parameters, n_customers, notes
    )


def _estimates(model: Any, reach: float) -> Iterator[tuple[Any, ...]]:
    for name, value in model.params_.items():
        error = model.standard_errors_[name]
        factor = math.exp(reach * error / value) if math.isfinite(error) and value else math.nan
        yield name, "parameter", value, error, value / factor, value * factor
    for name, known in getattr(model, "coefficients_", {}).items():
        yield (name, *_symmetric("coefficient", known["estimate"], known["standard_error"], reach))
    names = list(getattr(model, "clock_names_", ()))
    if names:
        variances = np.diag(np.array(model.joint_covariance_, dtype=np.float64))[-len(names) :]
        errors = np.sqrt(np.where(variances >= 0, variances, np.nan)).tolist()
        for name, value, error in zip(names, model.clock_estimates_, errors, strict=True):
            yield (name, *_symmetric("clock", value, error, reach))


def _symmetric(kind: str, value: float, error: float, reach: float) -> tuple[Any, ...]:
    return kind, value, error, value - reach * error, value + reach * error


def _limits(model: Any, table: pd.DataFrame) -> Iterator[str]:
    """Say what limits the meaning of errors and criteria."""
    if not model.converged_:
        yield "the optimiser stopped before it met its tolerance"
    lost = [str(name) for name in table.index[table["standard_error"].isna()]]
    if lost:
        verb = "has" if len(lost) == 1 else "have"
        yield f"{', '.join(lost)} {verb} no standard error: the optimum lies on the boundary"
    if getattr(model, "ridge", 0.0):
        yield "a ridge shrinks the coefficients: AIC and BIC count them in full"
    if getattr(model, "k_", 1) > 1:
        yield f"the regularity k = {model.k_} counts as a parameter"
