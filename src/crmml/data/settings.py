"""The settings of the doors: how a table is read, and what to do with rows that need a decision.

This module stands by itself, without engine or data frames, so that reading a configuration stays
light.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from crmml.exceptions import ParameterError


@dataclass(frozen=True)
class Policies:
    """What to do with rows that need a decision.

    Attributes
    ----------
    returns : {"net", "drop", "error"}
        Negative amounts: net them against spend, leave them out, or refuse the data.
    zero_amounts : {"keep_as_purchase", "drop"}
        Lines of amount zero: purchases that cost nothing, or nothing at all.
    missing_ids : {"drop", "error"}
        Rows that belong to no customer. (In a table of one row per customer they are always an
        error.)
    duplicates : {"keep", "drop"}
        Further lines of the same customer, time, order, product (the last two where known) and
        amount; in other tables, further rows that are equal throughout. ``drop`` leaves one of
        each.
    unreadable : {"error", "drop"}
        Rows whose required values are missing, cannot be read or are not finite, and rows that
        break a rule of their table. (With ``drop`` an unreadable value of an optional column
        becomes null and its row stays.)
    unlikely_dates : {"error", "drop", "keep"}
        Rows dated before 1970-01-02 or from 2100 on, and in a log the few that lie far from all
        others: place-holders of some system, or slips of the pen
        (:mod:`crmml.data.outlying`).
    test_customers : tuple of int or str
        Ids that are not customers (test accounts, the till itself); their rows are left out. An
        id may be given as its hash (:func:`conceal`), as a stored bundle does.

    Examples
    --------
    >>> Policies(returns="drop").returns
    'drop'
    >>> Policies(returns="ignore")
    Traceback (most recent call last):
        ...
    crmml.exceptions.ParameterError: policy returns must be one of 'net', 'drop', 'error'; got
    'ignore'
    """

    returns: Literal["net", "drop", "error"] = "net"
    zero_amounts: Literal["keep_as_purchase", "drop"] = "keep_as_purchase"
    missing_ids: Literal["drop", "error"] = "drop"
    duplicates: Literal["keep", "drop"] = "keep"
    unreadable: Literal["error", "drop"] = "error"
    unlikely_dates: Literal["error", "drop", "keep"] = "error"
    test_customers: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            choices, got = get_args(hints[field.name]), getattr(self, field.name)
            if field.name == "test_customers":
                object.__setattr__(self, field.name, tuple(got))
            elif got not in choices:
                rule = "one of " + ", ".join(map(repr, choices))
                raise ParameterError(f"policy {field.name}", rule, got)


CONCEALED = "sha256:"
"""Prefix of an id that is given as its hash."""


def conceal(ids: Iterable[int | str]) -> tuple[str, ...]:
    """Hash ids, so that they can be stored where no id may lie; hashes stay as they are.

    Parameters
    ----------
    ids : iterable of int or str
        A number and the text of its digits give the same hash.

    Returns
    -------
    tuple of str
        ``sha256:`` and 32 hexadecimal digits each, sorted.

    Examples
    --------
    >>> conceal([7]) == conceal(["7"]) == conceal(conceal([7]))
    True
    """
    texts = [str(one) for one in ids]
    known = [text for text in texts if text.startswith(CONCEALED)]
    plain = [text for text in texts if not text.startswith(CONCEALED)]
    return tuple(sorted({*known, *map(concealed, plain)}))


def concealed(text: str) -> str:
    """Hash one id; see :func:`conceal`."""
    return CONCEALED + hashlib.sha256(f"crmml customer {text}".encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadSettings:
    """How to read a table, wherever it lies.

    Attributes
    ----------
    table : str, optional
        The table of a DuckDB or SQLite file, the sheet of a workbook or the member of an archive,
        where the path does not name it.
    columns : mapping, optional
        Name of the contract to name in the source. Columns that bear the name of the contract
        need no entry; None leaves a column out. For ``transactions``, ``unit_price`` (with
        ``quantity``) may stand in for ``amount``, and ``less_tax``, ``less_shipping``,
        ``less_discount``, ``less_discount_share`` and ``less_refunded`` name columns that are
        taken off it (:mod:`crmml.data.money`). ``time_of_day`` names a column that holds the
        clock of the time of the table, where that stands in a column of its own.
    delimiter : str, optional
        Of a text file; found out by default, and with it the lines above and below the data.
    header : bool
        Whether a text file begins with the names; without, they are ``column0``, ``column1``...
    encoding : str
        Of a text file, as Python calls it: ``utf-8``, ``utf-16``, ``cp1252``, ``shift_jis``...
    skip_above, skip_below : int
        Lines (of a sheet: rows) above the names and below the data.
    widths : tuple of int
        Of text of fixed width: where each column begins, counted from 0.
    date_format : str, optional
        How times are written that are text or numbers; ISO 8601 by default. Codes of ``strptime``;
        or ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``epoch_ns`` (since 1970, UTC),
        ``excel_serial`` (days of a spreadsheet), ``quarter`` (2023-Q1), ``iso_week``
        (2024-W05-3, 2024-W05); or ``jalali:`` or ``buddhist:`` before the codes of a date in
        these calendars.
    decimal : {".", ","}
        Decimal sign of amounts that are text. The other one may group thousands.
    currency_signs : tuple of str
        Signs and codes that stand in the cells of amounts, like ``$`` or ``EUR``. Where no column
        holds the currency, they are the currency of their row.
    rates : mapping of str to float, optional
        What one unit of each currency is worth in the one that is wanted (whose rate is 1);
        amounts are converted by it.
    timezone : str, optional
        The business's time zone (``"Europe/Berlin"``), needed where times carry a zone.
    keep : mapping of str to list, optional
        Column of the source to the values whose rows count, like ``{"status": ["paid"]}``. Rows
        with another value are left out and counted in the report; ``""`` stands for no value.
    without_amounts : bool
        Whether the log holds purchases without amounts: a day on which a customer has a row is
        one purchase. Money is then not known, and null in what is scored.
    amount_per_purchase : float, optional
        What each of these purchases is worth, currency; money then rests on it.
    """

    table: str | None = None
    columns: Mapping[str, str | None] | None = None
    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    skip_above: int = 0
    skip_below: int = 0
    widths: tuple[int, ...] = ()
    date_format: str | None = None
    decimal: str = "."
    currency_signs: tuple[str, ...] = ()
    rates: Mapping[str, float] | None = None
    timezone: str | None = None
    keep: Mapping[str, Sequence[str | int | bool]] | None = None
    without_amounts: bool = False
    amount_per_purchase: float | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (".", ","):
            raise ParameterError("decimal", "'.' or ','", self.decimal)
        self._check_text()
        worth = self.amount_per_purchase
        if worth is not None and not (self.without_amounts and 0 < worth < 1e12):
            rule = "positive, and given only where a log is without_amounts"
            raise ParameterError("amount_per_purchase", rule, worth)
        for code, rate in (self.rates or {}).items():
            if not 0 < rate < float("inf"):
                raise ParameterError(f"the rate of {code}", "a positive number", rate)
        if self.rates and 1 not in self.rates.values():
            rule = "1 for the currency that is wanted"
            raise ParameterError("one of the rates", rule, dict(self.rates))
        if self.timezone is not None:
            try:
                zoneinfo.ZoneInfo(self.timezone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                rule = "a time zone of the IANA list, like 'Europe/Berlin'"
                raise ParameterError("timezone", rule, self.timezone) from None

    def written(self) -> dict[str, Any]:
        """Return what differs from the defaults, as plain JSON values.

        Examples
        --------
        >>> ReadSettings(columns={"amount": "Betrag"}, decimal=",").written()
        {'columns': {'amount': 'Betrag'}, 'decimal': ','}
        """
        plain: dict[str, Any] = {}
        for field in fields(ReadSettings):
            value = getattr(self, field.name)
            if value != field.default:
                plain[field.name] = json.loads(json.dumps(value, default=_listed))
        return plain

    def _check_text(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            rule = "an encoding that Python knows, like 'utf-8' or 'cp1252'"
            raise ParameterError("encoding", rule, self.encoding) from None
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ParameterError("delimiter", "one character", self.delimiter)
        for name in ("skip_above", "skip_below"):
            if getattr(self, name) < 0:
                raise ParameterError(name, "0 or a number of lines", getattr(self, name))
        starts = tuple(self.widths)
        if any(a >= b for a, b in zip((-1, *starts), starts, strict=False)):
            rule = "rising places from 0 at which columns begin"
            raise ParameterError("widths", rule, list(self.widths))
        for sign in self.currency_signs:
            if not sign.strip() or any(c.isdigit() or c in ".,-+()'" for c in sign):
                raise ParameterError("currency_signs", "signs or codes without digits", sign)


def _listed(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)
