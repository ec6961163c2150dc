"""The strategy map: measured links from actions to experience and loyalty, retention and profit.

A link is an experiment where chance decided who got the action and the probability is known; then
it is an effect. Every other link is an association: what goes with what among customers who are
alike in how often, how lately, how long and for how much they bought. Doubt is that of customers
drawn anew (sandwich of Huber 1967 and White 1980), and what counts as beyond chance allows for the
number of links (Holm 1979).

Sources: Kaplan and Norton (2004), *Strategy Maps*; Hajek (1971) for means weighted by the inverse
of the probability of what was given.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import norm

from crmml._typing import FloatArray
from crmml.card import Card, Result
from crmml.exceptions import ParameterError
from crmml.features.answers import follow_actions, sum_purchases
from crmml.features.experience import WINDOW, read_zones
from crmml.features.snapshot import build_snapshot
from crmml.features.windows import Window, shifted
from crmml.scorecard.shifts import holm

if TYPE_CHECKING:
    from crmml.data.tables import Tables

Evidence: TypeAlias = Literal["experiment", "association", ""]

PERSPECTIVES: tuple[str, ...] = ("action", "experience and loyalty", "retention", "profit")
"""From the cause to the end, the bands of the map."""

ANY = "any action"
LEAST = 30
"""Customers on either side below which a link is not estimated."""

_UNITS = {
    "experience": "points of a survey, 0 to 10",
    "loyalty": "of the measure of loyalty",
    "retention": "share of customers",
    "profit": "currency per customer",
}
_STEPS = {
    "experience": "positive instead of negative",
    "loyalty": "one unit more",
    "retention": "bought, instead of not",
}
_ZONES = {"negative": -0.5, "neutral": 0.0, "positive": 0.5}


@dataclass(frozen=True, repr=False)
class StrategyMap(Result):
    """Links with their effects.

    Attributes
    ----------
    table : DataFrame
        A row per link: ``source``, ``target``, ``step`` (what the source changes by), ``evidence``
        (``experiment``, ``association`` or empty), ``effect`` (of the step on the target),
        ``lower`` and ``upper`` (95 %), ``unit``, ``customers``, ``p_value`` (adjusted for all
        links), ``beyond_chance``, and ``needs`` (what is lacking where nothing was measured).
    cutoff : Timestamp
        Experience and loyalty are of the time before it, retention and profit of that after it.
    horizon : str
        Length of each outcome window.
    """

    table: pd.DataFrame
    cutoff: pd.Timestamp
    horizon: str

    def to_pandas(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()

    def sentences(self) -> list[str]:
        """Say each measured link in words, those beyond chance first."""
        known = self.table[self.table["effect"].notna()]
        known = known.sort_values("beyond_chance", ascending=False, kind="stable")
        return [_say(row) for row in known.to_dict("records")]

    def _card(self) -> Card:
        sure = self.table[self.table["beyond_chance"]]
        lacking = self.table[self.table["needs"] != ""]
        rows = [("link", _say(row)) for row in sure.to_dict("records")[:7]]
        doubtful = int(self.table["effect"].notna().sum()) - len(sure)
        rows.append(("no link", f"{doubtful} measured and not beyond chance"))
        for row in lacking.to_dict("records")[:3]:
            rows.append(("missing", f"{row['source']} -> {row['target']}: needs {row['needs']}"))
        line = f"Strategy map at {self.cutoff.date()}: {len(sure)} links beyond chance"
        return Card(line, tuple(rows))


def compute_strategy_map(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    *,
    horizon: str = "13W",
    lapse: str = "26W",
    window: str = WINDOW,
    loyalty: pd.Series[float] | None = None,
    own_seller: str | None = None,
    alpha: float = 0.05,
) -> StrategyMap:
    """Measure the links from actions to profit.

    Parameters
    ----------
    tables : Tables
        With ``transactions``; ``interactions`` and ``treatments`` as far as there are.
    cutoff : str or Timestamp
        Experience is read before it, retention in the horizon after it and profit in the horizon
        after that; both horizons must lie inside the data. Actions are used up to the end of both.
    horizon : str
        Length of each outcome window, and of the time after an action.
    lapse : str
        See :func:`crmml.features.answers.follow_actions`.
    window : str
        How far back the experience is read.
    loyalty : Series of float, optional
        A measure of each customer's loyalty known at the cutoff, on ``customer_id``, such as 1 for
        who is loyal and 0 for others; the data alone hold none.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.
    alpha : float
        Chance of any false link beyond chance, above 0 and below 1.

    Returns
    -------
    StrategyMap

    Raises
    ------
    CensoredWindowError
        If the horizons end after the data do.
    """
    if not 0.0 < alpha < 1.0:
        raise ParameterError("alpha", "above 0 and below 1", alpha)
    retained = Window(cutoff, horizon)
    earned = Window(cutoff, horizon, gap=horizon)
    earned.check_observed(tables.last_timestamp)
    people = _people(tables, retained, earned, window, loyalty, own_seller)
    rows = _action_links(
        tables, retained.cutoff, earned.closes, horizon, lapse, loyalty, own_seller
    )
    for source, target in (
        ("experience", "loyalty"), ("experience", "retention"), ("loyalty", "retention"),
        ("retention", "profit"),
    ):  # fmt: skip
        rows.append(_association(people, source, target))
    table = pd.DataFrame(rows)
    table["p_value"] = holm(table["p_value"])
    table["beyond_chance"] = table["p_value"] <= alpha
    return StrategyMap(table[[*_COLUMNS]], retained.cutoff, horizon)


_COLUMNS = ("source", "target", "step", "evidence", "effect", "lower", "upper", "unit",
            "customers", "p_value", "beyond_chance", "needs")  # fmt: skip


def _people(
    tables: Tables, retained: Window, earned: Window, window: str,
    loyalty: pd.Series[float] | None, own_seller: str | None,
) -> pd.DataFrame:  # fmt: skip
    """Return drivers, outcomes and what customers were like before, one row each."""
    frame = build_snapshot(tables, retained.cutoff, behaviour=False, own_seller=own_seller).frame
    ids = pd.Index(frame["customer_id"])
    people = pd.DataFrame({
        "frequency": np.log1p(frame["frequency"].to_numpy(dtype=float)),
        "inactivity": np.log1p((frame["T"] - frame["recency"]).to_numpy(dtype=float)),
        "age": np.log1p(frame["T"].to_numpy(dtype=float)),
        "spend": np.log1p(frame["monetary_value"].clip(lower=0.0).fillna(0.0).to_numpy(float)),
    }, index=ids)  # fmt: skip
    first = sum_purchases(tables, retained.opens, retained.closes, own_seller=own_seller)
    second = sum_purchases(tables, earned.opens, earned.closes, own_seller=own_seller)
    people["retention"] = first["bought"].reindex(ids, fill_value=False).astype(float)
    people["profit"] = second["margin"].reindex(ids, fill_value=0.0)
    people["experience"] = people["loyalty"] = np.nan
    if "interactions" in tables:
        zones = read_zones(tables, retained.cutoff, window=window)["experience_zone"]
        people["experience"] = zones.map(_ZONES).astype(float).reindex(ids)
    if loyalty is not None:
        people["loyalty"] = loyalty.reindex(ids).astype(float)
    return people


def _association(people: pd.DataFrame, source: str, target: str) -> dict[str, Any]:
    both = people[people[source].notna() & people[target].notna()]
    row = _row(source, target, _STEPS[source], _UNITS[target], len(both))
    x = both[source].to_numpy(dtype=np.float64)
    if len(both) < 2 * LEAST or np.ptp(x) == 0.0:
        names = [n for n in (source, target) if people[n].notna().sum() < 2 * LEAST]
        return row | {"needs": _lacking(names[0] if names else source)}
    alike = both[["frequency", "inactivity", "age", "spend"]].to_numpy(dtype=np.float64)
    design = np.column_stack([np.ones(len(both)), alike, x])
    return row | _measured(*_slope(design, both[target].to_numpy(dtype=np.float64)), "association")


def _lacking(name: str) -> str:
    if name == "loyalty":
        return "a measure of loyalty from before, such as loyalty_class of earlier scores"
    if name == "experience":
        return f"surveys or complaints of at least {2 * LEAST} customers in the table interactions"
    return f"customers of both kinds, at least {LEAST}"


def _action_links(
    tables: Tables, cutoff: pd.Timestamp, end: pd.Timestamp, horizon: str, lapse: str,
    loyalty: pd.Series[float] | None, own_seller: str | None,
) -> list[dict[str, Any]]:  # fmt: skip
    targets = {"experience": "score", "loyalty": "loyalty", "retention": "bought", "profit": "net"}
    if "treatments" not in tables:
        return [_row(ANY, to, "given", _UNITS[to], 0) | {"needs": "the table treatments"}
                for to in targets]  # fmt: skip
    acts = follow_actions(tables, end, horizon=horizon, lapse=lapse, own_seller=own_seller)
    acts["experiment"] = acts["experiment"].astype("object").where(acts["experiment"].notna(), "")
    acts = acts.drop_duplicates(["experiment", "customer_id"])
    acts["net"] = acts["margin"] - acts["cost"].fillna(0.0)
    known = pd.Series(dtype=float) if loyalty is None else loyalty.astype(float)
    before = acts["timestamp"] <= shifted(cutoff, horizon, -1)
    acts["loyalty"] = acts["customer_id"].map(known).where(before)
    names = sorted(set(acts["action"]) - {"no_action"})
    named = [ANY, *names] if len(names) != 1 else names
    return [_of_action(acts, name, to, column) for name in named for to, column in targets.items()]


def _of_action(acts: pd.DataFrame, name: str, target: str, column: str) -> dict[str, Any]:
    """Compare who got an action with who got none."""
    left = acts["action"] == "no_action"
    given = ~left if name == ANY else acts["action"] == name
    chance = acts["propensity"]
    by_chance = (chance > 0) & (chance < 1)
    if name != ANY:
        by_chance &= _at_random(acts)
    told = acts[column].notna()
    row = _row(name, target, "given", _UNITS[target], 0)
    for evidence in ("experiment", "association"):
        of = told & by_chance if evidence == "experiment" else told
        one, none = acts[given & of], acts[left & of]
        if min(len(one), len(none)) < LEAST:
            continue
        row["customers"] = len(one) + len(none)
        if evidence == "experiment":
            sides = [_mean(s[column], 1.0 / s["propensity"]) for s in (one, none)]
            error = float(np.hypot(sides[0][1], sides[1][1]))
            return row | _measured(sides[0][0] - sides[1][0], error, "experiment")
        both = pd.concat([one, none])
        design = np.column_stack([
            np.ones(len(both)), both["active"].to_numpy(dtype=float),
            both["lapsed"].to_numpy(dtype=float), (both["action"] != "no_action").to_numpy(float),
        ])  # fmt: skip
        found = _slope(design, both[column].to_numpy(dtype=np.float64))
        return row | _measured(*found, "association")
    if target == "loyalty" and not told.any():
        return row | {"needs": _lacking("loyalty")}
    of_whom = " with a survey in the horizon after it" if target == "experience" else ""
    return row | {"needs": f"{LEAST} customers each with the action and with no_action{of_whom}"}


def _at_random(acts: pd.DataFrame) -> pd.Series[bool]:
    """Mark experiments in which who one is played no part: one probability per action, sum 1.

    Where a policy chose the action and chance only held some out, those held out are alike to all
    who were meant to get some action, but not to those of one action.
    """
    chances = acts.groupby(["experiment", "action"])["propensity"].agg(["min", "max"])
    same = (chances["max"] - chances["min"]).abs() < 1e-9
    whole = (chances["max"].groupby(level="experiment").sum() - 1.0).abs() < 1e-6
    random = same.groupby(level="experiment").all() & whole
    return acts["experiment"].map(random).astype(bool)


def _mean(values: pd.Series[float], weights: pd.Series[float]) -> tuple[float, float]:
    y, w = values.to_numpy(dtype=np.float64), weights.to_numpy(dtype=np.float64)
    mean = float(w @ y / w.sum())
    return mean, float(np.sqrt((w**2) @ (y - mean) ** 2) / w.sum())


def _slope(design: FloatArray, outcome: FloatArray) -> tuple[float, float]:
    """Return the last coefficient of least squares and its robust standard error."""
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    coefficients = inverse @ (design.T @ outcome)
    left = outcome - design @ coefficients
    n, k = design.shape
    meat = (design * left[:, None]).T @ (design * left[:, None]) * (n / (n - k))
    return float(coefficients[-1]), float(np.sqrt((inverse @ meat @ inverse)[-1, -1]))


def _row(source: str, target: str, step: str, unit: str, customers: int) -> dict[str, Any]:
    return {
        "source": source, "target": target, "step": step, "evidence": "", "effect": np.nan,
        "lower": np.nan, "upper": np.nan, "unit": unit, "customers": customers,
        "p_value": np.nan, "needs": "",
    }  # fmt: skip


def _measured(effect: float, error: float, evidence: Evidence) -> dict[str, Any]:
    p = float(2.0 * norm.sf(abs(effect) / error)) if error > 0 else np.nan
    half = 1.96 * error
    return {"evidence": evidence, "effect": effect, "lower": effect - half, "upper": effect + half,
            "p_value": p}  # fmt: skip


def _say(row: Mapping[Hashable, Any]) -> str:
    write = "{:+.1%}" if row["target"] == "retention" else "{:+.3g}"
    figures = [write.format(row[name]) for name in ("effect", "lower", "upper")]
    sure = "" if row["beyond_chance"] else ", which may be chance"
    return (
        f"{row['source']} ({row['step']}) -> {row['target']}: {figures[0]} ({figures[1]} to "
        f"{figures[2]}; {row['evidence']}{sure})"
    )
