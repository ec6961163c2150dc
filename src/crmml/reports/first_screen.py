"""The first screen: five sentences that a director would say, with their figures."""

from __future__ import annotations

import pandas as pd

from crmml.reports.contents import Section
from crmml.reports.language import Language
from crmml.reports.reading import Reported

LIKELY = 0.5
"""From this probability on a customer counts as leaving."""

_BEST = ("A", "B")


def first_screen(of: Reported, language: Language) -> Section:
    """Say what the base is worth, who leaves, what to do, what it brings, and what changed.

    Parameters
    ----------
    of : Reported
    language : Language
    """
    said = (_worth, _leaving, _doing, _bringing, _changed)
    sentences = [speak(of, language) for speak in said]
    return Section("first", language.text("first_title"), sentences)


def acting(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows for which an action is recommended."""
    if "recommended_action" not in scores:
        return scores.iloc[:0]
    return scores[
        scores["recommended_action"].notna() & (scores["recommended_action"] != "no_action")
    ]


def _worth(of: Reported, w: Language) -> str:
    horizon = _length(of, w, "value_horizon")
    if not of.has("clv"):
        return w.text("worth_unknown", customers=w.count(len(of.scores)), why=why_not(of, w, "clv"))
    worth = w.text(
        "worth",
        customers=w.count(len(of.scores)),
        value=w.money(float(of.scores["clv"].sum())),
        horizon=horizon,
    )
    served = of.summary.get("served", {})
    if "served_spend_bias" not in served:
        return f"{worth} {w.text('sure_unknown')}"
    value, low, high = served["served_spend_bias"]
    about = {"value": w.share(abs(value)), "low": w.share(low), "high": w.share(high)}
    return f"{worth} {w.text('sure', side=w.side(value), **about)}"


def _leaving(of: Reported, w: Language) -> str:
    if not of.has("churn_probability"):
        return w.text("leaving_unknown", why=why_not(of, w, "churn_probability"))
    scores = of.scores
    best = scores[scores["value_tier"].isin(_BEST)] if "value_tier" in scores else scores
    total = float(scores["clv"].sum()) if of.has("clv") else float("nan")
    if w.contracts:  # few contracts are likelier than not to end: how many of them all is told
        chance = best["churn_probability"]
        number = float(chance.sum())
        value = float((chance * best["clv"]).sum()) if of.has("clv") else float("nan")
    else:
        likely = best[best["churn_probability"] >= LIKELY]
        number = len(likely)
        value = float(likely["clv"].sum()) if of.has("clv") else float("nan")
    return w.text(
        "leaving",
        likely=w.count(number),
        best=w.count(len(best)),
        horizon=_length(of, w, "horizon"),
        value=w.money(value),
        share=w.share(value / total if total > 0 else float("nan")),
    )


def _doing(of: Reported, w: Language) -> str:
    if not of.has("recommended_action"):
        return w.text("doing_unknown", why=why_not(of, w, "recommended_action"))
    rows = acting(of.scores)
    if rows.empty:
        return w.text("doing_nothing")
    most = rows["recommended_action"].value_counts()
    budget = of.summary.get("budget")
    limit = w.text("no_budget") if budget is None else w.text("budget", budget=w.money(budget))
    return w.text(
        "doing",
        customers=w.count(len(rows)),
        cost=w.money(float(rows["expected_cost"].sum())),
        budget=limit,
        action=w.label(most.index[0]),
        most=w.count(int(most.iloc[0])),
    )


def _bringing(of: Reported, w: Language) -> str:
    rows = acting(of.scores)
    if rows.empty:
        return w.text("bringing_nothing")
    gain = float(rows["expected_net_gain"].sum())
    proven = rows["basis"].astype(str).str.startswith("experiment")
    share = float(rows["expected_net_gain"][proven].sum()) / gain if gain > 0 else 0.0
    key = "bringing_proven" if share > 0 else "bringing_assumed"
    return w.text(key, gain=w.money(gain), share=w.share(share))


def _changed(of: Reported, w: Language) -> str:
    if of.before is None or of.cutoff_before is None:
        return w.text("changed_first")
    stay = of.before.set_index("customer_id")["value_tier"].astype(str)
    now = of.scores.set_index("customer_id")["value_tier"].astype(str)
    both = stay.index.intersection(now.index)
    moved = stay.loc[both] != now.loc[both]
    up = int((now.loc[both][moved] < stay.loc[both][moved]).sum())
    change = float(of.scores["clv"].sum()) / float(of.before["clv"].sum()) - 1.0
    return w.text(
        "changed",
        date=w.date(of.cutoff_before),
        new=w.count(len(of.scores) - len(both)),
        change=w.share(change),
        up=w.count(up),
        down=w.count(int(moved.sum()) - up),
    )


def _length(of: Reported, w: Language, name: str) -> str:
    length = of.summary.get(name)
    return w.length(length) if length else w.text("its_horizon")


def why_not(of: Reported, w: Language, column: str) -> str:
    """Say why a column is not there, as far as that is known."""
    if w.contracts and column not in of.scores:
        return w.told("needs the table `transactions`")
    return w.told(of.why_null(column)) or w.text("not_scored")
