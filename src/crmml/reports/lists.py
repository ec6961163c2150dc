"""Lists to act on: one for each action and channel, the tiers, a workbook, and a summary.

They lie in ``_lists/cutoff=...`` in the folder of the scores, which readers of Parquet folders
skip, or in ``FILE_lists/cutoff=...`` beside a database ``FILE.duckdb``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from crmml.actions.allocation import Allocation
from crmml.actions.recommendation import REASONS
from crmml.atomic import write_folder
from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.periods import Period
from crmml.reports.language import Lang, Language
from crmml.reports.totals import sum_tiers, tier_table
from crmml.reports.workbook import write_workbook
from crmml.scorecard.retention_costs import measure_worths
from crmml.scorecard.retention_economics import compute_retention_economics
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.decisions import Actions
from crmml.scoring.outlooks import LifetimeValue, margin_if
from crmml.segments.cohorts import expect_retention
from crmml.stats.discounting import UNIT_DAYS, in_units
from crmml.storage.scores import csv_bytes, lists_beside

_OF_A_LIST = (
    *("customer_id", "value_tier", "recommended_action", "channel", "contact_by"),
    *("expected_net_gain", "expected_cost", "probability_positive", "explanation"),
    *("frequency", "inactivity", "probability_alive", "clv", "reasons_for", "reasons_against"),
)


_AGES = 13
"""Ages of a cohort, from 0, at which its retention is expected."""


@dataclass
class Lists:
    """Gathers what lists need while the scores are written, and writes them.

    Parameters
    ----------
    bundle : ScoringBundle
        What scores.
    tables : Tables, optional
        What is scored: the lists show the ``name`` of ``customers``, where there is one.
    lang : {"en", "fa"}
        Language of the sentences that say why; names of columns and files stay English.
    """

    bundle: ScoringBundle
    tables: Tables | None = None
    lang: Lang = "en"
    _count: int = 0
    _sums: list[pd.DataFrame] = field(default_factory=list, repr=False)
    _acting: list[pd.DataFrame] = field(default_factory=list, repr=False)

    def passing(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Hand batches of scores on, and keep what the lists need of them.

        Parameters
        ----------
        batches : iterable of DataFrame
            Scores, a row per customer.
        """
        for batch in batches:
            self.add(batch)
            yield batch

    def add(self, batch: pd.DataFrame) -> None:
        """Keep what the lists need of some scores."""
        self._count += len(batch)
        if {"value_tier", "recommended_action"} <= set(batch):
            self._sums.append(sum_tiers(batch))
            acts = batch["recommended_action"].notna() & (
                batch["recommended_action"] != "no_action"
            )
            known = [name for name in _OF_A_LIST if name in batch]
            self._acting.append(batch.loc[acts, known])

    @property
    def tiers(self) -> pd.DataFrame | None:
        """The table of tiers of all that was handed on; None where the scores have no tiers."""
        return tier_table(sum(self._sums[1:], self._sums[0])) if self._sums else None

    @property
    def ahead_horizon(self) -> str | None:
        """How far the worth of retention looks: the longest horizon of an action; None without."""
        begin = margin_if("active", "")
        given = [o.name for p in self.bundle.predictors for o in p.outputs]
        known = [name.removeprefix(begin) for name in given if name.startswith(begin)]
        return max(known, key=lambda one: in_units(one, "day"), default=None)

    @property
    def ahead(self) -> list[str]:
        """Names of the predicted columns on which the worth of retention rests."""
        if (horizon := self.ahead_horizon) is None:
            return []
        margins = [margin_if("active", horizon), margin_if("staying", horizon)]
        return ["value_tier", "probability_alive", *margins]

    def write(
        self,
        scores: str | Path,
        cutoff: pd.Timestamp,
        absent: Mapping[str, str],
        allocation: Allocation | None,
        ahead: Mapping[str, pd.Series[Any]] | None = None,
    ) -> Path:
        """Write the lists of one cutoff whole; those of an earlier run are replaced.

        Parameters
        ----------
        scores : str or Path
            The folder, or the database, of the scores.
        cutoff : Timestamp
            Of the scores.
        absent : mapping of str to str
            Columns that are null throughout, and why.
        allocation : Allocation or None
            Of the budget.
        ahead : mapping of str to Series, optional
            ``value_tier``, ``probability_alive`` and the margins in the outcome horizon if active
            and if staying (:attr:`ahead`), of all customers: the worth of retention rests on them.

        Returns
        -------
        Path
            The folder of the lists.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        home = lists_beside(scores, cutoff)
        tiers = self.tiers
        tables = {
            **({} if tiers is None else {"tiers": tiers.round(4).reset_index()}),
            **{f"actions-{a}-{c}": self._for_people(rows) for (a, c), rows in self._acts().items()},
            "columns": self.glossary(absent),
            "notes": self.notes(absent),
        }
        summary = self.summarise(cutoff, absent, allocation, ahead)
        files = {f"{name}.csv": csv_bytes(table) for name, table in tables.items()}
        text = json.dumps(summary, ensure_ascii=False, indent=1, allow_nan=False)
        files["summary.json"] = text.encode()
        target = BytesIO()
        write_workbook(target, {"summary": _as_rows(summary), **tables}, cutoff)
        write_folder({**files, "lists.xlsx": target.getvalue()}, home)
        return home

    def _economics(self, known: Mapping[str, pd.Series[Any]]) -> list[dict[str, Any]]:
        """Return what retention is worth by tier; nothing where it is not known."""
        if (columns := self._margins(known)) is None:
            return []
        table = compute_retention_economics(columns, known["value_tier"])
        return [
            {"group": str(group), **{str(k): _plain(v) for k, v in row.items()}}
            for group, row in table.iterrows()
        ]

    def _margins(self, known: Mapping[str, pd.Series[Any]]) -> dict[str, pd.Series[Any]] | None:
        """Return what the worth of retention rests on, under the names of the computation."""
        if not self.ahead or not set(self.ahead) <= set(known):
            return None
        names = ("probability_alive", "margin_if_active", "margin_if_staying")
        return {name: known[held] for name, held in zip(names, self.ahead[1:], strict=True)}

    def _sensitivity(self, known: Mapping[str, pd.Series[Any]]) -> list[dict[str, Any]]:
        """Return what a point of retention is worth where one thing is lower or higher."""
        if (columns := self._margins(known)) is None:
            return []
        table = measure_worths(columns)
        return [
            {"input": str(name), **{str(k): _plain(v) for k, v in row.items()}}
            for name, row in table.iterrows()
        ]

    def _expected_retention(self, cutoff: pd.Timestamp) -> dict[str, list[float | None]]:
        """Return the share of random newcomers who buy at each age, by length of the ages."""
        known = [p for p in self.bundle.predictors if isinstance(p, LifetimeValue)]
        if not known:
            return {}
        lengths: tuple[Period, ...] = ("month", "quarter")
        process = known[0].model.purchase_model_
        try:
            return {
                one: [*map(_plain, expect_retention(process, _AGES, cutoff, period=one))]
                for one in lengths
            }
        except CrmmlError:  # a process that needs to know more of a newcomer
            return {}

    def _catalogue(self) -> dict[str, Any] | None:
        """Return the actions that may be recommended; None where there are none."""
        known = [p for p in self.bundle.predictors if isinstance(p, Actions)]
        return known[0].catalogue.to_dict() if known else None

    def _acts(self) -> dict[tuple[str, str], pd.DataFrame]:
        """Return the customers of each action and channel, the most gain first."""
        if not self._acting:
            return {}
        rows = pd.concat(self._acting, ignore_index=True)
        rows = rows.sort_values(
            ["expected_net_gain", "customer_id"], ascending=[False, True], ignore_index=True
        )
        rows["channel"] = rows["channel"].fillna("none")
        by = rows.groupby(["recommended_action", "channel"], observed=True, sort=True)
        return {(str(a), str(c)): part for (a, c), part in by}

    def _for_people(self, rows: pd.DataFrame) -> pd.DataFrame:
        table = pd.DataFrame({"priority": range(1, len(rows) + 1)}, index=rows.index)
        table["customer_id"] = rows["customer_id"]
        if (names := self._names()) is not None:
            table["name"] = rows["customer_id"].map(names)
        table["tier"] = rows["value_tier"]
        table["action"] = rows["recommended_action"]
        table["channel"] = rows["channel"]
        table["contact_by"] = rows["contact_by"]
        table["why"] = self._why(rows)
        table["expected_gain"] = rows["expected_net_gain"].round(2)
        table["expected_cost"] = rows["expected_cost"].round(2)
        if currency := self.bundle.manifest.currency:
            table["currency"] = currency
        return table.reset_index(drop=True)

    def _names(self) -> pd.Series[str] | None:
        known = None if self.tables is None else self.tables.get("customers")
        if known is None or "name" not in known.columns:
            return None
        frame: pd.DataFrame = known.select("customer_id", "name").to_pandas()
        return frame.set_index("customer_id")["name"]

    def _why(self, rows: pd.DataFrame) -> pd.Series[str]:
        """Say in a sentence why this customer, with figures of their own."""
        w = Language(self.lang, self.bundle.manifest.currency)
        told = rows["explanation"].fillna("")
        if self.lang != "en":
            codes = rows["reasons_for"].fillna("") + "|" + rows["reasons_against"].fillna("")
            form = {one: _reasons(one, w) for one in codes.unique()}
            told = codes.map(form)
        if {"probability_alive", "clv"} <= set(rows):
            horizon = w.length(self.bundle.manifest.value_horizon)
            worth = [
                w.text("list_alive", share=w.share(p, 0), worth=w.number(v), horizon=horizon)
                for p, v in zip(rows["probability_alive"], rows["clv"], strict=True)
            ]
            told = pd.Series(worth, rows.index, dtype="str") + " " + told
        if {"frequency", "inactivity"} <= set(rows):
            days = rows["inactivity"] * UNIT_DAYS[self.bundle.manifest.time_unit]
            bought = [
                _bought(int(n) + 1, round(d), w)
                for n, d in zip(rows["frequency"], days, strict=True)
            ]
            told = pd.Series(bought, rows.index, dtype="str") + w.text("comma") + told
        return told.str.strip()

    def glossary(self, absent: Mapping[str, str]) -> pd.DataFrame:
        """Return each column of the scores with its meaning, and why it is null if it is."""
        table = self.bundle.glossary()
        table["null_because"] = table["name"].map(dict(absent))
        return table

    def notes(self, absent: Mapping[str, str]) -> pd.DataFrame:
        """Return the notes of the training, and the columns that are null with the reason."""
        notes = [note.to_dict() for note in self.bundle.manifest.notes]
        names = ["severity", "topic", "code", "about", "text", "count"]
        table = pd.DataFrame(notes, columns=names)
        reasons: dict[str, list[str]] = {}
        for name, reason in absent.items():
            reasons.setdefault(reason, []).append(name)
        nulls = pd.DataFrame(
            [("info", "data", "null_column", ", ".join(n), f"null: {r}", 1) for r, n in
             reasons.items()],
            columns=names,
        )  # fmt: skip
        table = table[table["code"] != "null_column"]  # those of the training; these are of now
        return pd.concat([part for part in (table, nulls) if len(part)] or [table])

    def summarise(
        self,
        cutoff: pd.Timestamp,
        absent: Mapping[str, str],
        allocation: Allocation | None,
        ahead: Mapping[str, pd.Series[Any]] | None = None,
    ) -> dict[str, Any]:
        """Return the run as plain values, for other programs; see :meth:`write`."""
        manifest, tiers = self.bundle.manifest, self.tiers
        actions = [
            {
                "action": action,
                "channel": channel,
                "customers": len(rows),
                "expected_cost": _plain(rows["expected_cost"].round(2).sum()),
                "expected_gain": _plain(rows["expected_net_gain"].round(2).sum()),
            }
            for (action, channel), rows in self._acts().items()
        ]
        budget = None if allocation is None else allocation.budget
        return {
            "name": manifest.name,
            "cutoff": cutoff.isoformat(),
            "horizon": manifest.horizon,
            "value_horizon": manifest.value_horizon,
            "gap": manifest.gap,
            "grain": manifest.grain,
            "own_seller": manifest.own_seller,
            "currency": manifest.currency,
            "model_version": self.bundle.version,
            "trained_at": manifest.cutoff,
            "customers": self._count,
            "budget": budget,
            "spent": None if allocation is None else _plain(allocation.spend),
            "expected_net_gain": None if allocation is None else _plain(allocation.value),
            "no_action": None if not self._acting else (
                "nothing that can be done for these customers is expected to bring more than it "
                "costs, or they belong to the control group"
            ),
            "tiers": [] if tiers is None else [
                {"tier": str(tier), **{k: _plain(v) for k, v in row.items()}}
                for tier, row in tiers.iterrows()
            ],
            "actions": actions,
            "served": {name: list(value) for name, value in manifest.metrics.items()},
            "null_columns": dict(absent),
            "economics": self._economics(ahead or {}),
            "economics_horizon": self.ahead_horizon,
            "sensitivity": self._sensitivity(ahead or {}),
            "churn_drivers": {k: list(map(_plain, v)) for k, v in manifest.churn_drivers.items()},
            "catalogue": self._catalogue(),
            "expected_retention": self._expected_retention(cutoff),
        }  # fmt: skip


def _reasons(codes: str, w: Language) -> str:
    """Write reason codes as sentences of the language: those for, a bar, and those against."""
    sides = [
        " ".join(w.told(REASONS[code]) for code in side.split(",") if code)
        for side in codes.split("|")
    ]
    return w.text("list_but").join(side for side in sides if side)


def _bought(times: int, days: int, w: Language) -> str:
    """Say how often and when last a customer bought."""
    number = "once" if times == 1 else "bought"
    when = {0: "_today", 1: "_day"}.get(days, "")
    return w.text(f"list_{number}{when}", times=w.count(times), days=w.count(days))


def _plain(value: Any) -> float | None:
    number = float(value)
    return round(number, 4) if number == number else None


def _as_rows(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Return the single values of a summary as rows, for a sheet."""
    single = {k: v for k, v in summary.items() if not isinstance(v, (list, dict))}
    return pd.DataFrame({"what": [*single], "value": [*map(str, single.values())]})
