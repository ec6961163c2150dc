"""What changed between two score sets, for whom, and why: inputs, model or policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from crmml._typing import BoolArray
from crmml.exceptions import MissingColumnsError, ParameterError
from crmml.features.wallet import LOYALTY_CLASSES
from crmml.segments.lifecycle import STAGES

Aspect: TypeAlias = Literal["tier", "loyalty", "stage", "action", "risk"]

COLUMNS: Mapping[Aspect, str] = {
    "tier": "value_tier",
    "loyalty": "loyalty_class",
    "stage": "lifecycle_stage",
    "action": "recommended_action",
    "risk": "churn_probability",
}
"""What is compared, and the column of the scores that holds it."""

CLASSES = ("loyalty_class", "value_tier", "lifecycle_stage")
"""Columns of classes that customers move between from cutoff to cutoff."""

_OWN = ("frequency", "recency", "T", "monetary_value", "net_spend", "group", "contactable")
"""Columns of the scores that say what is known of a customer, before any model."""

_BANDS = np.linspace(0.0, 1.0, 6)
_NONE = "none"

MEANING: Mapping[str, str] = {
    "inputs": "the customer's own data changed, or time passed",
    "others": "the data of other customers (they share the budget), earlier contacts or consents",
    "model": "another fit or another model",
    "policy": "settings of the actions: budget, capacities, catalogue, control group",
}
"""Causes. ``a+b``: both acted, one after the other; ``a|b``: it cannot be told which one did."""


@dataclass(frozen=True)
class Step:
    """One step of the way from the first to the second score set.

    Attributes
    ----------
    cause : str
        What alone changed in it.
    table : DataFrame
        The scores after it.
    """

    cause: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Differences:
    """What changed between two score sets, for whom, and why.

    Attributes
    ----------
    table : DataFrame
        One row per customer of either set: ``customer_id``, ``presence`` (``both``, ``new``,
        ``gone``), for each of tier, loyalty, stage, action and risk ``<name>_a``, ``<name>_b``,
        ``<name>_changed`` and ``<name>_cause`` (empty where it did not change), ``clv_a``,
        ``clv_b``, and ``purchases`` made between the two.
    facts : dict of str to (object, object)
        Cutoff and versions of the two.
    settings : DataFrame
        ``kind`` (model, policy), ``setting``, ``a``, ``b``: what differs between two bundles, as
        far as they are known.
    method : str
        How causes were found.
    unknown : tuple of str
        What cannot be known from what was given.
    risk_step : float
        Change of the churn probability from which on the risk counts as changed.
    """

    table: pd.DataFrame = field(repr=False)
    facts: dict[str, tuple[Any, Any]]
    settings: pd.DataFrame = field(repr=False)
    method: str
    unknown: tuple[str, ...] = ()
    risk_step: float = 0.1

    @property
    def counts(self) -> pd.DataFrame:
        """Customers whose tier, loyalty class, stage, action or risk changed, by cause."""
        found = {
            aspect: self.table.loc[
                self.table[f"{aspect}_changed"], f"{aspect}_cause"
            ].value_counts()
            for aspect in COLUMNS
        }
        table = pd.DataFrame(found).fillna(0).astype("int64").sort_index()
        return table.rename_axis("cause")

    @property
    def customers(self) -> dict[str, int]:
        """Customers of both sets, new ones and those gone."""
        counted = self.table["presence"].value_counts()
        return {name: int(counted.get(name, 0)) for name in ("both", "new", "gone")}

    def flows(self, aspect: Aspect = "tier") -> pd.DataFrame:
        """Count the customers of both sets by what they were and what they became.

        Parameters
        ----------
        aspect : {"tier", "loyalty", "stage", "action", "risk"}
            Risk is counted in bands of 20 %.

        Returns
        -------
        DataFrame
            Rows: before; columns: after.
        """
        if aspect not in COLUMNS:
            raise ParameterError("aspect", f"one of {tuple(COLUMNS)}", aspect)
        both = self.table[self.table["presence"] == "both"]
        before, after = both[f"{aspect}_a"], both[f"{aspect}_b"]
        if aspect == "risk":
            before, after = _band(before), _band(after)
        return _in_order(pd.crosstab(before.rename("before"), after.rename("after")))

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """What there is to compare: the columns that either score set has."""
        some = {
            name: self.table[f"{name}_a"].ne(_NONE) & self.table[f"{name}_a"].notna()
            | self.table[f"{name}_b"].ne(_NONE) & self.table[f"{name}_b"].notna()
            for name in COLUMNS
        }
        return tuple(name for name in COLUMNS if some[name].any())

    def largest(self, n: int = 10) -> pd.DataFrame:
        """Return the customers with the largest changes of lifetime value (else of risk), first."""
        by = "clv" if self.table["clv_a"].notna().any() else "risk"
        change = (self.table[f"{by}_b"] - self.table[f"{by}_a"]).rename("change")
        order = change.abs().sort_values(ascending=False, kind="stable").index
        return self.table.assign(change=change).loc[order].head(n).reset_index(drop=True)

    def changed(self) -> pd.DataFrame:
        """Return the rows of customers of whom anything changed, came or went."""
        flags = self.table[[f"{aspect}_changed" for aspect in COLUMNS]].any(axis=1)
        kept = flags | (self.table["presence"] != "both")
        return self.table[kept].reset_index(drop=True)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per customer: :attr:`table`."""
        return self.table.copy()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without any id of a customer."""
        return {
            "facts": {name: [_text(a), _text(b)] for name, (a, b) in self.facts.items()},
            "customers": self.customers,
            "changed": {name: int(self.table[f"{name}_changed"].sum()) for name in COLUMNS},
            "causes": {str(c): row for c, row in self.counts.T.to_dict().items()},
            "flows": {
                name: [
                    {"before": str(before), "after": str(after), "customers": int(n)}
                    for before, row in self.flows(name).iterrows()
                    for after, n in row.items()
                    if n
                ]
                for name in COLUMNS
            },
            "settings": self.settings.to_dict("records"),
            "method": self.method,
            "unknown": list(self.unknown),
        }

    def plot(self, aspect: Aspect = "tier", *, ax: Any = None) -> Any:
        """Draw who went where, with the causes.

        Parameters
        ----------
        aspect : {"tier", "loyalty", "stage", "action", "risk"}
        ax : Axes, optional
            Where to draw.
        """
        causes = self.counts[aspect]
        # by name: pictures stand above what they show
        return import_module("crmml.plots.changes").plot_flows(
            self.flows(aspect),
            aspect="risk, in bands" if aspect == "risk" else aspect,
            causes=causes[causes > 0].to_dict(),
            what=f", moved by {self.risk_step:.0%} or more" if aspect == "risk" else "",
            ax=ax,
        )

    def sentences(self) -> list[str]:
        """Say in a few sentences what changed and why."""
        if self.table.empty:
            return [*self._settings_said(), *self.unknown]
        n = self.customers
        said = [
            f"{n['both']:,} customers are in both, {n['new']:,} are new, {n['gone']:,} are gone."
        ]
        for aspect in self.aspects:
            total = int(self.table[f"{aspect}_changed"].sum())
            causes = self.counts[aspect]
            parts = [f"{count:,} {cause}" for cause, count in causes.items() if count]
            why = f" ({', '.join(parts)})" if parts else ""
            said.append(f"{aspect}: {total:,} changed{why}.")
        bought = self.table.loc[self.table["presence"] == "both", "purchases"]
        if bought.notna().any() and (bought > 0).any():
            said.append(f"{int((bought > 0).sum()):,} of those in both have bought since.")
        return [*said, *self._settings_said(), f"Causes: {self.method}.", *self.unknown]

    def _settings_said(self) -> list[str]:
        return [
            f"{kind}: {', '.join(f'{r.setting} {r.a} -> {r.b}' for r in rows.itertuples())}."
            for kind, rows in self.settings.head(40).groupby("kind", sort=True)
        ]

    def __str__(self) -> str:
        return "\n".join(self.sentences())


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    steps: Sequence[Step] = (),
    policy_steps: bool = True,
    risk_step: float = 0.1,
    settings: pd.DataFrame | None = None,
    unknown: Iterable[str] = (),
) -> Differences:
    """Compare two score sets.

    Parameters
    ----------
    a, b : DataFrame
        One row per customer, as :func:`crmml.score` gives them.
    steps : sequence of Step
        The way from ``a`` to ``b``, re-scored so that one thing changes at a time; the last one is
        ``b`` itself. Without it causes follow from the columns and the versions.
    policy_steps : bool
        Whether the steps also hold for the actions (the policies are those that decided).
    risk_step : float
        Change of the churn probability from which on the risk counts as changed, in (0, 1].
    settings : DataFrame, optional
        See :class:`Differences`.
    unknown : iterable of str
        What the caller knows to be unknown.
    """
    if not 0 < risk_step <= 1:
        raise ParameterError("risk_step", "in (0, 1]", risk_step)
    before, after = _keyed(a, "the first scores"), _keyed(b, "the second scores")
    ids = before.index.union(after.index)
    one, two = before.reindex(ids), after.reindex(ids)
    presence = np.where(ids.isin(before.index), np.where(ids.isin(after.index), "both", "gone"),
                        "new")  # fmt: skip
    both = presence == "both"
    table = pd.DataFrame({"presence": presence}, index=ids)
    possible = _possible(before, after, one, two)
    told = list(unknown)
    for aspect in COLUMNS:
        table[f"{aspect}_a"], table[f"{aspect}_b"] = _of(one, aspect), _of(two, aspect)
        changed = both & _changed(table[f"{aspect}_a"], table[f"{aspect}_b"], aspect, risk_step)
        table[f"{aspect}_changed"] = changed
        if steps and (policy_steps or aspect != "action"):
            cause = _walked(one, steps, ids, aspect, risk_step)
        else:
            cause = _by_elimination(possible, aspect, len(ids))
        table[f"{aspect}_cause"] = np.where(changed, cause, "")
    table["clv_a"], table["clv_b"] = _number(one, "clv"), _number(two, "clv")
    table["purchases"] = _number(two, "frequency") - _number(one, "frequency")
    open_causes = [table[f"{x}_cause"].str.contains("|", regex=False).any() for x in COLUMNS]
    if any(open_causes):
        told.append(
            "What several causes did cannot be told apart (a|b) from the scores alone: give both "
            "bundles and the data, and the steps between are scored."
        )
    method = "the steps between were scored, inputs first, then the model, then the policy"
    if not steps:
        method = "columns and versions of the two score sets were compared"
    return Differences(
        table.reset_index(names="customer_id"),
        _facts(before, after),
        _no_settings() if settings is None else settings,
        method,
        tuple(told),
        risk_step,
    )


def differs(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, bool]:
    """Say which causes there can be between two score sets: inputs, model, policy."""
    before, after = _keyed(a, "the first scores"), _keyed(b, "the second scores")
    ids = before.index.union(after.index)
    found = _possible(before, after, before.reindex(ids), after.reindex(ids))
    same = before.index.equals(after.index)
    return {
        "inputs": bool(np.any(found["inputs"])) or not same,
        "model": bool(np.all(found["model"])),
        "policy": bool(np.all(found["policy"])),
    }


def _keyed(scores: pd.DataFrame, what: str) -> pd.DataFrame:
    table = scores if scores.index.name == "customer_id" else None
    if table is None:
        if "customer_id" not in scores.columns:
            raise MissingColumnsError(["customer_id"], map(str, scores.columns), table=what)
        table = scores.set_index("customer_id")
    return table.sort_index()


def _possible(
    before: pd.DataFrame, after: pd.DataFrame, one: pd.DataFrame, two: pd.DataFrame
) -> dict[str, BoolArray]:
    """Return for each cause which customers it can have moved."""
    own = np.full(len(one), _first(before, "cutoff") != _first(after, "cutoff"))
    for name in _OWN:
        if name in one and name in two:
            own |= ~_same(one[name], two[name])
    every = {
        cause: np.full(len(one), _first(before, column) != _first(after, column))
        for cause, column in (("model", "model_version"), ("policy", "policy_version"))
    }
    return {"inputs": own, **every}


def _same(a: pd.Series[Any], b: pd.Series[Any]) -> BoolArray:
    missing = (a.isna() & b.isna()).to_numpy()
    x, y = (v.astype(object).where(v.notna(), "").to_numpy() for v in (a, b))
    return np.asarray((x == y) | missing, dtype=bool)


def _first(table: pd.DataFrame, name: str) -> Any:
    if name not in table or table.empty:
        return None
    value = table[name].iloc[0]
    return None if pd.isna(value) else value


def _of(table: pd.DataFrame, aspect: Aspect) -> pd.Series[Any]:
    column = COLUMNS[aspect]
    if aspect == "risk":
        return _number(table, column)
    if column not in table:
        return pd.Series(_NONE, table.index, dtype=object)
    return table[column].astype(object).where(table[column].notna(), _NONE)


def _number(table: pd.DataFrame, name: str) -> pd.Series[float]:
    if name not in table:
        return pd.Series(np.nan, table.index, dtype="float64")
    return table[name].astype("float64")


def _changed(a: pd.Series[Any], b: pd.Series[Any], aspect: Aspect, risk_step: float) -> BoolArray:
    if aspect == "risk":
        return np.asarray((b - a).abs().to_numpy() >= risk_step)
    return np.asarray((a != b).to_numpy(dtype=bool))


def _walked(
    one: pd.DataFrame, steps: Sequence[Step], ids: pd.Index[Any], aspect: Aspect, risk_step: float
) -> Any:
    """Name the steps in which each customer changed; of a risk those that moved it most."""
    last = _of(one, aspect)
    moves: list[tuple[str, Any]] = []
    for step in steps:
        now = _of(_keyed(step.table, "a step").reindex(ids), aspect)
        if aspect == "risk":
            # a part of the way counts from a quarter of the step on
            moved = np.asarray((now - last).abs().to_numpy() >= risk_step / 4)
        else:
            moved = np.asarray((now != last).to_numpy(dtype=bool))
        moves.append((step.cause, moved))
        last = now
    cause = np.full(len(ids), "", dtype=object)
    for name, moved in moves:
        cause = np.where(moved, np.where(cause == "", name, cause + "+" + name), cause)
    return np.where(cause == "", "others", cause)


def _by_elimination(possible: Mapping[str, BoolArray], aspect: Aspect, n: int) -> Any:
    """Name the causes that there can have been; only actions follow from a policy."""
    cause = np.full(n, "", dtype=object)
    for name, can in possible.items():
        if name == "policy" and aspect != "action":
            continue
        cause = np.where(can, np.where(cause == "", name, cause + "|" + name), cause)
    return np.where(cause == "", "others", cause)


def _band(risk: pd.Series[float]) -> pd.Series[Any]:
    labels = np.array([*(f"{low:.0%} to {low + 0.2:.0%}" for low in _BANDS[:-1]), _NONE])
    place = np.clip(np.searchsorted(_BANDS, risk.to_numpy(), side="right") - 1, 0, 4)
    named = labels[np.where(risk.isna(), len(labels) - 1, place)]
    return pd.Series(named, risk.index, dtype=object)


def _facts(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, tuple[Any, Any]]:
    names = ("cutoff", "model_version", "policy_version")
    return {name: (_first(a, name), _first(b, name)) for name in names}


def _no_settings() -> pd.DataFrame:
    return pd.DataFrame({"kind": [], "setting": [], "a": [], "b": []})


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def count_flows(before: pd.DataFrame, after: pd.DataFrame, column: str) -> pd.DataFrame:
    """Count who went from each class to each class between two score sets.

    Parameters
    ----------
    before, after : DataFrame
        Scores of two cutoffs, a row per customer.
    column : str
        A column of classes in both, such as ``loyalty_class``, ``value_tier`` or
        ``lifecycle_stage``.

    Returns
    -------
    DataFrame
        Rows: before, with ``new`` for who is scored after only; columns: after, with ``gone`` for
        who was scored before only. Classes stand in their own order.
        :func:`crmml.plots.plot_flows` draws it.

    Raises
    ------
    MissingColumnsError
        If one of them lacks the column.

    Examples
    --------
    >>> one = pd.DataFrame({"customer_id": [1, 2], "loyalty_class": ["loyal", "split"]})
    >>> two = pd.DataFrame({"customer_id": [1, 3], "loyalty_class": ["split", "loyal"]})
    >>> count_flows(one, two, "loyalty_class").loc["loyal", "split"].item()
    1
    """
    for name, table in (("before", before), ("after", after)):
        if column not in table:
            raise MissingColumnsError([column], map(str, table.columns), table=name)
    was, now = (t.set_index("customer_id")[column].dropna() for t in (before, after))
    ids = was.index.union(now.index)
    flows = pd.crosstab(
        was.reindex(ids).fillna("new").rename("before"),
        now.reindex(ids).fillna("gone").rename("after"),
    )
    return _in_order(flows)


def _in_order(flows: pd.DataFrame) -> pd.DataFrame:
    """Put classes into their own order, others by name; who came and who left stand last."""
    order = [*LOYALTY_CLASSES, *STAGES]
    place = {name: position for position, name in enumerate(order)}
    last = {"new": len(order) + 1, "gone": len(order) + 1}

    def key(names: pd.Index[Any]) -> pd.Index[Any]:
        return pd.Index([(last | place).get(str(name), len(order)) for name in names])

    flows = flows.sort_index(key=key, kind="stable")
    return flows.sort_index(axis=1, key=key, kind="stable")
