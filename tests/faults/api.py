"""Bad input for the Python API: what is wrong, the call, words of the sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import crmml
from crmml._typing import Duration
from crmml.actions.catalogue import ActionCatalogue
from crmml.config import parse_config
from crmml.features.windows import Window, rolling_windows
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.value_tier import ValueTiers
from crmml.stats.discounting import discount_rate_per_unit
from crmml.storage.bundles import load_bundle
from crmml.storage.scores import read_scores, write_scores


class Row(NamedTuple):
    """One bad call.

    Attributes
    ----------
    wrong : str
        What is wrong; unique.
    call : callable
        Takes the good log and a fitted model, and must raise a ``CrmmlError``.
    words : tuple of str
        What the sentence must hold.
    """

    wrong: str
    call: Callable[[pd.DataFrame, Any], object]
    words: tuple[str, ...] = ()


CUTOFF = "1997-10-01"


def _spoilt(column: str, value: Any) -> Callable[[pd.DataFrame, Any], object]:
    """Put a value into the fourth row and build a snapshot."""

    def call(log: pd.DataFrame, model: Any) -> object:
        rows = log.head(50).astype({column: object})
        rows.loc[rows.index[3], column] = value
        return crmml.build_snapshot(rows, CUTOFF)

    return call


def _built(**settings: Any) -> Callable[[pd.DataFrame, Any], object]:
    return lambda log, model: crmml.build_snapshot(log.head(50), **{"cutoff": CUTOFF} | settings)


def _asked(method: str, *arguments: Any, **settings: Any) -> Callable[[pd.DataFrame, Any], object]:
    """Ask a fitted purchase model."""

    def call(log: pd.DataFrame, model: Any) -> object:
        snapshot = crmml.build_snapshot(log.head(50), CUTOFF)
        return getattr(model, method)(snapshot, *arguments, **settings)

    return call


_SCORES = pd.DataFrame({"customer_id": [1, 2], "clv": [1.0, 2.0]})
_AWARE = pd.Timestamp("1997-02-01", tz="UTC")

ROWS = [
    Row("an aware time among naive ones", _spoilt("timestamp", _AWARE), ("timestamp",)),
    Row(
        "a time with an offset as text",
        _spoilt("timestamp", "1997-02-01T10:00:00+02:00"),
        ("timestamp",),
    ),
    Row("True as an amount", _spoilt("amount", True), ("amount",)),
    Row("a list as an amount", _spoilt("amount", [1]), ("amount",)),
    Row("bytes as an amount", _spoilt("amount", b"5"), ("amount",)),
    Row("a complex amount", _spoilt("amount", 1j), ("amount",)),
    Row("an object as an amount", _spoilt("amount", object()), ("amount",)),
    Row("an endless amount", _spoilt("amount", float("inf")), ("amount",)),
    Row("an amount of 1e300", _spoilt("amount", 1e300), ("amount",)),
    Row("an amount of 400 digits", _spoilt("amount", 10**400), ("amount",)),
    Row("an amount of 5,000 letters", _spoilt("amount", "x" * 5000), ("one type", " ...")),
    Row("no amount", _spoilt("amount", None), ("amount",)),
    Row("a date as an amount", _spoilt("amount", pd.Timestamp("1997-01-01")), ("amount",)),
    Row("a number among ids of text", _spoilt("customer_id", 5), ("customer_id",)),
    Row("True among ids", _spoilt("customer_id", True), ("customer_id",)),
    Row("a list among ids", _spoilt("customer_id", [1]), ("customer_id",)),
    Row("a number as a time", _spoilt("timestamp", 5), ("timestamp",)),
    Row("no time", _spoilt("timestamp", pd.NaT), ("timestamp",)),
    Row("a time of the year 9999", _spoilt("timestamp", "9999-01-01"), ("timestamp",)),
    Row("None for a log", lambda log, model: crmml.build_snapshot(None, CUTOFF)),
    Row("a number for a log", lambda log, model: crmml.build_snapshot(5, CUTOFF)),
    Row("a list for a log", lambda log, model: crmml.build_snapshot([1, 2], CUTOFF)),
    Row("an array for a log", lambda log, model: crmml.build_snapshot(np.ones((3, 3)), CUTOFF)),
    Row("a series for a log", lambda log, model: crmml.build_snapshot(log["amount"], CUTOFF)),
    Row("a folder for a log", lambda log, model: crmml.build_snapshot(".", CUTOFF)),
    Row("an empty path for a log", lambda log, model: crmml.build_snapshot("", CUTOFF)),
    Row("a path with a zero", lambda log, model: crmml.build_snapshot("a\0b.csv", CUTOFF)),
    Row(
        "no rows",
        lambda log, model: crmml.build_snapshot(log.head(0), CUTOFF),
        ("at least one row",),
    ),
    Row(
        "no columns",
        lambda log, model: crmml.build_snapshot(pd.DataFrame(), CUTOFF),
        ("missing column",),
    ),
    Row(
        "columns that are numbers",
        lambda log, model: crmml.build_snapshot(log.set_axis(range(log.shape[1]), axis=1), CUTOFF),
        ("missing column",),
    ),
    Row(
        "two columns of one name",
        lambda log, model: crmml.build_snapshot(pd.concat([log, log], axis=1), CUTOFF),
        ("unique",),
    ),
    Row(
        "a missing column",
        lambda log, model: crmml.build_snapshot(log.drop(columns="amount"), CUTOFF),
        ("amount",),
    ),
    Row("no cutoff", _built(cutoff=None), ("cutoff",)),
    Row("a cutoff in words", _built(cutoff="soon"), ("cutoff",)),
    Row("an aware cutoff", _built(cutoff=_AWARE), ("cutoff",)),
    Row("a cutoff that is NaT", _built(cutoff=pd.NaT), ("cutoff",)),
    Row("a list for a cutoff", _built(cutoff=["1997-01-01"]), ("cutoff",)),
    Row("True for a cutoff", _built(cutoff=True), ("cutoff",)),
    Row("a number for a cutoff", _built(cutoff=5), ("cutoff",)),
    Row("a cutoff of the year 99999", _built(cutoff="99999-01-01"), ("cutoff",)),
    Row("a cutoff before all data", _built(cutoff="1990-01-01"), ("1990-01-01",)),
    Row("a grain of years", _built(grain="year"), ("grain",)),
    Row("no grain", _built(grain=None), ("grain",)),
    Row("a list for a grain", _built(grain=["day"]), ("grain",)),
    Row("a unit of years", _built(time_unit="year"), ("time_unit",)),
    Row("None as a horizon", _asked("expected_purchases", None), ("a duration is",)),
    Row("a number as a horizon", _asked("expected_purchases", 26), ("a duration is",)),
    Row("True as a horizon", _asked("expected_purchases", True), ("a duration is",)),
    Row("a horizon of years", _asked("expected_purchases", "6Y"), ("a duration is",)),
    Row(
        "a horizon of 400 digits", _asked("expected_purchases", "9" * 400 + "W"), ("a duration is",)
    ),
    Row("a horizon of opportunities", _asked("expected_purchases", "6P"), ("opportunities",)),
    Row(
        "a horizon that is NaN",
        lambda log, model: Duration(float("nan"), "week"),
        ("a duration is",),
    ),
    Row(
        "a negative horizon",
        lambda log, model: Duration(-1.0, "week"),
        ("a duration is",),
    ),
    Row(
        "a horizon of no unit",
        lambda log, model: Duration(1.0, "year"),
        ("a duration is",),
    ),  # type: ignore[arg-type]
    Row("a level of 2", _asked("purchase_quantiles", "26W", [2.0]), ("q must be",)),
    Row("a level that is NaN", _asked("purchase_quantiles", "26W", [float("nan")]), ("q must be",)),
    Row("a level of words", _asked("purchase_quantiles", "26W", ["half"]), ("q must be",)),
    Row("no level", _asked("purchase_quantiles", "26W", None), ("q must be",)),
    Row("a count below 0", _asked("purchase_distribution", "26W", -1), ("n_max",)),
    Row("a count of a half", _asked("purchase_distribution", "26W", 0.5), ("n_max",)),
    Row("a count of words", _asked("purchase_distribution", "26W", "five"), ("n_max",)),
    Row("True as a count", _asked("purchase_distribution", "26W", True), ("n_max",)),
    Row(
        "a frame for a snapshot",
        lambda log, model: model.expected_purchases(log, "26W"),
        ("snapshot",),
    ),
    Row(
        "None for a snapshot",
        lambda log, model: model.expected_purchases(None, "26W"),
        ("snapshot",),
    ),
    Row("a fit on a frame", lambda log, model: type(model)().fit(log), ("snapshot",)),
    Row("a window of no horizon", lambda log, model: Window(CUTOFF, None), ("a duration is",)),  # type: ignore[arg-type]
    Row(
        "a window of 100,000 weeks",
        lambda log, model: Window(CUTOFF, "100000W"),
        ("at most 5000W",),
    ),
    Row(
        "a gap of 100,000 weeks",
        lambda log, model: Window(CUTOFF, "1W", "100000W").opens,
        ("at most 5000W",),
    ),
    Row(
        "windows of .001 hours",
        lambda log, model: rolling_windows("1997-01-01", "1998-01-01", horizon=".001H"),
        ("10,000 windows",),
    ),
    Row(
        "windows of no span",
        lambda log, model: rolling_windows("1997-01-01", "1997-01-02", horizon="13W"),
        ("span",),
    ),
    Row(
        "a negative discount",
        lambda log, model: discount_rate_per_unit(-0.1, "week"),
        ("annual_discount_rate",),
    ),
    Row(
        "a discount that is NaN",
        lambda log, model: discount_rate_per_unit(float("nan"), "week"),
        ("annual_discount_rate",),
    ),
    Row("two shares", lambda log, model: ValueTiers((0.5, 0.5)), ("shares",)),
    Row("shares that are NaN", lambda log, model: ValueTiers((float("nan"),) * 5), ("shares",)),
    Row("tiers of nobody", lambda log, model: ValueTiers().fit([]), ("at least one",)),
    Row("tiers of NaN", lambda log, model: ValueTiers().fit([float("nan")]), ("finite",)),
    Row(
        "tiers before the fit",
        lambda log, model: ValueTiers().assign(pd.Series([1.0])),
        ("not fitted",),
    ),
    Row(
        "stages before the fit",
        lambda log, model: LifecycleStages().assign(pd.DataFrame()),
        ("not fitted",),
    ),
    Row("no bundle", lambda log, model: load_bundle("no/such"), ("no bundle",)),
    Row("a bundle with a zero", lambda log, model: load_bundle("a\0b"), ("bundle",)),
    Row(
        "scores that are not there",
        lambda log, model: read_scores("no/such", CUTOFF),
        ("no scores",),
    ),
    Row("scores of no cutoff", lambda log, model: read_scores("no/such", "soon"), ("cutoff",)),
    Row(
        "scores of two ids",
        lambda log, model: write_scores(pd.concat([_SCORES, _SCORES]), "no/such", CUTOFF),
        ("unique",),
    ),
    Row(
        "scores without id",
        lambda log, model: write_scores(_SCORES[["clv"]], "no/such", CUTOFF),
        ("customer_id",),
    ),
    Row(
        "scores of an aware cutoff",
        lambda log, model: write_scores(_SCORES, "no/such", _AWARE),
        ("cutoff",),
    ),
    Row(
        "scores in xlsx",
        lambda log, model: write_scores(_SCORES, "no/such", CUTOFF, "xlsx"),
        ("format",),
    ),  # type: ignore[arg-type]
    Row(
        "scores of a name with a zero",
        lambda log, model: write_scores(_SCORES, "a\0b", CUTOFF),
        ("cannot write",),
    ),
    Row("an unknown setting", lambda log, model: parse_config({"sed": 1}), ("unknown key",)),
    Row("a list of settings", lambda log, model: parse_config([1])),  # type: ignore[arg-type]
    Row("a catalogue of nothing", lambda log, model: ActionCatalogue.from_dict({})),
    Row(
        "a catalogue of words",
        lambda log, model: ActionCatalogue.from_dict({"version": "1", "actions": "call"}),
    ),
    Row("no file to read", lambda log, model: crmml.read("no.csv"), ("no.csv",)),
    Row("None to read", lambda log, model: crmml.read(None)),  # type: ignore[arg-type]
    Row("training on no settings", lambda log, model: crmml.train({"sed": 1}), ("unknown key",)),  # type: ignore[arg-type]
    Row("training on None", lambda log, model: crmml.train(None)),  # type: ignore[arg-type]
]
