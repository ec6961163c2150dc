"""The forms of times: what text can be a date, and which form the times of a column have."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import re
from collections.abc import Iterable, Mapping

import ibis
import ibis.expr.types as ir

from crmml.data.engine import parse_timestamp
from crmml.exceptions import few

_DAYS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y-%m-%d", "%Y%m%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%d %b %Y", "%d-%b-%Y"),
    *("%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y.%m.%d"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
DATE_FORMATS: tuple[str, ...] = tuple(
    day + clock for day, clock in itertools.product(_DAYS, _CLOCKS)
)
"""Formats that are tried, beside ISO 8601."""


@functools.lru_cache(maxsize=10_000)
def is_date(text: str) -> bool:
    """Say whether a text is a date, in ISO 8601 or one of :data:`DATE_FORMATS`."""
    text = text.strip()
    if not re.search(r"\d", text) or len(text) < 6:
        return False
    if re.match(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d|$)", text):
        return True
    return any(fits(text, codes) for codes in DATE_FORMATS)


_STAMPS = (
    ("epoch_s", 1, 9, 10),
    ("epoch_ms", 1_000, 12, 13),
    ("epoch_us", 1_000_000, 15, 16),
    ("epoch_ns", 1_000_000_000, 18, 19),
)


def is_stamp(text: str) -> bool:
    """Say whether a number may be a time: seconds since 1970, days of a spreadsheet, a month.

    Examples
    --------
    >>> is_stamp("1672654380"), is_stamp("44928.4257"), is_stamp("202301"), is_stamp("1234")
    (True, True, True, False)
    """
    return stamp_of(text) is not None


def stamp_of(text: str) -> str | None:
    """Return the form that a number has where it is a time; None where it can be none."""
    if not re.fullmatch(r"\d{5,19}(\.\d*)?", text):
        return None
    whole = text.partition(".")[0]
    for form, per_second, least, most in _STAMPS:
        if least <= len(whole) <= most and 315_532_800 <= int(whole) / per_second < 4_102_444_800:
            return form
    if re.fullmatch(r"(19[789]|20\d)\d(0[1-9]|1[0-2])", text):
        return "%Y%m"
    return "excel_serial" if len(whole) == 5 and 25_569 <= int(whole) < 73_051 else None


def fits(text: str, codes: str) -> bool:
    """Say whether a text is a likely date in a format."""
    if _look_of(codes).fullmatch(text) is None:
        return False
    try:
        found = dt.datetime.strptime(text, codes)
    except ValueError:
        return False
    return 1970 <= found.year <= 2100


@functools.cache
def _look_of(codes: str) -> re.Pattern[str]:
    """Return what dates of a format look like: most of a hundred formats are out at a glance."""
    looks = {"Y": r"\d{4}", "f": r"\d{1,6}", "b": r"\w+", "B": r"\w+", "p": r"\w\w", "z": ".+"}
    parts = re.split("%(.)", codes)
    signs = (re.escape(part).replace(r"\ ", r"\s+") for part in parts[::2])
    found = [looks.get(code, r"\d\d?") for code in parts[1::2]]
    joined = itertools.chain(*itertools.zip_longest(signs, found, fillvalue=""))
    return re.compile("".join(joined), re.IGNORECASE)


def decide_dates(
    table: ir.Table,
    name: str,
    sample: Iterable[str],
    is_text: bool,
    evidence: list[str],
    doubts: list[str],
) -> tuple[str | None, bool]:
    """Decide the form of the times of a column on the whole file.

    Parameters
    ----------
    table : Ibis table
        The file as it is.
    name : str
        The column.
    sample : iterable of str
        Some of its values, as text.
    is_text : bool
        Whether the file holds text.
    evidence, doubts : list of str
        What was found is appended to them, a sentence each.

    Returns
    -------
    date_format : str or None
        None for ISO 8601 and for proper timestamps.
    needs_timezone : bool
        Whether times carry a zone.
    """
    value = table[name]
    if isinstance(value, (ir.TimestampValue, ir.DateValue)):
        aware = isinstance(value, ir.TimestampValue) and value.type().timezone is not None
        if aware:
            doubts.append(f"times of {name!r} carry a time zone: give the business's own")
        return None, aware
    text = value.cast("string").strip().nullif("")
    some = list(sample)
    # where forms are mixed the most frequent one is proposed, and the rest is named
    enough = 0.25 * len(some)
    screen = [codes for codes in DATE_FORMATS if sum(fits(v, codes) for v in some) >= enough]
    # the other order of day and month is counted too: its failures are the evidence
    screen += [other for other in map(_swapped, screen) if other in DATE_FORMATS]
    screen = list(dict.fromkeys(screen))
    iso = parse_timestamp(text)
    zoned = parse_timestamp(text, timezone="UTC")
    tried = {codes: parse_timestamp(text, codes) for codes in screen}
    counts: dict[str, int] = (
        table.aggregate(
            n=text.notnull().sum(),
            iso=iso.notnull().sum() if is_text else ibis.literal(0),
            zoned=zoned.notnull().sum() if is_text else ibis.literal(0),
            **{codes: read.notnull().sum() for codes, read in tried.items()},
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    n = counts.pop("n")
    n_iso, n_zoned = counts.pop("iso"), counts.pop("zoned")
    if n_zoned > n_iso and n_zoned >= max(counts.values(), default=0):
        doubts.append(f"times of {name!r} carry an offset from UTC: give the business's time zone")
        return None, True
    best = max([n_iso, *counts.values()])
    if n_iso == best:
        evidence.append(f"dates are ISO 8601: {n_iso:,} of {n:,} read so")
        codes = None
    else:
        winners = [codes for codes, count in counts.items() if count == best]
        codes = _choose_format(
            table, name, winners, {c: tried[c] for c in winners}, counts, n, evidence, doubts
        )
    if best < n:
        unread = iso.isnull() if codes is None else tried[codes].isnull()
        others = table.filter(text.notnull() & unread).select(value=text).distinct()
        some = others.order_by("value").limit(3).value.to_pyarrow().to_pylist()
        doubts.append(
            f"{n - best:,} of {n:,} values of {name!r} cannot be read as dates like the rest "
            f"({few(some)}): mend them, or leave them out by policies.unreadable: drop"
        )
    return codes, False


def _choose_format(
    table: ir.Table,
    name: str,
    winners: list[str],
    tried: Mapping[str, ir.TimestampValue],
    counts: Mapping[str, int],
    n: int,
    evidence: list[str],
    doubts: list[str],
) -> str:
    if len(winners) == 1:
        codes = winners[0]
        said = f"dates are {codes!r}: {counts[codes]:,} of {n:,} read so"
        losers = [other for other in counts if other != codes and _swapped(other) == codes]
        if losers:
            said += f", only {counts[losers[0]]:,} with day and month the other way round"
        evidence.append(said)
        return codes
    # every reading is possible: dates that were read rightly lie closest together
    spans = (
        table.aggregate(
            **{c: tried[c].max().epoch_seconds() - tried[c].min().epoch_seconds() for c in winners}
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    codes = min(winners, key=lambda c: (spans[c], winners.index(c)))
    others = " or ".join(repr(c) for c in winners if c != codes)
    doubts.append(
        f"dates of {name!r} are ambiguous: all read as {codes!r} and as {others}, since no day is "
        "above 12; the first is proposed"
        + (" because it spans fewer days" if len({*spans.values()}) > 1 else "")
    )
    return codes


def _swapped(codes: str) -> str:
    return codes.translate(str.maketrans("dm", "md"))
