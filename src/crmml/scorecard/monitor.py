"""Monitoring: what scores said of windows that have closed since, what shifted, and what to do.

Each score set whose outcome window has closed is compared with what happened; each set is compared
with the one before and with the first; and the gap is charted over windows that do not overlap. An
alarm needs both: more than chance, all looks of a run together, and enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import Duration
from crmml.card import Card, Result, listed
from crmml.config import Config, load_config
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import DataError, ParameterError, StorageError
from crmml.features.contracts import (
    CAUSES,
    build_contract_outcomes,
    build_contracts,
    contract_span,
    least_grace,
)
from crmml.features.labels import build_outcomes
from crmml.features.purchases import check_grain
from crmml.features.windows import Window, end_of_observation, length_of
from crmml.scorecard.alarms import (
    CURRENT,
    chart_alarms,
    chart_gaps,
    level_alarms,
    ranking_alarms,
    shift_alarms,
)
from crmml.scorecard.control_charts import ControlChart
from crmml.scorecard.realised import CONTRACT_AGE, NEEDED, compare_groups, judge, relative_bias
from crmml.scorecard.shifts import (
    COSTED,
    INPUTS,
    SCORES,
    UNKNOWN,
    compare_columns,
    unknown_costs,
)
from crmml.storage.scores import KEY, list_cutoffs, partition_of, read_scores, read_summary
from crmml.training.opening import open_configured

BANDS, LARGE = (24, 96), 5_000
"""Bands of age in which two score sets are compared; the more where both are large."""


@dataclass(frozen=True, repr=False)
class Monitoring(Result):
    """What a watch over released scores found.

    Attributes
    ----------
    windows : DataFrame
        A row per closed outcome window; see :func:`crmml.scorecard.realised.judge`. ``unmatched``
        counts the customers that only the scores or only the data know.
    groups : DataFrame
        Realised against predicted by window, measure and group; see
        :func:`crmml.scorecard.realised.compare_groups`.
    shifts : DataFrame
        Columns of each score set against the set before and the first, at equal age; see
        :func:`crmml.scorecard.shifts.compare_columns`.
    alarms : DataFrame
        ``kind`` (ranking, level, chart, shift), ``cutoff``, ``what``, ``text``, ``do`` (retrain,
        recalibrate, look at the data) and ``current``: whether it is of the newest closed window,
        or of the newest score set. Those of the past are history, and make no run an alarm.
    charts : dict of str to ControlChart
        The gap in standard errors over windows that do not overlap; empty with fewer than nine.
    notes : tuple of str
        What a reader must know.
    false_alarm : float
        Chance of any alarm at all in a run where nothing changed.
    """

    windows: pd.DataFrame
    groups: pd.DataFrame
    shifts: pd.DataFrame
    alarms: pd.DataFrame
    charts: dict[str, ControlChart]
    notes: tuple[str, ...]
    false_alarm: float

    @property
    def current(self) -> pd.DataFrame:
        """The alarms of the newest closed window and of the newest score set."""
        return self.alarms[self.alarms[CURRENT].astype(bool)]

    @property
    def quiet(self) -> bool:
        """Whether there is no current alarm."""
        return self.current.empty

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do now, first things first."""
        asked = set(self.current["do"])
        return tuple(
            what for what in ("look at the data", "retrain", "recalibrate") if what in asked
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return the closed windows, a row each."""
        return self.windows.copy()

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables by name; none holds a customer's id."""
        found = {"windows": self.windows, "groups": self.groups, "shifts": self.shifts}
        found["alarms"] = self.alarms
        if self.charts:
            parts = {name: chart.table for name, chart in self.charts.items()}
            found["charts"] = pd.concat(parts, names=["measure", "cutoff"]).reset_index()
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for other programs."""
        return {
            "quiet": self.quiet,
            "advice": [*self.advice],
            "false_alarm": self.false_alarm,
            "notes": [*self.notes],
            **{name: _records(table) for name, table in self.tables().items()},
        }

    def sentence(self) -> str:
        """Say in words how it stands."""
        if self.quiet:
            return f"no alarm in {len(self.windows)} closed window(s): go on"
        return f"{len(self.current)} alarm(s): {', then '.join(self.advice)}"

    def _card(self) -> Card:
        newest = "none yet"
        if len(self.windows):
            row = self.windows.iloc[-1]
            newest = (
                f"{row['cutoff'].date()}: churn predicted {row['churn_predicted']:.1%}, was "
                f"{row['churn_realised']:.1%}; AUC {row['auc']:.3f} (rule {row['auc_rule']:.3f})"
            )
        rows = (
            ("says", self.sentence()),
            ("windows", f"{len(self.windows)} closed"),
            ("newest", newest),
            *(("alarm", text) for text in self.current["text"].head(4)),
            ("earlier", f"{len(self.alarms) - len(self.current)} alarms of the past"),
            ("false alarms", f"any at all in {self.false_alarm:.0%} of quiet runs"),
            ("notes", listed(self.notes, most=2)),
        )
        return Card(f"Monitoring of {len(self.windows)} closed windows", rows)


@dataclass(frozen=True)
class _Released:
    """One score set: when, by which model, and what its scores are about."""

    cutoff: pd.Timestamp
    version: str
    window: Window
    gap: Window
    value: Window | None
    grain: Any
    own_seller: str | None
    contracts: Mapping[str, Any]
    margin: float | None
    """What a fee is worth, where the settings tell it."""


@dataclass
class _Found:
    windows: list[dict[str, Any]] = field(default_factory=list)
    groups: list[pd.DataFrame] = field(default_factory=list)
    shifts: list[pd.DataFrame] = field(default_factory=list)
    costs: dict[pd.Timestamp, frozenset[str]] = field(default_factory=dict)
    """Which costs each score set does not know."""


def monitor(
    scores: str | Path,
    data: Any,
    *,
    horizon: str | None = None,
    value_horizon: str | None = None,
    false_alarm: float = 0.05,
    tolerance: float = 0.15,
) -> Monitoring:
    """Compare released scores with what happened, and say whether to act.

    Parameters
    ----------
    scores : str or Path
        Folder (Parquet) or DuckDB file that ``crmml score`` wrote.
    data : Config, path of a configuration (.yaml), Tables, or a log
        Data that go on after the scores. Where they hold contracts and no log, ends are compared,
        in all and by cause.
    horizon, value_horizon : str, optional
        Of scores that have no lists beside them to tell it (in ``_lists``), such as ``"13W"``.
    false_alarm : float
        Chance of any alarm at all in a run where nothing changed, in (0, 1).
    tolerance : float
        Relative gap of the whole that does not matter, > 0; of a group twice as much.

    Returns
    -------
    Monitoring

    Raises
    ------
    StorageError
        If there are no scores.
    ParameterError
        If a setting is out of range, or the horizon of a score set is not known.
    MissingTableError
        If the data hold neither a log of transactions nor contracts.

    Notes
    -----
    A quarter of the chance of a false alarm goes to each of ranking, level, chart and shift. Within
    each, p-values are raised after Holm over all windows, groups and columns. Customers count as
    independent: what strikes all at once, a season say, shows as a gap, and is one.
    """
    if not 0.0 < false_alarm < 1.0:
        raise ParameterError("false_alarm", "between 0 and 1", false_alarm)
    if not tolerance > 0.0:
        raise ParameterError("tolerance", "> 0", tolerance)
    for given in (horizon, value_horizon):
        if given is not None:
            Duration.parse(given)  # also where the scores say their own
    config, tables = _opened(data)
    if "subscriptions" not in tables or "transactions" in tables:
        tables.transactions  # noqa: B018 - purchases are what scores are compared with
    cutoffs = list_cutoffs(scores)
    if not cutoffs:
        raise StorageError(f"there are no scores in {scores} (Parquet, or a .duckdb file)")
    asked = (horizon, value_horizon)
    released = [_release(scores, cutoff, config, asked) for cutoff in cutoffs]
    found = _look_at(scores, released, tables)
    windows, groups = pd.DataFrame(found.windows), _stacked(found.groups)
    shifts = _stacked(found.shifts)
    share = 1.0 - (1.0 - false_alarm) ** 0.25
    shifts, shifted = shift_alarms(shifts, share, cutoffs[-1])
    ranked = ranking_alarms(windows, share)
    groups, level = level_alarms(groups, windows, share, tolerance, ranked)
    charts = chart_gaps(groups, windows, share)
    alarms = pd.concat([ranked, level, chart_alarms(charts, windows, ranked), shifted])
    notes = tuple(_notes(released, found, charts, tables))
    return Monitoring(
        windows, groups, shifts, alarms.reset_index(drop=True), charts, notes, false_alarm
    )


def _opened(data: Any) -> tuple[Config | None, Tables]:
    if isinstance(data, (str, Path)) and Path(data).suffix in (".yaml", ".yml"):
        data = load_config(Path(data))
    if isinstance(data, Config):
        return data, open_configured(data)
    return None, data if isinstance(data, Tables) else open_tables(data)


def _release(
    scores: str | Path,
    cutoff: pd.Timestamp,
    config: Config | None,
    asked: tuple[str | None, str | None],
) -> _Released:
    """Read what a score set is about: from its summary, else from what was asked and configured."""
    summary = read_summary(scores, cutoff) or {}
    horizon = summary.get("horizon") or asked[0]
    if horizon is None:
        raise ParameterError(
            "--horizon",
            f"given for the scores of {partition_of(cutoff)}, which have no lists beside them that "
            "tell the length of their outcome window",
            None,
        )
    usual: dict[str, Any] = {
        "gap": None if config is None else config.outcome.gap,
        "grain": "day" if config is None else config.snapshot.grain,
        "own_seller": None if config is None else config.data.own_seller,
    }
    gap, grain, own = (summary.get(name, value) for name, value in usual.items())
    check_grain(grain)
    far = summary.get("value_horizon") or asked[1]
    return _Released(
        cutoff,
        str(summary.get("model_version") or ""),
        Window(cutoff, horizon),
        Window(cutoff, horizon, gap),
        None if far is None else Window(cutoff, far),
        grain,
        own,
        {}
        if config is None
        else {"period": config.contracts.period, "grace": config.contracts.grace},
        None if config is None else config.value.margin,
    )


def _look_at(scores: str | Path, released: list[_Released], tables: Tables) -> _Found:
    """Read one score set after the other; the first and the last are kept to compare with."""
    found = _Found()
    kept: dict[str, tuple[pd.DataFrame, pd.Timestamp, str]] = {}
    for one in released:
        columns = [*dict.fromkeys([*NEEDED, *sorted(INPUTS | SCORES), UNKNOWN])]
        table = read_scores(scores, one.cutoff, columns).set_index(KEY)
        table = _with_contract_age(table, one, tables)
        found.costs[one.cutoff] = unknown_costs(table)
        version = one.version
        if not version and "model_version" in table and len(table):
            version = str(table["model_version"].iloc[0])
        for against, (earlier, of, by) in kept.items():
            if against == "first" and of == kept["previous"][1]:
                continue  # the same set twice
            found.shifts.append(_shift(earlier, table, one.cutoff, of, against, by != version))
        kept.setdefault("first", (table, one.cutoff, version))
        kept["previous"] = (table, one.cutoff, version)
        if _closed(one.gap, one, tables) and _closed(one.window, one, tables):
            _judge(found, one, version, table, tables)
    return found


def _with_contract_age(table: pd.DataFrame, one: _Released, tables: Tables) -> pd.DataFrame:
    """Say how old the contracts are of which scores of a log speak."""
    told = [name for name in table if str(name).startswith("contract_")]
    if not told or CONTRACT_AGE in table or "subscriptions" not in tables:
        return table
    frame = build_contracts(tables.before(one.cutoff), one.cutoff, **one.contracts).frame
    ages = frame.set_index("customer_id")["age"]
    ages = ages.set_axis(ages.index.astype(table.index.dtype))
    return table.assign(**{CONTRACT_AGE: ages.reindex(table.index)})


def _by_contract(tables: Tables) -> bool:
    """Whether contracts are all that is known: then ends are compared, and not purchases."""
    return "transactions" not in tables


def _last(tables: Tables) -> pd.Timestamp:
    return contract_span(tables).last if _by_contract(tables) else tables.last_timestamp


def _closed(window: Window, one: _Released, tables: Tables) -> bool:
    closes = window.closes
    if _by_contract(tables):  # an end that is renewed in the grace period was none
        closes += least_grace(tables, one.contracts.get("grace"))
    return closes <= end_of_observation(_last(tables), one.grain)


def _happened(one: _Released, tables: Tables) -> pd.DataFrame:
    """Return what came of each customer, or of each contract, in the window of a score set."""
    if _by_contract(tables):
        known = build_contracts(tables.before(one.cutoff), one.cutoff, **one.contracts)
        grace = one.contracts.get("grace")
        found = build_contract_outcomes(tables, known, str(one.window.horizon), grace=grace)
        ends = {f"contract_end_{cause}": found["cause"] == cause for cause in CAUSES}
        return pd.DataFrame({"churned": found["churned"], **ends}).astype("float64")
    how: dict[str, Any] = {"grain": one.grain, "own_seller": one.own_seller}
    outcomes = build_outcomes(tables, one.window, **how)
    if one.gap != one.window:
        outcomes["churned"] = build_outcomes(tables, one.gap, **how)["churned"]
    return outcomes


def _shift(
    earlier: pd.DataFrame,
    later: pd.DataFrame,
    cutoff: pd.Timestamp,
    of: pd.Timestamp,
    against: str,
    other_version: bool,
) -> pd.DataFrame:
    """Compare two score sets; scores of another version may differ, so they raise no alarm."""
    bands = BANDS[int(min(len(earlier), len(later)) >= LARGE)]
    same = unknown_costs(earlier) == unknown_costs(later)
    alike = later if same else later.drop(columns=list(COSTED), errors="ignore")
    table = compare_columns(earlier, alike, bands=bands).reset_index()
    if other_version:
        table.loc[table["kind"] == "score", "p_value"] = np.nan
    for name, value in (("earlier", of), ("against", against), ("cutoff", cutoff)):
        table.insert(0, name, value)
    return table


def _judge(
    found: _Found, one: _Released, version: str, table: pd.DataFrame, tables: Tables
) -> None:
    """Compare one score set with what happened in its window."""
    outcomes = _happened(one, tables)
    outcomes = outcomes.set_axis(outcomes.index.astype(table.index.dtype))
    known = table.index.intersection(outcomes.index)
    if known.empty:
        raise DataError(
            f"no customer of the scores of {partition_of(one.cutoff)} is in the data",
            table="scores",
            column=KEY,
            n_rows=len(table),
        )
    scored, happened = table.loc[known], outcomes.loc[known]
    row: dict[str, Any] = {
        "cutoff": one.cutoff, "closes": one.gap.closes, "horizon": str(one.window.horizon),
        "model_version": version, "customers": len(known),
        "unmatched": len(table) + len(outcomes) - 2 * len(known), **judge(scored, happened),
        "clv_bias": float("nan"), "clv_coverage": float("nan"),
    }  # fmt: skip
    if one.value is not None and _closed(one.value, one, tables) and "clv" in scored:
        margin = _earned(one, one.value, tables)
        margin = margin.set_axis(margin.index.astype(table.index.dtype)).reindex(known)
        earned = np.asarray(margin, dtype=np.float64)
        if not np.isnan(earned).all():
            row["clv_bias"] = relative_bias(scored["clv"].to_numpy(dtype=np.float64), earned)
            if {"clv_lower", "clv_upper"} <= set(scored):
                inside = (scored["clv_lower"] <= earned) & (earned <= scored["clv_upper"])
                row["clv_coverage"] = float(inside.mean())
    found.windows.append(row)
    groups = compare_groups(scored, happened)
    groups.insert(0, "model_version", version)
    groups.insert(0, "cutoff", one.cutoff)
    found.groups.append(groups)


def _earned(one: _Released, window: Window, tables: Tables) -> pd.Series[float]:
    """Return the margin of each customer in a window; of contracts, that of the fees that fell due.

    A fee falls due at each renewal date that the contract outlasts, and stays as it was.
    """
    if not _by_contract(tables):
        how: dict[str, Any] = {"grain": one.grain, "own_seller": one.own_seller}
        return build_outcomes(tables, window, **how)["margin"]
    known = build_contracts(tables.before(one.cutoff), one.cutoff, **one.contracts)
    frame = known.frame.set_index("customer_id")
    if one.margin is None or "fee" not in frame:
        return pd.Series(np.nan, frame.index)
    grace = one.contracts.get("grace")
    ended = build_contract_outcomes(tables, known, str(window.horizon), grace=grace)["ended_at"]
    lived = ended.fillna(window.closes) - one.cutoff
    periods = frame["elapsed"] + lived / length_of(known.period)
    # an end on a renewal date comes before its fee
    due = np.where(ended.notna(), np.ceil(periods - 1e-9) - 1.0, np.floor(periods + 1e-9))
    return pd.Series(frame["fee"].to_numpy(np.float64) * one.margin * due, frame.index)


def _notes(
    released: list[_Released], found: _Found, charts: Mapping[str, Any], tables: Tables
) -> Iterable[str]:
    """Say what a reader must know to read the figures."""
    judged = {row["cutoff"] for row in found.windows}
    due = [max(r.gap.closes, r.window.closes) for r in released if r.cutoff not in judged]
    if due:
        yield (
            f"{len(due)} of {len(released)} score set(s) wait for the end of their outcome window; "
            f"the next closes on {min(due).date()}, the data end on {_last(tables).date()}"
        )
    if not charts:
        yield (
            "no control chart yet: it needs more than 8 closed windows that do not overlap, and "
            "there are fewer"
        )
    if found.windows and _by_contract(tables):
        yield (
            "contracts: ends are compared, in all and by cause; the rule to rank against is that "
            "the newest contracts end first"
        )
    elif found.windows:
        yield (
            "coverage is the literal share of customers inside their interval, not a randomised "
            "PIT: counts that are mostly zero lie inside more often than the nominal 80 %"
        )
    if found.windows:
        lacks = "scores or data have no fee, or no configuration tells the margin"
        if not _by_contract(tables):
            lacks = "the data hold neither margin nor cost"
        if all(math.isnan(row["clv_bias"]) for row in found.windows):
            yield f"CLV is not judged: no window of the value horizon has closed, or {lacks}"
        else:
            yield "CLV is discounted and the margin it is compared with is not: it raises no alarm"
    if any(row["unmatched"] for row in found.windows):
        yield "customers that only the scores or only the data know are left out (unmatched)"
    if len(set(found.costs.values())) > 1:
        told = ", ".join(sorted({name for costs in found.costs.values() for name in costs}))
        yield (
            f"some score sets know costs that others do not ({told}); between them nothing that "
            "rests on costs is compared: net lifetime value, profit to date and tiers"
        )
    if any(part.empty for part in found.shifts):
        yield "two score sets share too few customers of one age, so their columns go uncompared"


def _stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
