"""Look at a file and propose how to read it: columns, dates, decimals, delimiter.

A proposal says what it understood, how sure it is, what else it could be, and writes itself as
the commented ``data:`` section of a configuration. Names give the first hint and values decide:
a column named *date* that holds no dates is not the timestamp.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from crmml.data import engine
from crmml.data.engine import parse_timestamp
from crmml.data.reading import Source, open_raw, parse_number
from crmml.data.schema import TRANSACTIONS
from crmml.exceptions import DataError, few

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "customer_id": (
        *("customerid", "customer", "custid", "cust", "custno", "customerno", "customernumber"),
        *(
            "customerkey",
            "clientid",
            "client",
            "householdid",
            "householdkey",
            "household",
            "userid",
        ),
        *("user", "memberid", "member", "buyerid", "buyer", "accountid", "contactid", "personid"),
        *("visitorid", "shopperid", "cardno", "loyaltyid", "kunde", "kundenid", "kundennr"),
        *("kundennummer", "kdnr", "clientnumber", "cliente", "idcliente", "idclient"),
        *("مشتری", "کدمشتری", "شناسهمشتری"),
    ),
    "timestamp": (
        *("timestamp", "date", "datetime", "ts", "time", "day", "invoicedate", "orderdate"),
        *("orderts", "ordertime", "ordertimestamp", "orderdatetime", "purchasedate", "purchasets"),
        *("transactiondate", "transactiontimestamp", "transactiontime", "trxdate", "txndate"),
        *("txnts", "saledate", "salesdate", "createdat", "orderedat", "purchasedat", "paidat"),
        *("datum", "bestelldatum", "rechnungsdatum", "buchungsdatum", "kaufdatum", "belegdatum"),
        *("fecha", "datecommande", "dateachat", "تاریخ", "تاریخسفارش"),
    ),
    "amount": (
        *("amount", "total", "totalprice", "totalamount", "revenue", "netrevenue", "sales"),
        *("salesvalue", "salesamount", "value", "ordervalue", "ordertotal", "linetotal"),
        *("lineamount", "spend", "netamount", "net", "dollarvalue", "extendedprice", "subtotal"),
        *("paid", "payment", "paymentvalue", "turnover", "betrag", "umsatz", "nettoumsatz"),
        *("nettobetrag", "summe", "gesamt", "gesamtpreis", "importe", "montant", "مبلغ", "فروش"),
    ),
    "unit_price": (
        *("unitprice", "price", "priceperunit", "itemprice", "einzelpreis", "stückpreis", "preis"),
        *("prixunitaire", "prix", "precio", "قیمت"),
    ),
    "quantity": (
        *("quantity", "qty", "units", "unitssold", "numberofcds", "pieces", "menge", "anzahl"),
        *("stück", "stückzahl", "cantidad", "quantité", "quantite", "تعداد"),
    ),
    "order_id": (
        *("orderid", "order", "orderno", "ordernumber", "invoice", "invoiceno", "invoiceid"),
        *("invoicenumber", "basketid", "basket", "receiptid", "receiptno", "receipt", "billno"),
        *("transactionid", "ticket", "ticketid", "rechnungsnummer", "rechnungsnr", "belegnummer"),
        *("belegnr", "bestellnummer", "bestellnr", "auftrag", "auftragsnummer", "شمارهسفارش"),
    ),
    "margin": (
        *("margin", "grossmargin", "profit", "grossprofit", "contribution", "marge"),
        *("deckungsbeitrag", "rohertrag", "gewinn", "سود"),
    ),
    "cost": ("cost", "cogs", "costofgoods", "costofgoodssold", "kosten", "wareneinsatz", "هزینه"),
    "category": (
        *("category", "productcategory", "productgroup", "department", "family", "commodity"),
        *("warengruppe", "kategorie", "produktgruppe", "sparte", "categoria", "catégorie"),
        *("دسته", "گروهکالا"),
    ),
    "seller": ("seller", "retailer", "merchant", "vendor", "händler", "verkäufer", "فروشنده"),
    "product_id": (
        *("productid", "product", "productcode", "sku", "stockcode", "itemid", "item", "articleid"),
        *("article", "upc", "ean", "gtin", "artikel", "artikelnr", "artikelnummer", "کالا"),
    ),
    "discount": (
        *("discount", "discountamount", "rebate", "couponvalue", "rabatt", "nachlass"),
        *("remise", "descuento", "تخفیف"),
    ),
    "channel": (
        "channel",
        "saleschannel",
        "kanal",
        "vertriebskanal",
        "vertriebsweg",
        "canal",
        "کانال",
    ),
    "currency": (
        "currency",
        "currencycode",
        "ccy",
        "währung",
        "waehrung",
        "devise",
        "moneda",
        "ارز",
    ),
}
"""Spellings of each column in the order of preference: lower case, letters and digits only."""

_NEEDS = {
    "timestamp": "date",
    "amount": "number",
    "unit_price": "number",
    "quantity": "number",
    "margin": "number",
    "cost": "number",
    "discount": "number",
}
"""What the values of a column must be."""

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

_SAMPLE = 10_000
_READS = 0.9
"""Share of the values of a column that must read as dates or numbers for it to count as such."""


@dataclass(frozen=True)
class Guess:
    """Which column of the file holds a column of the contract.

    Attributes
    ----------
    column : str
        Name in the file.
    confidence : float
        From 0 to 1: 1 is a usual name whose values fit; 0.5 or less is worth a look.
    alternatives : tuple of str
        Other columns that fit, best first.
    why : str
        The reason, in a few words.
    """

    column: str
    confidence: float
    alternatives: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Proposal:
    """How to read a file, as far as it could be understood.

    Attributes
    ----------
    path : Path
        The file.
    columns : mapping of str to Guess
        Name of the contract to the guess.
    missing : tuple of str
        Required columns for which nothing was found.
    unused : tuple of str
        Columns of the file that crmml does not read.
    delimiter, header, encoding
        Of a CSV file; ``delimiter`` is None for Parquet.
    date_format : str or None
        Codes of the timestamp; None for ISO 8601 and for proper timestamps.
    decimal : str
        Decimal sign of text amounts.
    currencies : tuple of str
        What the currency column holds, where there is one.
    needs_timezone : bool
        Whether times carry a zone, so that the business's own must be given.
    doubts : tuple of str
        What a human should look at, a sentence each.
    evidence : tuple of str
        What was understood and from what, a sentence each.
    sample : DataFrame
        The first rows, as they are in the file.
    """

    path: Path
    columns: Mapping[str, Guess]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    delimiter: str | None
    header: bool
    encoding: str
    date_format: str | None
    decimal: str
    currencies: tuple[str, ...]
    needs_timezone: bool
    doubts: tuple[str, ...]
    evidence: tuple[str, ...]
    sample: pd.DataFrame

    def to_source(self, timezone: str | None = None) -> Source:
        """Return the proposal as something that ``open_tables`` opens."""
        return Source(
            self.path,
            columns={name: guess.column for name, guess in self.columns.items()},
            delimiter=self.delimiter,
            header=self.header,
            encoding=self.encoding,
            date_format=self.date_format,
            decimal=self.decimal,
            timezone=timezone,
        )

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the commented ``data:`` section of a configuration.

        Parameters
        ----------
        path : str or Path, optional
            How to name the file in it; the path that was looked at by default.
        """
        width = max((len(name) for name in (*self.columns, *self.missing)), default=0) + 1
        lines = ["data:", "  transactions:", f"    path: {_quoted(str(path or self.path))}"]
        lines.append("    columns:  # our name: the column of the file")
        for name, guess in self.columns.items():
            note = f"{guess.confidence:.0%} sure: {guess.why}"
            if guess.alternatives:
                note += "; else " + ", ".join(guess.alternatives)
            lines.append(
                f"      {name + ':':<{width}} {_quoted(guess.column)}  # {_one_line(note)}"
            )
        for name in self.missing:
            lines.append(f"      # {name + ':':<{width}} required, but no column looks like it")
        for name in self.unused:
            lines.append(f"      # not read: {_one_line(name)}")
        if self.delimiter is not None:
            lines.append(f"    delimiter: {_quoted(self.delimiter)}")
            if not self.header:
                lines.append("    header: false  # the first line is data already")
            if self.encoding != "utf-8":
                lines.append(f"    encoding: {self.encoding}")
        form = "null  # ISO 8601, or timestamps already"
        lines.append(f"    date_format: {_quoted(self.date_format) if self.date_format else form}")
        lines.append(f"    decimal: {_quoted(self.decimal)}")
        zone = "the business's own, like Europe/Berlin; only where times carry a zone"
        lines.append(f"    timezone: null  # {'REQUIRED: ' if self.needs_timezone else ''}{zone}")
        lines += [f"  # look here: {_one_line(doubt)}" for doubt in self.doubts]
        lines += [
            "  customers: null  # a second table with one row per customer, if there is one",
            "  policies:",
            "    returns: net                    # negative amounts: net | drop | error",
            "    zero_amounts: keep_as_purchase  # keep_as_purchase | drop",
            "    missing_ids: drop               # drop | error",
            "    duplicates: keep                # keep | drop",
        ]
        return "\n".join(lines) + "\n"


def propose_mapping(path: str | Path) -> Proposal:
    """Look at a CSV, Parquet or DuckDB file and propose how to read it as ``transactions``.

    The first 10,000 rows show what each column is; date order and decimal sign are then decided
    on the whole file, because one day above 12 anywhere settles the question.

    Parameters
    ----------
    path : str or Path
        The file, or a folder of Parquet files.

    Returns
    -------
    Proposal
        The mapping, its evidence and its doubts.

    Raises
    ------
    SourceError, DataError
        If the file cannot be opened or holds no row.
    """
    path = Path(path).expanduser()
    form = _find_form(path) if _is_text(path) else _Form(None, True, "utf-8")
    source = Source(path, delimiter=form.delimiter, header=form.header, encoding=form.encoding)
    with engine.plain_errors(path):
        table = open_raw(source)
        sample = table.limit(_SAMPLE).to_pandas()
    if sample.empty:
        raise DataError("there must be at least one row; the file is empty", table="transactions")
    looks = {name: _look(sample[name]) for name in sample.columns}
    columns = _assign(looks)
    doubts: list[str] = []
    evidence: list[str] = []
    if form.delimiter is not None:
        shown = {"\t": "tab", " ": "space"}.get(form.delimiter, form.delimiter)
        evidence.append(f"columns are separated by {shown!r}, text is {form.encoding}")
        if not form.header:
            doubts.append("the first line looks like data, so columns are named by their place")
    if len(looks) == 1:
        doubts.append("there is only one column: if that is wrong, set the delimiter by hand")
    decimal = _decide_decimal(table, columns, looks, evidence, doubts)
    date_format, needs_timezone = None, False
    if "timestamp" in columns:
        name = columns["timestamp"].column
        date_format, needs_timezone = _decide_dates(table, sample[name], looks, evidence, doubts)
    currencies = _currencies(table, columns, doubts)
    if "unit_price" in columns:
        evidence.append("there is no amount: it will be unit price times quantity")
    missing = [name for name in TRANSACTIONS.required if name not in columns]
    if "unit_price" in columns:
        missing.remove("amount")
    doubts += [_misfit(name, sample, looks) for name in missing if _called(name, looks)]
    for name, guess in columns.items():
        if guess.confidence <= 0.5:
            doubts.append(f"{name} is a guess: column {guess.column!r} ({guess.why})")
    used = {guess.column for guess in columns.values()}
    return Proposal(
        path=path,
        columns=columns,
        missing=tuple(missing),
        unused=tuple(str(name) for name in sample.columns if name not in used),
        delimiter=form.delimiter,
        header=form.header,
        encoding=form.encoding,
        date_format=date_format,
        decimal=decimal,
        currencies=currencies,
        needs_timezone=needs_timezone,
        doubts=tuple(doubts),
        evidence=tuple(evidence),
        sample=sample.head(5),
    )


# --- the form of a text file -------------------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    delimiter: str | None
    header: bool
    encoding: str


def _is_text(path: Path) -> bool:
    binary = (".parquet", ".pq", ".duckdb", ".ddb", ".db")
    return path.is_file() and not path.name.lower().endswith(binary)


def _find_form(path: Path) -> _Form:
    if path.stat().st_size == 0:
        raise DataError("there must be at least one row; the file is empty", table="transactions")
    encoding = _find_encoding(path)
    delimiter = engine.find_delimiter(path, encoding)
    cells = engine.first_cells(path, delimiter, encoding)
    # names are distinct words; a number or a date among them is data
    header = len(set(cells)) == len(cells) and not any(_is_number(c) or _is_date(c) for c in cells)
    return _Form(delimiter, header, encoding)


def _find_encoding(path: Path) -> str:
    if path.suffix.lower() in (".gz", ".zst"):
        return "utf-8"
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a character may be cut at the end of the piece that was read
        if error.start < len(head) - 4:
            return "latin-1"
    return "utf-8"


# --- what a column looks like ------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """What the values of one column of the sample are."""

    is_text: bool
    dates: float
    numbers: float
    wholes: float
    distinct: float
    filled: float


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d[\d.,]*([eE][+-]?\d+)?\s*", text) is not None


def _is_date(text: str) -> bool:
    text = text.strip()
    if not re.search(r"\d", text) or len(text) < 6:
        return False
    if re.match(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d|$)", text):
        return True
    return any(_fits(text, codes) for codes in DATE_FORMATS)


def _fits(text: str, codes: str) -> bool:
    try:
        found = dt.datetime.strptime(text, codes)
    except ValueError:
        return False
    return 1970 <= found.year <= 2100


def _look(values: pd.Series[Any]) -> _Look:
    filled = values.dropna()
    n = max(len(filled), 1)
    kind = values.dtype
    distinct = filled.nunique() / n
    share = len(filled) / max(len(values), 1)
    if pd.api.types.is_datetime64_any_dtype(kind) or _all_instances(filled, (dt.date,)):
        return _Look(False, 1.0, 0.0, 0.0, distinct, share)
    if pd.api.types.is_bool_dtype(kind):
        return _Look(False, 0.0, 0.0, 0.0, distinct, share)
    if pd.api.types.is_numeric_dtype(kind) or not _all_instances(filled, (str,)):
        numbers = pd.to_numeric(filled, errors="coerce")
        days = float(numbers.between(19_700_101, 21_000_101).mean()) if len(filled) else 0.0
        whole = float((numbers % 1 == 0).mean()) if len(filled) else 0.0
        dates = days if whole == 1 and all(map(_is_date, map(_cell, numbers.head(50)))) else 0.0
        return _Look(False, dates, 1.0, whole, distinct, share)
    few = [str(value) for value in filled.drop_duplicates().head(300)]
    if not few:
        return _Look(True, 0.0, 0.0, 0.0, distinct, share)
    return _Look(
        True,
        sum(map(_is_date, few)) / len(few),
        sum(map(_is_number, few)) / len(few),
        sum(text.strip().lstrip("+-").isdigit() for text in few) / len(few),
        distinct,
        share,
    )


def _cell(value: object) -> str:
    """Write a cell as the engine does when it turns it into text."""
    return str(int(value)) if isinstance(value, (float, np.number)) else str(value).strip()


def _all_instances(values: pd.Series[Any], kinds: tuple[type, ...]) -> bool:
    return len(values) > 0 and all(isinstance(value, kinds) for value in values.head(200))


# --- which column is which ---------------------------------------------------------------------


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return set(re.sub(r"[\W_]+", " ", spaced.lower()).split())


def _by_name(name: str, canonical: str) -> tuple[float, str]:
    """Score a name: 1 for the first usual spelling, a little less for later ones."""
    spellings = SPELLINGS[canonical]
    plain = _plain(name)
    if plain == _plain(canonical):
        return 1.0, "the name itself"
    if plain in spellings:
        return 0.95 - 0.1 * spellings.index(plain) / len(spellings), "a usual name"
    hits = [word for word in spellings if word in _words(name)]
    if hits:
        return 0.6, f"its name holds {hits[0]!r}"
    return 0.0, ""


def _fits_values(canonical: str, look: _Look) -> bool:
    need = _NEEDS.get(canonical)
    if need == "date":
        return look.dates >= _READS
    if need == "number":
        return look.numbers >= _READS and look.dates < _READS
    return canonical != "customer_id" or look.dates < _READS


def _assign(looks: Mapping[str, _Look]) -> dict[str, Guess]:
    scored: dict[str, list[tuple[float, str, str]]] = {}
    for canonical in SPELLINGS:
        found = []
        for column, look in looks.items():
            score, why = _by_name(str(column), canonical)
            if score and look.filled and _fits_values(canonical, look):
                found.append((score, str(column), why))
        scored[canonical] = sorted(found, key=lambda item: -item[0])
    taken: set[str] = set()
    chosen: dict[str, Guess] = {}
    # the surest names first, so that a weak hint never takes a column from a strong one
    order = sorted(
        (
            (score, canonical, column, why)
            for canonical, found in scored.items()
            for score, column, why in found
        ),
        key=lambda item: -item[0],
    )
    for score, canonical, column, why in order:
        if canonical not in chosen and column not in taken:
            others = tuple(other for _, other, _ in scored[canonical] if other != column)
            chosen[canonical] = Guess(column, round(score, 2), others, why)
            taken.add(column)
    _settle_amount(chosen, taken)
    _guess_by_values(chosen, taken, looks)
    return {name: chosen[name] for name in SPELLINGS if name in chosen}


def _called(canonical: str, looks: Mapping[str, _Look]) -> str | None:
    """Return the first column that bears a usual name of a column, whatever it holds."""
    return next((str(c) for c in looks if _by_name(str(c), canonical)[0] > 0.8), None)


def _misfit(canonical: str, sample: pd.DataFrame, looks: Mapping[str, _Look]) -> str:
    column = _called(canonical, looks)
    shown = few(map(str, sample[column].dropna().drop_duplicates()), 3)
    held = f"holds {shown}" if shown else "is empty"
    return f"column {column!r} is called like {canonical}, but {held}"


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
        chosen["amount"] = Guess(price.column, 0.5, (), "a price, and there is no quantity")


def _guess_by_values(chosen: dict[str, Guess], taken: set[str], looks: Mapping[str, _Look]) -> None:
    """Where names say nothing, let the values speak, with low confidence."""

    def pick(canonical: str, columns: Iterable[str], why: str) -> None:
        free = [column for column in columns if column not in taken]
        if canonical not in chosen and free:
            chosen[canonical] = Guess(free[0], 0.4, tuple(free[1:]), why)
            taken.add(free[0])

    names = list(looks)
    pick("timestamp", (c for c in names if looks[c].dates >= _READS), "it holds dates")
    if "unit_price" not in chosen:
        numbers = [c for c in names if _fits_values("amount", looks[c]) and looks[c].wholes < 1]
        pick("amount", sorted(numbers, key=lambda c: looks[c].wholes), "it holds broken numbers")
    if not any(guess.why == "the name itself" for guess in chosen.values()):
        ids = [
            c
            for c in names
            if looks[c].dates < _READS
            and looks[c].wholes in (0.0, 1.0)
            and (looks[c].wholes == 1 or looks[c].numbers < _READS)
        ]
        pick(
            "customer_id",
            sorted(ids, key=lambda c: -looks[c].distinct),
            "it tells many apart, and repeats",
        )


# --- decimals, dates, currencies, on the whole file --------------------------------------------


def _decide_decimal(
    table: ir.Table,
    columns: Mapping[str, Guess],
    looks: Mapping[str, _Look],
    evidence: list[str],
    doubts: list[str],
) -> str:
    name = next((columns[c].column for c in ("amount", "unit_price") if c in columns), None)
    if name is None or not looks[name].is_text:
        return "."
    text = table[name].strip().nullif("")
    marks = {".": parse_number(text, "."), ",": parse_number(text, ",")}
    point, comma, n, both = (
        table.aggregate(
            point=marks["."].notnull().sum(),
            comma=marks[","].notnull().sum(),
            n=text.notnull().sum(),
            both=(marks["."].notnull() & (marks["."] != marks[","])).sum(),
        )
        .to_pyarrow()
        .to_pylist()[0]
        .values()
    )
    decimal = "," if comma > point else "."
    best = max(point, comma)
    if point == comma and both:
        doubts.append(
            f"{name!r} reads with '.' and with ',' as the decimal sign ({both:,} values differ); "
            "'.' is proposed"
        )
    elif point != comma:
        evidence.append(f"the decimal sign is {decimal!r}: {best:,} of {n:,} amounts read with it")
    if best < n:
        doubts.append(f"{n - best:,} of {n:,} values of {name!r} cannot be read as numbers")
    return decimal


def _decide_dates(
    table: ir.Table,
    sample: pd.Series[Any],
    looks: Mapping[str, _Look],
    evidence: list[str],
    doubts: list[str],
) -> tuple[str | None, bool]:
    name = str(sample.name)
    value = table[name]
    if isinstance(value, (ir.TimestampValue, ir.DateValue)):
        aware = isinstance(value, ir.TimestampValue) and value.type().timezone is not None
        if aware:
            doubts.append(f"times of {name!r} carry a time zone: give the business's own")
        return None, aware
    text = value.cast("string").strip().nullif("")
    some = [_cell(value) for value in sample.dropna().drop_duplicates().head(500)]
    enough = _READS * len(some)
    screen = [codes for codes in DATE_FORMATS if sum(_fits(v, codes) for v in some) >= enough]
    # the other order of day and month is counted too: its failures are the evidence
    screen += [other for other in map(_swapped, screen) if other in DATE_FORMATS]
    screen = list(dict.fromkeys(screen))
    iso = parse_timestamp(text)
    zoned = parse_timestamp(text, timezone="UTC")
    tried = {codes: parse_timestamp(text, codes) for codes in screen}
    counts: dict[str, int] = (
        table.aggregate(
            n=text.notnull().sum(),
            iso=iso.notnull().sum() if looks[name].is_text else ibis.literal(0),
            zoned=zoned.notnull().sum() if looks[name].is_text else ibis.literal(0),
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
        doubts.append(f"{n - best:,} of {n:,} values of {name!r} cannot be read as dates")
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


def _currencies(
    table: ir.Table, columns: Mapping[str, Guess], doubts: list[str]
) -> tuple[str, ...]:
    if "currency" not in columns:
        return ()
    code = table[columns["currency"].column].cast("string").strip().upper().nullif("")
    found = code.name("code").as_table().distinct().order_by("code").limit(20).code.execute()
    known = tuple(str(value) for value in found if isinstance(value, str))
    if len(known) > 1:
        doubts.append(f"there is more than one currency ({', '.join(known)}): a run takes one")
    return known


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
