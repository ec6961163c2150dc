"""Which of the seven tables a file is, from what one row of it is: evidence first, names second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from crmml.data.columns import (
    ENOUGH,
    READS,
    SURE,
    Guess,
    Look,
    assign,
    by_name,
    hints,
    plain,
    spellings,
)
from crmml.data.schema import (
    CUSTOMERS,
    INTERACTIONS,
    LABELLED,
    SCHEDULES,
    TABLES,
    TRANSACTIONS,
    TREATMENTS,
    TableSchema,
)
from crmml.data.times import is_date
from crmml.exceptions import first_few

_PERIOD = re.compile(
    r"(19|20)\d\d([-/. _]?(0?[1-9]|1[0-2]|[QqWw]\d{1,2}))?|[QqMm]\d{1,2}([-/. _]?(19|20)?\d\d)?"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[-/. _]?((19|20)?\d\d)?",
    re.IGNORECASE,
)
"""Names of columns that are years, quarters, months or weeks."""


@dataclass(frozen=True)
class Recognition:
    """Which table a file is taken for.

    Attributes
    ----------
    schema : TableSchema
        The table.
    confidence : float
        From 0 to 1; below .5 it could not be told.
    evidence : tuple of str
        What speaks for it, a fragment of a sentence each.
    other : str or None
        The next best table, where it comes close.
    totals : tuple of str
        Columns that sum up a customer's past, where each row is a customer.
    """

    schema: TableSchema
    confidence: float
    evidence: tuple[str, ...]
    other: str | None = None
    totals: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Case:
    """How well one table fits."""

    schema: TableSchema
    score: float
    evidence: tuple[str, ...]


def recognise(looks: Mapping[str, Look], stem: str) -> Recognition:
    """Say which table a file is.

    Parameters
    ----------
    looks : mapping of str to Look
        Its columns.
    stem : str
        Name of the file without its ending: a hint that settles what is close.
    """
    totals = tuple(c for c in looks if hints(c, spellings("words")["totals"]))
    cases = [_judge(schema, looks, totals) for schema in TABLES]
    named = [
        _Case(case.schema, case.score + 0.05, (*case.evidence, "the file is called so"))
        if plain(case.schema.name).rstrip("s") in plain(stem)
        else case
        for case in cases
    ]
    first, second = sorted(named, key=lambda case: -case.score)[:2]
    close = second.score > 0.9 * first.score
    sure = min(first.score, 1.0) * (0.75 if close else 1.0)
    whose = totals if "customer_id" in first.schema.key else ()
    other = second.schema.name if close else None
    return Recognition(first.schema, round(sure, 2), first.evidence, other, whose)


def _judge(schema: TableSchema, looks: Mapping[str, Look], totals: tuple[str, ...]) -> _Case:
    chosen = assign(schema, looks)
    if schema is CUSTOMERS:
        return _judge_customers(chosen, looks, totals)
    needed = ["unit_price" if n == "amount" and "unit_price" in chosen else n
              for n in schema.required]  # fmt: skip
    score = sum(chosen[n].confidence for n in needed if n in chosen) / len(needed)
    # a column that is called so but does not read tells what the file is, though less
    lost = [n for n in needed if n not in chosen and n != "customer_id"]
    score += sum(0.6 for n in lost if _called(schema, n, looks)) / len(needed)
    optional = [n for n, g in chosen.items() if n not in schema.required and g.confidence >= 0.7]
    score += 0.05 * min(len(optional), 4)
    evidence = [_said(n, chosen[n], looks) for n in needed if n in chosen]
    if schema is SCHEDULES and "customer_id" in assign(INTERACTIONS, looks):
        score -= 0.5
    for table, column, words in (
        (INTERACTIONS, "kind", "kinds"),
        (TREATMENTS, "action", "control"),
    ):
        if schema is table and column in chosen:
            known = set(map(plain, spellings("words")[words]))
            held = [v for v in looks[chosen[column].column].common if plain(v) in known]
            score += 0.1 if held else (-0.2 if schema is INTERACTIONS else 0.0)
            evidence += [f"{chosen[column].column!r} holds {first_few(held, 3)}"] if held else []
    if schema is LABELLED:
        return _judge_labelled(chosen, looks, evidence)
    return _Case(schema, score, tuple(evidence))


def _judge_labelled(
    chosen: Mapping[str, Guess], looks: Mapping[str, Look], evidence: list[str]
) -> _Case:
    """Take a column of outcomes for the proof; ids may lack, as in tables that were shared."""
    outcome, key = chosen.get("outcome"), chosen.get("customer_id")
    if outcome is None:
        return _Case(LABELLED, 0.0, tuple(evidence))
    if key is not None:
        return _Case(LABELLED, 0.05 + (outcome.confidence + key.confidence) / 2, tuple(evidence))
    ids = [c for c in looks if by_name(c, LABELLED.name, "customer_id")[0] > 0.8]
    log = assign(TRANSACTIONS, looks)
    bought = {"customer_id", "timestamp", "amount"} <= log.keys()
    if ids or outcome.confidence < 0.8 or (bought and log["customer_id"].confidence >= 0.65):
        return _Case(LABELLED, outcome.confidence / 2, tuple(evidence))
    told = (*evidence, "no column names customers or purchases, so each row is one")
    return _Case(LABELLED, 0.85 * outcome.confidence, told)


def _called(schema: TableSchema, name: str, looks: Mapping[str, Look]) -> bool:
    return any(by_name(column, schema.name, name)[0] > 0.8 for column in looks)


def _judge_customers(
    chosen: Mapping[str, Guess], looks: Mapping[str, Look], totals: tuple[str, ...]
) -> _Case:
    key = chosen.get("customer_id")
    if key is None:
        return _Case(CUSTOMERS, 0.0, ())
    described = [n for n in chosen if n != "customer_id"]
    person = [c for c in looks if hints(c, spellings("words")["person"])]
    score = 0.5 * key.confidence + 0.15 * min(len(described) + len(person), 3)
    score += 0.15 * min(len(totals), 2)
    evidence = [_said("customer_id", key, looks)]
    if totals:
        evidence.append(f"{first_few(totals, 3)} sum up what a customer did to date")
    if described or person:
        shown = [*(chosen[n].column for n in described), *person]
        evidence.append(f"{first_few(dict.fromkeys(shown), 3)} describe a customer")
    return _Case(CUSTOMERS, min(score, 0.9), tuple(evidence))


def _said(name: str, guess: Guess, looks: Mapping[str, Look]) -> str:
    seen, column = looks[guess.column], repr(guess.column)
    if name == "customer_id" and seen.filled >= ENOUGH:
        if seen.distinct >= 0.98 * seen.filled:
            return f"one row per customer ({seen.filled:,} rows, {seen.distinct:,} of {column})"
        return f"{column} repeats ({seen.distinct:,} in {seen.filled:,} rows)"
    if seen.dates >= SURE:
        return f"{column} holds dates"
    if name in ("amount", "unit_price"):
        return f"{column} holds numbers{' with decimals' if seen.wholes < 1 else ''}"
    if seen.flag:
        return f"{column} holds yes and no"
    return f"{column} is the {name.replace('_', ' ')}"


def holds_touches(looks: Mapping[str, Look]) -> bool:
    """Say whether a column holds kinds of touch points, such as complaints and calls."""
    known = set(map(plain, spellings("words")["kinds"]))
    return any(plain(value) in known for seen in looks.values() for value in seen.common)


def other_kind(looks: Mapping[str, Look]) -> str | None:
    """Say what a file is that is none of the tables, and what to do with it; None if it may be one.

    Parameters
    ----------
    looks : mapping of str to Look
        Its columns.
    """
    words = spellings("words")
    if len(looks) == 1:
        ((name, only),) = looks.items()
        if only.is_text and only.dates < SURE and only.numbers < SURE:
            return (
                f"its lines do not split into columns by any usual delimiter (the only one is "
                f"{name[:40]!r}); set the delimiter, or export it as CSV"
            )
    periods = [c for c in looks if _PERIOD.fullmatch(c.strip()) or is_date(c)]
    if len(periods) >= 3 and 2 * len(periods) > len(looks):
        return (
            f"it is a wide table: one row per customer, one column per period "
            f"({first_few(periods, 3)}); turn it into one row per customer and period "
            "(pandas.melt) with customer, date, amount"
        )
    customer = max((by_name(c, "transactions", "customer_id")[0] for c in looks), default=0.0)
    days = [c for c, seen in looks.items() if seen.dates >= READS and seen.unique]
    named = any(s.may_be_id and s.numbers < READS and not s.flag for s in looks.values())
    if days and customer == 0 and not named:
        return (
            f"it is a table of totals: no {days[0]!r} repeats, so one row is a day and not a "
            "purchase, and no column names a customer; export the single purchases"
        )
    asked = [c for c in looks if hints(c, words["survey"])]
    people = [c for c in asked if looks[c].unique]
    amounts = any(by_name(c, "transactions", "amount")[0] > 0.8 for c in looks)
    if people and not amounts:
        return (
            f"it is a survey: one row per answer (no {people[0]!r} repeats); with the customer, "
            "the date, kind = survey and the score from 0 to 10 it is a table interactions, "
            "beside a log"
        )
    return None


def why_no_log(file: str, found: Recognition) -> str:
    """Say why a file is no log of transactions, what it is instead, and which door is its own."""
    told = "; ".join(found.evidence)
    door = f"give the log beside it (crmml init LOG {file})"
    if found.totals:
        door += (
            "; where it holds frequency, recency and T of each customer, Snapshot.from_frame "
            "takes it in Python"
        )
    return (
        f"{file} is no log of transactions but a table {found.schema.name} "
        f"({found.confidence:.0%} sure: {told}), where one row is {found.schema.row}; a log has "
        f"{TRANSACTIONS.row} per row, with customer, date and amount: {door}"
    )
