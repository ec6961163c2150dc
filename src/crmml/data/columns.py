"""What the columns of a stranger's file hold, and which of them is which by name and by values."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import yaml

from crmml.data import engine
from crmml.data.amounts import is_number, is_whole
from crmml.data.schema import LABELLED, LEFT, STAYED, TRANSACTIONS, Kind, TableSchema
from crmml.data.times import is_clock, is_date, is_stamp

READS = 0.9
"""Share of the values of a column that must read as dates or numbers for it to count as such."""
SURE = 0.5
"""Confidence from which a column is proposed; below it the user is asked."""
ENOUGH = 30
"""Rows from which it says something that no value, or hardly any, repeats."""

ROUNDED = r"^[0-9](?:[.,]([0-9]+))?[eE]\+?([0-9]+)$"
"""How a spreadsheet writes numbers of many digits: digits, and how many places there are."""
_YES_NO = (
    "true false",
    "t f",
    "yes no",
    "y n",
    "1 0",
    "ja nein",
    "j n",
    "oui non",
    "si no",
    "بله خیر",
)
_FLAGS = frozenset(word for pair in _YES_NO for word in pair.split())
"""Words that the doors read as yes and no."""


# --- what a column looks like ------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What the values of one column are, from a sample.

    Attributes
    ----------
    is_text : bool
        Whether the file holds text.
    dates, stamps, numbers, wholes, clocks, rounded : float
        Share that reads as dates; as times written as numbers (seconds since 1970, days of a
        spreadsheet), which only a name can tell from other numbers; as numbers; as whole numbers;
        as times of day without a date; as whole numbers of which a spreadsheet has rounded the
        last digits (``1.00003E+19``).
    flag : bool
        Whether all values are words for yes and no.
    filled, distinct : int
        Number of values that are there, and of different ones.
    top : float
        Share of the most frequent value.
    common : tuple of str
        The most frequent values, at most 20.
    spread : float or None
        Of the values that repeat, the share that does so on different days; None if not counted.
    skew : float
        Mean over median of its numbers, at most 2: money has few high and many low values.
    nested : float or None
        Of the values that repeat, the share that stays with one customer, as orders do; None if
        not counted.
    """

    is_text: bool
    dates: float = 0.0
    stamps: float = 0.0
    numbers: float = 0.0
    wholes: float = 0.0
    clocks: float = 0.0
    rounded: float = 0.0
    flag: bool = False
    filled: int = 0
    distinct: int = 0
    top: float = 0.0
    common: tuple[str, ...] = ()
    spread: float | None = None
    skew: float = 0.0
    nested: float | None = None

    @property
    def unique(self) -> bool:
        """Whether no value repeats, in enough rows to say something."""
        return self.filled >= ENOUGH and self.distinct == self.filled

    @property
    def may_be_id(self) -> bool:
        """Whether it can tell customers or orders apart at all."""
        broken = self.numbers >= READS and self.wholes < READS
        dull = self.filled >= ENOUGH and (self.distinct < 2 or self.top > READS)
        return self.filled > 0 and max(self.dates, self.clocks) < READS and not broken and not dull


def look(values: pd.Series[Any]) -> Look:
    """Look at the values of one column of a sample."""
    filled = values.dropna()
    if _all_instances(filled, (str,)):
        filled = filled[filled.str.strip() != ""]
    counts = filled.value_counts()
    n = len(filled)
    base = Look(
        False,
        filled=n,
        distinct=len(counts),
        top=float(counts.iloc[0] / n) if n else 0.0,
        common=tuple(cell(value) for value in counts.index[:20]),
    )
    kind = values.dtype
    if pd.api.types.is_datetime64_any_dtype(kind) or _all_instances(filled, (dt.date,)):
        return replace(base, dates=1.0)
    if pd.api.types.is_bool_dtype(kind) or _all_instances(filled, (bool,)):
        return replace(base, flag=True)
    flag = 0 < len(counts) <= 2 and all(v.lower() in _FLAGS for v in base.common)
    if pd.api.types.is_numeric_dtype(kind) or (n and not _all_instances(filled, (str,))):
        numbers = pd.to_numeric(filled, errors="coerce")
        days = float(numbers.between(19_700_101, 21_000_101).mean()) if n else 0.0
        whole = float((numbers % 1 == 0).mean()) if n else 0.0
        dates = days if whole == 1 and all(map(is_date, map(cell, numbers.head(50)))) else 0.0
        skew = _skew(numbers)
        stamps = float(filled.head(300).map(cell).map(is_stamp).mean()) if n else 0.0
        return replace(
            base, dates=dates, stamps=stamps, numbers=1.0, wholes=whole, flag=flag, skew=skew
        )
    few = [str(value).strip() for value in counts.index[:300]]

    def share(test: Any) -> float:
        return sum(map(test, few)) / len(few) if few else 0.0

    return replace(
        base,
        is_text=True,
        dates=share(is_date),
        stamps=share(is_stamp),
        numbers=share(is_number),
        wholes=share(is_whole),
        clocks=share(is_clock),
        rounded=share(_is_rounded),
        flag=flag,
    )


def _is_rounded(text: str) -> bool:
    found = re.fullmatch(ROUNDED, text)
    return found is not None and int(found[2]) > len(found[1] or "")


def is_rounded(ids: ir.StringValue) -> ir.BooleanValue:
    """Write in the engine whether a spreadsheet has rounded an id, as 1.00003E+19.

    It is then a whole number with fewer digits than it has.
    """
    exponent = engine.cast_or_null(ids.re_extract(ROUNDED, 2), ibis.dtype("int64"))
    more = exponent > ids.re_extract(ROUNDED, 1).length()
    return ids.re_search(ROUNDED) & more.fill_null(False)


def _skew(numbers: pd.Series[Any]) -> float:
    positive = numbers[numbers > 0]
    median = float(positive.median()) if len(positive) else 0.0
    return min(float(positive.mean()) / median, 2.0) if median > 0 else 0.0


def cell(value: object) -> str:
    """Write a cell as the engine does when it turns it into text."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value).strip()  # type: ignore[call-overload]


def _all_instances(values: pd.Series[Any], kinds: tuple[type, ...]) -> bool:
    return len(values) > 0 and all(isinstance(value, kinds) for value in values.head(200))


# --- names -------------------------------------------------------------------------------------

_ALIKE = str.maketrans("ıłøđيكىة", "ilodیکیه")
"""Letters that do not decompose, and those that Persian and Arabic keyboards write differently."""


@functools.lru_cache(maxsize=10_000)
def plain(name: str) -> str:
    """Write a name without capitals, accents, blanks and signs.

    Examples
    --------
    >>> plain("Kunden-Nr."), plain("Müşteri Numarası"), plain("会员 ID")
    ('kundennr', 'musterinumarasi', '会员id')
    """
    return re.sub(r"[\W_]+", "", _folded(name))


def _folded(name: str) -> str:
    # "straße" and "İ" fold too; accents become marks of their own and go
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c)).translate(_ALIKE)


@functools.lru_cache(maxsize=10_000)
def _words(name: str) -> frozenset[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(re.sub(r"[\W_]+", " ", _folded(spaced)).split())


@functools.cache
def _read() -> dict[str, dict[str, tuple[str, ...]]]:
    text = importlib.resources.files("crmml.data").joinpath("spellings.yaml").read_text("utf-8")
    return {
        table: {column: tuple(itertools.chain(*rows)) for column, rows in columns.items()}
        for table, columns in yaml.safe_load(text).items()
    }


def spellings(table: str) -> Mapping[str, tuple[str, ...]]:
    """Return how people name each column of a table, in the order of preference.

    ``transactions`` has ``unit_price`` beside the columns of its contract; the table ``words``
    holds words that tell what a file is.
    """
    own, shared = _read()[table], _read()["shared"]
    return {name: own.get(name, ()) + shared.get(name, ()) for name in {**shared, **own}}


@functools.cache
def _prepared(table: str, column: str) -> tuple[dict[str, int], list[tuple[str, frozenset[str]]]]:
    told = spellings(table).get(column, ())
    places: dict[str, int] = {}
    for place, spelling in enumerate(told):
        places.setdefault(plain(spelling), place)
    return places, [(spelling, _words(spelling)) for spelling in told]


@functools.lru_cache(maxsize=10_000)
def by_name(name: str, table: str, column: str) -> tuple[float, str]:
    """Score a name for a column: 1 for its own, a little less for a usual one, .6 for a hint.

    Examples
    --------
    >>> by_name("Customer_ID", "transactions", "customer_id")
    (1.0, 'the name itself')
    >>> by_name("paying member no", "transactions", "customer_id")
    (0.65, "its name holds 'member no'")
    """
    written = plain(name)
    if written == plain(column):
        return 1.0, "the name itself"
    places, phrases = _prepared(table, column)
    if written in places:
        return 0.95 - 0.1 * places[written] / len(phrases), "a usual name"
    held = hints(name, (spelling for spelling, _ in phrases))
    if held:
        best = max(held, key=lambda spelling: len(_words(spelling)))
        return round(min(0.55 + 0.05 * len(_words(best)), 0.75), 2), f"its name holds {best!r}"
    return 0.0, ""


def hints(name: str, wanted: Iterable[str]) -> list[str]:
    """Return those of some spellings of which a name holds all words (CJK: the characters)."""
    words, written = _words(name), plain(name)
    found = []
    for spelling in wanted:
        parts = _words(spelling)
        blankless = re.search(r"[\u3040-\u30ff\u3400-\u9fff]", spelling) is not None
        if (parts and parts <= words) or (blankless and plain(spelling) in written):
            found.append(spelling)
    return found


_BASES = frozenset(
    (
        *("incl", "inkl", "including", "inclusive", "inc", "excl", "exkl", "excluding", "ex"),
        *("before", "with", "without", "con", "sin", "incluido", "incluida", "mit", "ohne"),
        *("avec", "sans", "senza", "com", "sem", "dahil", "hariç", "z", "bez", "с", "без"),
    )
)
"""Words that say of an amount that something is within it or is not."""


def beside_amount(name: str) -> str | None:
    """Return what a column of money is that is no revenue: tax, shipping or refunded; or None.

    Examples
    --------
    >>> beside_amount("VAT amount"), beside_amount("Total incl. VAT"), beside_amount("税込金額")
    ('tax', None, None)
    """
    words = spellings("words")
    for role in ("refunded", "shipping", "tax"):
        held = hints(name, words[role])
        if not held:
            continue
        bases = hints(name, (*words["gross"], *words["net"]))
        if _words(name) & _BASES or any(plain(h) in plain(b) for h in held for b in bases):
            return None
        return role
    return None


# --- which column is which ---------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """Which column of the file holds a column of the contract.

    Attributes
    ----------
    column : str
        Name in the file.
    confidence : float
        From 0 to 1: 1 is a usual name whose values fit.
    alternatives : tuple of str
        Other columns that fit, best first.
    why : str
        The reason, in a few words.
    """

    column: str
    confidence: float
    alternatives: tuple[str, ...]
    why: str


def fits_kind(kind: Kind | None, seen: Look) -> bool:
    """Say whether the values of a column can be of a kind."""
    if not seen.filled:
        return False
    return {
        "timestamp": max(seen.dates, seen.stamps) >= READS,
        "money": seen.numbers >= READS and seen.dates < READS and seen.rounded < READS,
        "number": seen.numbers >= READS and seen.dates < READS,
        "flag": seen.flag,
        "id": seen.may_be_id,
        "text": seen.clocks < READS,
    }.get(kind or "text", True)


def holds_outcomes(seen: Look) -> bool:
    """Say whether a column says of each customer in words that he left or stayed."""
    words = {value.strip().lower() for value in seen.common}
    return seen.distinct == 2 and bool(words & {*LEFT}) and words <= {*LEFT, *STAYED}


def fits_id(schema: TableSchema, name: str, seen: Look, score: float) -> bool:
    """Say whether a column can be the id that its name tells of: evidence, not names alone."""
    n = seen.filled
    if name == "order_id":  # an order has few lines, of one customer, on one day
        together = seen.nested is None or seen.nested >= 0.5
        return n < ENOUGH or (seen.distinct >= 0.05 * n and together)
    if name != "customer_id" or seen.rounded >= READS:
        return name != "customer_id"
    if score < 0.8 and n >= ENOUGH and seen.distinct < max(5, 0.01 * n):
        return False
    if "customer_id" in schema.key:  # one row per customer
        return n < ENOUGH or seen.distinct >= 0.98 * n
    if schema is TRANSACTIONS:
        return not seen.unique and (seen.spread is None or seen.spread >= 0.05)
    return True


def assign(schema: TableSchema, looks: Mapping[str, Look]) -> dict[str, Guess]:
    """Find the columns of a table by name, where the values fit.

    Parameters
    ----------
    schema : TableSchema
        The table that the file is taken for.
    looks : mapping of str to Look
        The columns of the file.
    """
    scored: dict[str, list[tuple[float, str, str]]] = {}
    for canonical, kind in _target_columns(schema):
        found = []
        for column, seen in looks.items():
            score, why = by_name(column, schema.name, canonical)
            numbered = seen.unique and seen.wholes >= 1
            if canonical == "amount" and score < 0.8 and (beside_amount(column) or numbered):
                continue
            # an end that is still to come is a column without values
            open_end = canonical == "ended_at" and not seen.filled and score > 0.8
            good = fits_kind(kind, seen) and fits_id(schema, canonical, seen, score)
            good |= schema is LABELLED and kind == "flag" and holds_outcomes(seen)
            if score and (good or open_end):
                found.append((score, column, why))
        scored[canonical] = sorted(found, key=lambda item: -item[0])
    taken: set[str] = set()
    chosen: dict[str, Guess] = {}
    # the surest names first, so that a weak hint never takes a column from a strong one
    order = sorted(
        ((score, canonical, column, why) for canonical, found in scored.items()
         for score, column, why in found),
        key=lambda item: -item[0],
    )  # fmt: skip
    for score, canonical, column, why in order:
        if canonical not in chosen and column not in taken:
            others = tuple(other for _, other, _ in scored[canonical] if other != column)
            chosen[canonical] = Guess(column, round(score, 2), others, why)
            taken.add(column)
    if schema is LABELLED and "customer_id" not in chosen:
        _guess_key(chosen, taken, looks)
    if schema is TRANSACTIONS:
        _settle_amount(chosen, taken)
        _guess_by_values(chosen, taken, looks)
        _settle_profit(chosen)
    return {name: chosen[name] for name, _ in _target_columns(schema) if name in chosen}


def _target_columns(schema: TableSchema) -> Iterator[tuple[str, Kind]]:
    for column in schema.columns:
        yield column.name, column.kind
        if schema is TRANSACTIONS and column.name == "amount":
            yield "unit_price", "money"


_KEY = frozenset(("id", "uuid", "guid", "key", "no", "nr", "num", "number", "code"))


def _guess_key(chosen: dict[str, Guess], taken: set[str], looks: Mapping[str, Look]) -> None:
    """Take the first column that is called an id and never repeats: one row is one customer."""
    for column, seen in looks.items():
        if column not in taken and seen.unique and seen.may_be_id and _words(column) & _KEY:
            chosen["customer_id"] = Guess(column, 0.8, (), "called an id, and none repeats")
            return


def _settle_amount(chosen: dict[str, Guess], taken: set[str]) -> None:
    """Let unit price and quantity stand in for an amount only where there is none."""
    price = chosen.get("unit_price")
    if price is None:
        return
    if "amount" in chosen and chosen["amount"].confidence >= price.confidence - 0.3:
        del chosen["unit_price"]
        taken.discard(price.column)
    elif "quantity" in chosen:
        if amount := chosen.pop("amount", None):
            taken.discard(amount.column)
    else:
        del chosen["unit_price"]
        why = "a price, and there is no quantity"
        chosen["amount"] = Guess(price.column, SURE, (), why)


def _settle_profit(chosen: dict[str, Guess]) -> None:
    """Take what is called a profit for the amount where there is no other one: many call it so."""
    profit = chosen.get("margin")
    if profit and not {"amount", "unit_price"} & chosen.keys():
        del chosen["margin"]
        why = "called a profit, and there is no other amount"
        chosen["amount"] = Guess(profit.column, SURE, (), why)


def _guess_by_values(chosen: dict[str, Guess], taken: set[str], looks: Mapping[str, Look]) -> None:
    """Where names say nothing, take the only column whose values fit; of several, ask."""
    for canonical, why in (
        ("timestamp", "the only column of dates"),
        ("amount", "the only column of decimal numbers"),
        ("customer_id", "the only column whose values tell many apart, and repeat"),
    ):
        free = [c for c in candidates(TRANSACTIONS, canonical, looks) if c not in taken]
        if canonical not in chosen and free:
            if canonical == "amount" and "unit_price" in chosen:
                continue
            sure = 0.6 if len(free) == 1 else 0.6 / len(free)
            mails = [c for c in free if canonical == "customer_id" and _holds_mail(looks[c])]
            if len(mails) == 1:
                free = [mails[0], *(c for c in free if c not in mails)]
                sure, why = 0.6, "the only column of e-mail addresses"
            chosen[canonical] = Guess(free[0], round(sure, 2), tuple(free[1:]), why)
            taken.add(free[0])


def _holds_mail(seen: Look) -> bool:
    return bool(seen.common) and all(re.fullmatch(r"[^@\s]+@[^@\s]+", v) for v in seen.common)


def candidates(schema: TableSchema, canonical: str, looks: Mapping[str, Look]) -> list[str]:
    """Return the columns that can hold a column of the contract by their values alone."""
    if canonical == "timestamp":
        return [c for c, seen in looks.items() if seen.dates >= READS]
    if canonical == "amount":
        broken = [
            c
            for c, s in looks.items()
            if fits_kind("money", s) and s.wholes < 1 and not beside_amount(c)
        ]
        # few high amounts and many low ones: money is skewed, measurements are not
        return sorted(broken, key=lambda c: (-round(looks[c].skew), looks[c].wholes))
    if canonical == "customer_id":
        found = [
            c
            for c, s in looks.items()
            if s.may_be_id and not s.flag and fits_id(schema, canonical, s, 0.0)
        ]
        return sorted(found, key=lambda c: -looks[c].distinct)
    return []
