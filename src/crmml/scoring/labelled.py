"""Score the rows of a labelled table: no history and no time, one probability for each row."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pandas as pd

from crmml.card import Card, Result, listed
from crmml.data.labelled import read_rows
from crmml.exceptions import CrmmlError, ParameterError, UnlikeTrainingError, UnlikeTrainingWarning
from crmml.models.labelled.model import LabelledModel
from crmml.scoring.manifest import Manifest
from crmml.scoring.predictors import Moment, Output, Predictor, as_declared

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LabelledOutcome:
    """Chance that the outcome of a labelled table comes about.

    Attributes
    ----------
    table_model : LabelledModel
        What was chosen.
    """

    table_model: LabelledModel

    name: ClassVar[str] = "labelled"
    tables: ClassVar[frozenset[str]] = frozenset({"labelled"})
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("churn_probability", "number", "probability", "the outcome of the table happens"),
        Output(
            "churn_probability_lower", "number", "probability", "2.5 % end: share seen of the like"
        ),
        Output("churn_probability_upper", "number", "probability", "97.5 % end of the same"),
        Output("churn_basis", "text", "", "where probability and interval come from"),
        Output("contact_pays", "flag", "", "the probability lies above the threshold by profit"),
        Output("churn_reasons", "text", "", "the cells that move it most, from the mean customer"),
    )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Look up the rows of the customers of a snapshot."""
        del so_far
        rows = read_rows(moment.tables, {})
        return self.table_model.predict(rows.set_index("customer_id"))[0]


class LabelledBundle(Protocol):
    """What scoring asks of a bundle."""

    @property
    def manifest(self) -> Manifest:
        """What was trained on what."""
        ...

    @property
    def predictors(self) -> Sequence[Predictor]:
        """Among them the outcome."""
        ...

    @property
    def version(self) -> str:
        """Hash of the model."""
        ...


@dataclass(frozen=True, repr=False)
class LabelledScores(Result):
    """What :func:`crmml.score` returns for the rows of a labelled table.

    Attributes
    ----------
    table : DataFrame
        One row per customer, sorted by ``customer_id``.
    threshold : float
        Probability from which a contact pays.
    told : tuple of str
        What is unlike the training, a sentence each.
    model : LabelledModel
        What scored.
    rows : DataFrame
        What was scored.
    """

    table: pd.DataFrame
    threshold: float
    told: tuple[str, ...]
    model: LabelledModel
    rows: pd.DataFrame

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of scores; changing it leaves the scores as they are."""
        return self.table.copy()

    def explain(self, customer_id: Any) -> pd.DataFrame:
        """Say what each column adds to the log-odds of one customer.

        Parameters
        ----------
        customer_id : int or str

        Returns
        -------
        DataFrame
            Index ``column``; ``value`` and ``adds``, what moves most first.

        Raises
        ------
        CrmmlError
            If the customer is not scored here.
        """
        row = self.rows[self.rows["customer_id"].astype(str) == str(customer_id)]
        if row.empty:
            raise CrmmlError("this customer is not among the rows that were scored")
        added = self.model.explain(row).iloc[0]
        value = row.reindex(columns=self.model.columns).iloc[0].astype(object)
        table = pd.DataFrame({"value": value, "adds": added}).rename_axis("column")
        order = table["adds"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order]

    def _card(self) -> Card:
        pays = int(self.table["contact_pays"].sum())
        rows = [
            ("columns", listed(self.table, most=9)),
            ("mean", f"{self.table['churn_probability'].mean():.1%}"),
            ("contact", f"pays for {pays:,}, whose probability is above {self.threshold:.1%}"),
            *(("unlike", text) for text in self.told[:5]),
            ("more", "to_pandas() is the table, explain(ID) says why, plot() draws them"),
        ]
        return Card(f"Scores of {len(self.table):,} rows of a labelled table", tuple(rows))


def score_labelled(
    bundle: LabelledBundle, rows: Any, *, strict: bool = False, **given: Any
) -> LabelledScores:
    """Score rows of the same kind as the labelled table of the training.

    Parameters
    ----------
    bundle : ScoringBundle
        Of the kind ``labelled``.
    rows : Tables, DataFrame, path, Source, or mapping with one of these by ``labelled``
        No outcome is needed.
    strict : bool
        Refuse rows that are unlike those of the training, instead of warning.
    **given
        What scoring a log takes besides; it is refused.

    Raises
    ------
    ParameterError
        If a cutoff, a budget, a catalogue and so on are given: the table has no time and no money.
    UnlikeTrainingError
        If more than half of the columns are missing; with ``strict``, if anything is unlike.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            rule = "left out: a labelled table has no time, no value and no actions"
            raise ParameterError(name, rule, value)
    predictor = outcome_of(bundle)
    read = read_rows(rows, bundle.manifest.reading.get("labelled", {}))
    found, told = predictor.table_model.predict(read.drop(columns="customer_id"))
    if told and strict:
        raise UnlikeTrainingError("; ".join(told))
    for sentence in told:
        warnings.warn(sentence, UnlikeTrainingWarning, stacklevel=3)
    table = pd.DataFrame({"customer_id": read["customer_id"]})
    for output in predictor.outputs:
        table[output.name] = as_declared(found[output.name], output.dtype, table.index)
    table["model_version"] = bundle.version
    model = predictor.table_model
    return LabelledScores(table, model.threshold, tuple(told), model, read)


def outcome_of(bundle: LabelledBundle) -> LabelledOutcome:
    """Return the predictor of a bundle of the kind ``labelled``.

    Raises
    ------
    CrmmlError
        If there is none.
    """
    for predictor in bundle.predictors:
        if isinstance(predictor, LabelledOutcome):
            return predictor
    raise CrmmlError("this bundle was not trained on a labelled table")


def card_of(bundle: LabelledBundle) -> Card:
    """Return the card of a bundle of the kind ``labelled``."""
    known, model = bundle.manifest, outcome_of(bundle).table_model
    rows = (
        ("trained", f"on {known.customers or 0:,} customers by crmml {known.crmml_version}"),
        ("model", f"{model.name}, on {listed(model.columns, most=8)}"),
        ("contact", f"pays from a probability of {model.threshold:.1%}"),
        ("time", "none: leaks cannot be excluded, and the horizon is that of the table"),
        ("more", "crmml.score(bundle, rows) scores; glossary() describes the columns"),
    )
    return Card(f"ScoringBundle {known.name}, of a labelled table", rows)


def id_column(manifest: Manifest) -> str | None:
    """Return the column of ids in the rows to score; None where they are numbered."""
    columns = manifest.reading.get("labelled", {}).get("columns") or {}
    name: str | None = columns.get("customer_id")
    return name


def invent_rows(bundle: LabelledBundle) -> pd.DataFrame:
    """Invent two rows: an example that can hold nobody's data.

    Parameters
    ----------
    bundle : ScoringBundle
        Of the kind ``labelled``.

    Returns
    -------
    DataFrame
        The columns that the model reads and the one of the ids, where there is one. Words are
        those that many customers of the training share.
    """
    rows: dict[str, Any] = {}
    if (ids := id_column(bundle.manifest)) is not None:
        integer = bundle.manifest.id_type == "integer"
        rows[ids] = [1, 2] if integer else ["customer 1", "customer 2"]
    for rule in outcome_of(bundle).table_model.encoding.rules:
        if rule.form is None:
            rows[rule.name] = [*rule.levels, "other", "another"][:2]
        else:
            rows[rule.name] = _FIRST[rule.form]
    return pd.DataFrame(rows)


_FIRST = {
    "number": [1.5, 20.0],
    "number_comma": ["1,5", "20,0"],
    "date": ["2020-01-31", "2020-02-01"],
    "date_day_first": ["31/01/2020", "01/02/2020"],
    "date_month_first": ["01/31/2020", "02/01/2020"],
}
"""Invented cells, by the form of the column."""
