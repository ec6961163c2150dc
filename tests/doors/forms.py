"""What a file is: language, encoding, delimiter, packing, format, forms of times and amounts."""

from __future__ import annotations

import bz2
import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
from openpyxl import Workbook

from doors.cases import seconds
from doors.truth import (
    ARABIC,
    ENGLISH_DAYS,
    FULL_WIDTH,
    GERMAN_MONTHS,
    MINUTE,
    MONTH,
    PERSIAN,
    ROWS,
    Door,
    Row,
    Truth,
    flip,
    jalali,
    lakh,
    money,
    text,
    truth,
)

RETURNS = flip(ROWS, lambda r: r.i % 12 == 0)
PLAIN = text("customer,date,amount", lambda r: f"K{r.who:03},{r.day},{r.amount}")


def told(
    name: str,
    names: str,
    line: Callable[[Row], str],
    encoding: str = "utf-8",
    *,
    rows: list[Row] = ROWS,
    right: Truth | None = None,
    ask: tuple[str, ...] = (),
    end: str = "\n",
) -> Door:
    """Make a door of a line of names and a line for each row."""
    written = text(names, line, rows, end).encode(encoding)
    return Door(name, written, right or truth(rows), ask)


LANGUAGES = [
    told(
        "language/german.csv",
        "Kundennummer;Bestelldatum;Artikel;Nettobetrag",
        lambda r: f"{r.who:05};{r.when:%d.%m.%Y};Schlüssel;{money(r.cents, '.', ',')}",
        "cp1252",
    ),
    told(
        "language/french.csv",
        "N° client;Date de commande;Référence;Montant HT",
        lambda r: f"C{r.who};{r.when:%d/%m/%Y};Théière;{money(r.cents, ' ', ',')}",
        "utf-8-sig",
    ),
    told(
        "language/french_narrow_blank.csv",
        "N° client;Date de commande;Montant HT",
        lambda r: f"C{r.who};{r.when:%d/%m/%Y};{money(r.cents, chr(0x202F), ',')} €",
    ),
    told(
        "language/spanish.csv",
        "Código de cliente;Fecha de compra;Importe",
        lambda r: f"C{r.who};{r.when:%d/%m/%Y};{money(r.cents, '.', ',')}",
        "latin-1",
    ),
    told(
        "language/italian.csv",
        "Codice cliente;Data ordine;Descrizione;Importo",
        lambda r: f"C{r.who};{r.when:%d/%m/%Y};caffè;{money(r.cents, '.', ',')}",
        "cp1252",
    ),
    told(
        "language/portuguese.csv",
        "Código do cliente;Data da compra;Valor total",
        lambda r: f"C{r.who};{r.when:%d/%m/%Y};R$ {money(r.cents, '.', ',')}",
    ),
    told(
        "language/dutch.csv",
        "Klantnummer;Besteldatum;Bedrag",
        lambda r: f"{r.who};{r.when:%d-%m-%Y};€ {money(r.cents, '.', ',')}",
        "cp1252",
    ),
    told(
        "language/turkish.csv",
        "Müşteri No;Sipariş Tarihi;Tutar",
        lambda r: f"M{r.who};{r.when:%d.%m.%Y};{money(r.cents, '.', ',')} TL",
        "cp1254",
    ),
    told(
        "language/polish.csv",
        "Numer klienta;Data zamówienia;Kwota",
        lambda r: f"K{r.who};{r.day};{money(r.cents, ' ', ',')} zł",
        "cp1250",
    ),
    told(
        "language/russian.csv",
        "Код клиента;Дата покупки;Сумма",
        lambda r: f"К{r.who};{r.when:%d.%m.%Y};{money(r.cents, ' ', ',')}",
        "cp1251",
    ),
    told(
        "language/russian_koi8.csv",
        "Код клиента;Дата покупки;Сумма",
        lambda r: f"К{r.who};{r.when:%d.%m.%Y};{r.comma}",
        "koi8-r",
    ),
    told(
        "language/japanese.csv",
        "顧客番号,購入日,合計金額",
        lambda r: f"{r.who:04},{r.when.year}年{r.when.month}月{r.when.day}日,{r.amount}",
        "shift-jis",
    ),
    told(
        "language/japanese_yen.csv",
        "会員番号,購入日,金額",
        lambda r: f'{r.who:04},{r.when:%Y/%m/%d},"¥{r.cents:,}"',
        right=replace(truth(), cents=100 * truth().cents),
    ),
    told(
        "language/chinese_gbk.csv",
        "会员卡号,下单时间,实付金额",
        lambda r: f"{r.who:06},{r.when:%Y-%m-%d %H:%M:%S},{r.amount}",
        "gbk",
        right=truth(grain=MINUTE),
    ),
    told(
        "language/chinese_words.csv",
        "客户编号,交易日期,金额",
        lambda r: f"{r.who:06},{r.when.year}年{r.when.month}月{r.when.day}日,{r.amount}元",
    ),
    told(
        "language/arabic_1256.csv",
        "رقم العميل;تاريخ الشراء;المبلغ",
        lambda r: f"{r.who:04};{r.when:%d/%m/%Y};{r.amount}",
        "cp1256",
    ),
    told(
        "language/arabic_digits.csv",
        "رقم العميل,تاريخ الشراء,المبلغ",
        lambda r: f"{r.who:04},{r.when:%d/%m/%Y},{money(r.cents, '', '٫')}".translate(ARABIC),
    ),
    told(
        "language/persian_toman.csv",
        "شناسه مشتری,تاریخ سفارش,مبلغ کل",
        lambda r: (
            f"{r.who},{jalali(r.when.date())},{money(r.cents * 100, '٬')[:-3]} تومان".translate(
                PERSIAN
            )
        ),
        right=replace(truth(), cents=100 * truth().cents),
    ),
    told(
        "language/thai.csv",
        "customer,date,amount",
        lambda r: f"{r.who},{r.when:%d/%m}/{r.when.year + 543},{r.amount}",
    ),
    told(
        "language/full_width.csv",
        "顧客ID,購入日,金額",
        lambda r: f"{r.who:04},{r.when:%Y/%m/%d},{r.amount}".translate(FULL_WIDTH),
    ),
    told(
        "language/swiss.csv",
        "Kunde;Datum;Betrag CHF",
        lambda r: f"{r.who};{r.when:%d.%m.%Y};{money(r.cents, chr(39))}",
    ),
    told(
        "language/indian.csv",
        "Customer ID,Invoice Date,Amount (INR)",
        lambda r: f'{r.who},{r.when:%d-%m-%Y},"₹{lakh(r.cents * 100)}"',
        right=replace(truth(), cents=100 * truth().cents),
    ),
]

ENCODINGS = [
    Door("encoding/utf_16.txt", PLAIN.replace(",", "\t").encode("utf-16"), truth()),
    Door("encoding/utf_16_be.csv", b"\xfe\xff" + PLAIN.encode("utf-16-be"), truth()),
    Door("encoding/utf_8_mark.csv", PLAIN.encode("utf-8-sig"), truth()),
    told("encoding/mac_roman.csv", "Kunde;Datum;Stück;Betrag",
         lambda r: f"Müller {r.who};{r.when:%d.%m.%Y};1;{r.comma}", "mac_roman", end="\r"),
    told("encoding/dos.csv", "Kunde;Datum;Artikel;Betrag",
         lambda r: f"K{r.who};{r.when:%d.%m.%Y};Käse;{r.comma}", "cp850", end="\r\n"),
    told("encoding/late_umlaut.csv", "Kunde;Datum;Ort;Betrag",
         lambda r: f"K{r.who};{r.when:%d.%m.%Y};{'Köln' if r.i > 180 else 'Ulm'};{r.comma}",
         "cp1252"),
]  # fmt: skip

LINES = [
    Door("lines/crlf.csv", PLAIN.replace("\n", "\r\n"), truth()),
    Door("lines/cr.csv", PLAIN.replace("\n", "\r"), truth()),
    Door("lines/mixed.csv", PLAIN.replace("\n", "\r\n", 90), truth()),
    Door("lines/no_last_end.csv", PLAIN.rstrip("\n"), truth()),
    Door("lines/blank_between.csv", PLAIN.replace("\n", "\n\n"), truth()),
    Door("lines/empty_rows_below.csv", PLAIN + ",,\n" * 12, truth()),
    Door("lines/tab.tsv", PLAIN.replace(",", "\t"), truth()),
    Door("lines/pipe.txt", PLAIN.replace(",", "|"), truth()),
    Door("lines/tabs_named_csv.csv", PLAIN.replace(",", "\t"), truth()),
    told("lines/all_quoted.csv", '"customer";"date";"amount"',
         lambda r: f'"K{r.who}";"{r.when:%d.%m.%Y}";"{r.comma}"'),
    told("lines/blanks_after_commas.csv", "customer, date, amount",
         lambda r: f"K{r.who}, {r.day}, {r.amount}"),
    told("lines/notes_with_line_ends.csv", "customer,date,note,amount",
         lambda r: f'K{r.who},{r.day},"said ""yes"",\nthen paid",{r.amount}'),
    told("lines/delimiter_at_the_end.csv", "customer;date;amount;",
         lambda r: f"K{r.who};{r.day};{r.amount};"),
    told("lines/no_header.csv", "K001,2023-01-09,5.00",
         lambda r: f"K{r.who:03},{r.day},{r.amount}",
         right=replace(truth(), rows=191, cents=truth().cents + 500)),
    told("lines/fixed_width.txt", " 00001 20230110  1    5.00",
         lambda r: f" {r.who:05} {r.when:%Y%m%d}  1 {r.amount:>7}",
         right=replace(truth(), rows=191, cents=truth().cents + 500), ask=("first line",)),
    told("lines/fixed_width_names.txt",
         f"{'Customer':<12}{'Date':<14}{'Product':<16}{'Amount':>10}",
         lambda r: f"{r.who:<12}{r.day:<14}{'Tea pot' if r.i % 2 else 'Cup':<16}{r.amount:>10}"),
    Door("lines/ragged.csv",
         PLAIN.replace(f"\nK{ROWS[50].who:03},", f"\nK{ROWS[50].who:03},extra,cell,", 1),
         ask=("line|cells|columns",), refuse="line|cells"),
    Door("lines/names_again.csv", PLAIN + PLAIN, replace(truth([*ROWS, *ROWS])),
         ask=("amount|date",)),
    Door("lines/one_name_twice.csv",
         text("customer,date,amount,amount", lambda r: f"K{r.who},{r.day},{r.amount},{r.cents}"),
         ask=("twice|of one name|of the same name",), refuse="twice|unique|same name|one name"),
]  # fmt: skip


def packed(path: Path) -> None:
    """Put the log into a ZIP file."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("export/orders.csv", PLAIN)


def packed_twice(path: Path) -> None:
    """Put two logs into a ZIP file."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("2022.csv", PLAIN)
        file.writestr("2023.csv", PLAIN)


def packed_zstd(path: Path) -> None:
    """Compress the log by Zstandard."""
    with pa.output_stream(str(path), compression="zstd") as file:
        file.write(PLAIN.encode())


PACKING = [
    Door("packing/shop.csv.gz", gzip.compress(PLAIN.encode()), truth()),
    Door("packing/named_csv.csv", gzip.compress(PLAIN.encode()), truth(),
         refuse="(?i)gzip|compress"),
    Door("packing/shop.csv.zst", packed_zstd, truth()),
    Door("packing/shop.csv.bz2", bz2.compress(PLAIN.encode()), truth(),
         refuse="(?i)bz2|bzip2|its name must end"),
    Door("packing/shop.zip", packed, truth()),
    Door("packing/two_files.zip", packed_twice, ask=("2022.csv",), refuse="2022.csv.*2023.csv"),
    Door("packing/shop.csv.zip", packed, truth()),
]  # fmt: skip


def frame() -> pd.DataFrame:
    """Return the log as a data frame with proper types."""
    return pd.DataFrame({
        "order_no": [f"B{row.i}" for row in ROWS],
        "customer_id": [f"{row.who:05}" for row in ROWS],
        "order_date": pd.to_datetime([row.when for row in ROWS]),
        "total": [row.cents / 100 for row in ROWS],
    })  # fmt: skip


def workbook(path: Path, above: int = 0, *, serial: bool = False, several: bool = True) -> None:
    """Write a workbook: the log, among sheets of notes and of products."""
    book = Workbook()
    first = book.active
    if several:
        first.title = "Read me"
        first.append(["This export was made for the meeting of the board."])
        prices = book.create_sheet("Products")
        prices.append(["sku", "name", "price"])
        for i in range(40):
            prices.append([f"A{i}", f"product {i}", 1.5 * i])
        first = book.create_sheet("Orders 2023")
    for _ in range(above):
        first.append(["Orders 2023"])
    first.append(["Order", "Customer", "Date", "Amount"])
    for row in ROWS:
        day = row.when.date()
        when = (day - type(day)(1899, 12, 30)).days if serial else row.when
        first.append([row.i, f"{row.who:05}", when, row.cents / 100])
    book.save(path)


def sqlite(path: Path, *, several: bool = False) -> None:
    """Write a SQLite file."""
    with closing(sqlite3.connect(path)) as con, con:
        con.execute(
            "CREATE TABLE orders (order_no INT, customer TEXT, ordered_at TEXT, total REAL)"
        )
        con.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [(r.i, f"{r.who:05}", f"{r.when:%Y-%m-%d %H:%M:%S}", r.cents / 100) for r in ROWS],
        )
        if several:
            con.execute("CREATE TABLE products (sku TEXT, price REAL)")
            con.execute("INSERT INTO products VALUES ('A1', 2.5)")


def duck(path: Path, *, several: bool = False) -> None:
    """Write a DuckDB file."""
    con = duckdb.connect(str(path))
    orders = frame()  # noqa: F841
    con.execute("CREATE TABLE orders AS SELECT * FROM orders")
    if several:
        con.execute("CREATE TABLE products AS SELECT 'A1' AS sku, 2.5 AS price")
    con.close()


def parts(path: Path) -> None:
    """Write a folder of Parquet files."""
    path.mkdir()
    for month, part in frame().groupby(frame()["order_date"].dt.month):
        part.to_parquet(path / f"{month}.parquet", index=False)


def zoned_parquet(path: Path) -> None:
    """Write a Parquet file with times in a zone."""
    lines = frame()
    lines["order_date"] = lines["order_date"].dt.tz_localize("Europe/Berlin")
    lines.to_parquet(path, index=False)


def objects(path: Path) -> None:
    """Write a JSON array."""
    path.write_text(frame().to_json(orient="records", date_format="iso", indent=1), "utf-8")


def wrapped(path: Path) -> None:
    """Write a JSON object that holds the array."""
    held = json.loads(frame().to_json(orient="records", date_format="iso"))
    path.write_text(json.dumps({"count": len(held), "orders": held}), "utf-8")


def nested(path: Path) -> None:
    """Write JSON lines with the customer inside an object."""
    lines = [{"id": r.i, "created_at": f"{r.when:%Y-%m-%dT%H:%M:%S}", "total_price": r.amount,
              "customer": {"id": r.who, "city": "Ulm"}} for r in ROWS]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")


FORMATS = [
    Door("format/several_sheets.xlsx", workbook, truth(grain=MINUTE), refuse="Orders 2023",
         ask=("sheet",)),
    Door("format/one_sheet.xlsx", lambda p: workbook(p, several=False), truth(grain=MINUTE)),
    Door("format/titles_above.xlsx", lambda p: workbook(p, 3, several=False), truth(grain=MINUTE)),
    Door("format/serials.xlsx", lambda p: workbook(p, serial=True, several=False), truth()),
    Door("format/named_csv.csv", lambda p: workbook(p.with_suffix(".xlsx"), several=False) or
         p.with_suffix(".xlsx").rename(p), truth(grain=MINUTE), refuse="(?i)excel|workbook"),
    Door("format/csv_named.xlsx", PLAIN, truth(), refuse="no workbook"),
    Door("format/web_page.xls", "<html><body><table><tr><td>customer</td><td>date</td></tr>"
         "<tr><td>1</td><td>2023-01-02</td></tr></table></body></html>",
         refuse="(?i)html|no workbook"),
    Door("format/array.json", objects, truth(grain=MINUTE)),
    Door("format/wrapped.json", wrapped, truth(grain=MINUTE), refuse="'orders'|array|list"),
    Door("format/nested.jsonl", nested, truth(grain=MINUTE), ask=("customer",)),
    Door("format/shop.parquet", lambda p: frame().to_parquet(p, index=False), truth(grain=MINUTE)),
    Door("format/zoned.parquet", zoned_parquet, truth(grain=MINUTE), ask=("time zone",),
         answer=("data.transactions.timezone=Europe/Berlin",)),
    Door("format/by_month", parts, truth(grain=MINUTE)),
    Door("format/sqlite.db", sqlite, truth(grain=MINUTE)),
    Door("format/sqlite_two_tables.db", lambda p: sqlite(p, several=True), truth(grain=MINUTE),
         refuse="orders, products"),
    Door("format/shop.duckdb", duck, truth(grain=MINUTE)),
    Door("format/two_tables.duckdb", lambda p: duck(p, several=True), truth(grain=MINUTE),
         refuse="orders.*products"),
    Door("format/report.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj\n",
         refuse="its name must end|PDF"),
    Door("format/picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00" * 20,
         refuse="(?i)no text|picture|PNG|binary|not.*text"),
]  # fmt: skip


def german_day(row: Row) -> str:
    """Write a day as in a German letter."""
    return f"{row.when.day}. {GERMAN_MONTHS[row.when.month - 1]} {row.when.year}"


def dated(
    name: str, line: Callable[[Row], str], grain: str | None = None, ask: tuple[str, ...] = (),
    rows: list[Row] = ROWS, answer: tuple[str, ...] = (),
) -> Door:  # fmt: skip
    """Make a door of a form of times."""
    right = truth(rows, grain) if grain else truth(rows)
    written = text("customer;order date;amount", lambda r: f"K{r.who};{line(r)};{r.amount}", rows)
    return Door(f"times/{name}.csv", written, right, ask, answer=answer)


UTC = ("data.transactions.timezone=UTC",)
EARLY = [row for row in ROWS if row.when.day <= 12]
TIMES = [
    dated("american", lambda r: f"{r.when:%m/%d/%Y}"),
    dated("american_clock",
          lambda r: f"{r.when.month}/{r.when.day}/{r.when.year} {r.when:%I:%M %p}", MINUTE),
    dated("two_digit_year", lambda r: f"{r.when:%d.%m.%y}"),
    dated("ambiguous", lambda r: f"{r.when:%d/%m/%Y}", ask=("ambiguous",), rows=EARLY),
    dated("compact", lambda r: f"{r.when:%Y%m%d}"),
    dated("compact_clock", lambda r: f"{r.when:%Y%m%d%H%M%S}", MINUTE),
    dated("iso_t", lambda r: f"{r.when:%Y-%m-%dT%H:%M:%S.000}", MINUTE),
    dated("zulu", lambda r: f"{r.when:%Y-%m-%dT%H:%M:%SZ}", MINUTE, ("time zone",), answer=UTC),
    dated("offset", lambda r: f"{r.when:%Y-%m-%d %H:%M:%S}+01:00", MINUTE, ("time zone",),
          answer=("data.transactions.timezone=Etc/GMT-1",)),
    dated("offset_blank", lambda r: f"{r.when:%Y-%m-%d %H:%M:%S} +0100", MINUTE,
          ("zone|cannot be read as dates",)),
    dated("zulu_beside_naive", lambda r: f"{r.when:%Y-%m-%dT%H:%M:%S}{'Z' if r.i % 2 else ''}",
          MINUTE, ("zone",)),
    dated("unix_us", lambda r: f"{seconds(r)}000000", MINUTE, ("zone|UTC",)),
    dated("unix_ns", lambda r: f"{seconds(r)}000000000", MINUTE, ("zone|UTC",)),
    dated("unix_fraction", lambda r: f"{seconds(r)}.25", MINUTE, ("zone|UTC",)),
    dated("excel_serial", lambda r: str((r.when.date() - type(r.when.date())(1899, 12, 30)).days)),
    dated("quarter", lambda r: f"{r.when.year}-Q{(r.when.month + 2) // 3}", "%Y"),
    dated("quarter_first", lambda r: f"Q{(r.when.month + 2) // 3} {r.when.year}", "%Y"),
    dated("month_word", lambda r: f"{r.when:%b %Y}", MONTH),
    dated("month_short", lambda r: f"{r.when:%b-%y}", MONTH),
    dated("month_number", lambda r: f"{r.when:%m/%Y}", MONTH),
    dated("weekday_english", lambda r: f"{r.when:%a}, {r.when:%d %b %Y}"),
    dated("weekday_long", lambda r: f"{ENGLISH_DAYS[r.when.weekday()]}, {r.when:%B %d, %Y}"),
    dated("weekday_german",
          lambda r: f"{('Mo', 'Di', 'Mi', 'Do', 'Fr', 'Sa', 'So')[r.when.weekday()]}, "
          f"{r.when:%d.%m.%Y}"),
    dated("month_german", german_day),
    dated("mail", lambda r: f"{r.when:%a, %d %b %Y %H:%M:%S} +0000", MINUTE, ("zone",), answer=UTC),
    dated("clock_with_h", lambda r: f"{r.when:%d/%m/%Y %Hh%M}", MINUTE),
    dated("some_clocks", lambda r: f"{r.when:%d.%m.%Y %H:%M}" if r.i % 2 else f"{r.when:%d.%m.%Y}",
          ask=(r"cannot be read as dates",)),
    dated("jalali_clock", lambda r: f"{jalali(r.when.date())} {r.when:%H:%M}", MINUTE),
    dated("browser", lambda r: f"{r.when:%a %b %d %Y %H:%M:%S} GMT+0000 (UTC)", MINUTE,
          ("zone",), answer=UTC),
    dated("clock_in_words", lambda r: f"{r.when:%d.%m.%Y} um {r.when:%H:%M} Uhr", MINUTE),
    dated("clock_cjk", lambda r: f"{r.when:%Y}年{r.when.month}月{r.when.day}日{r.when:%H时%M分}",
          MINUTE),
    Door("times/clock_apart.csv",
         text("Kunde;Datum;Uhrzeit;Betrag",
              lambda r: f"K{r.who};{r.when:%d.%m.%Y} 00:00;{r.when:%H:%M} Uhr;{r.comma}"),
         truth(grain=MINUTE)),
    dated("placeholders", lambda r: "9999-12-31" if r.i == 7 else r.day,
          ask=("9999|2100",)),
    dated("zero_dates", lambda r: "0000-00-00" if r.i % 60 == 7 else r.day,
          ask=("0000-00-00",)),
]  # fmt: skip


def valued(
    name: str, line: Callable[[Row], str], rows: list[Row] = ROWS, ask: tuple[str, ...] = (),
    right: Truth | None = None,
) -> Door:  # fmt: skip
    """Make a door of a form of amounts."""
    written = text("customer|order date|amount", lambda r: f"K{r.who}|{r.day}|{line(r)}", rows)
    return Door(f"amounts/{name}.csv", written, right or truth(rows), ask)


AMOUNTS = [
    valued("thousands_comma", lambda r: money(r.cents, ",")),
    valued("thousands_point", lambda r: money(r.cents, ".", ",")),
    valued("thousands_blank", lambda r: money(r.cents, " ", ",")),
    valued("thousands_hard_blank", lambda r: money(r.cents, "\u00a0", ",")),
    valued("thousands_apostrophe", lambda r: money(r.cents, "’")),
    valued("euro_before", lambda r: f"€{money(r.cents, ',')}"),
    valued("euro_behind", lambda r: f"{money(r.cents, '.', ',')} €"),
    valued("code_before", lambda r: f"EUR {r.amount}"),
    valued("code_behind", lambda r: f"{r.amount} USD"),
    valued("two_signs", lambda r: f"{'€' if r.i % 3 else '$'}{r.amount}",
           ask=("(?i)currenc|cannot be read",)),
    valued("dash_for_cents", lambda r: f"{r.cents // 100},-",
           right=replace(truth(), cents=sum(r.cents // 100 * 100 for r in ROWS))),
    valued("trailing_minus",
           lambda r: money(abs(r.cents), ".", ",") + "-" * (r.cents < 0), RETURNS),
    valued("accounting", lambda r: f"({money(-r.cents)})" if r.cents < 0 else r.amount, RETURNS),
    valued("accounting_dollar",
           lambda r: f"(${money(-r.cents, ',')})" if r.cents < 0 else f"${money(r.cents, ',')}",
           RETURNS),
    valued("long_minus", lambda r: money(r.cents, minus="−"), RETURNS),
    valued("plus_sign", lambda r: f"+{r.amount}"),
    valued("credit_letters",
           lambda r: f"{money(abs(r.cents))} {'CR' if r.cents < 0 else 'DR'}", RETURNS,
           ask=("cannot be read|amount",)),
    valued("more_decimals", lambda r: f"{r.amount}0012"),
    valued("scientific", lambda r: f"{r.cents / 100:.8e}"),
    valued("null_words", lambda r: "NULL" if r.i % 60 == 5 else r.amount,
           ask=("cannot be read|NULL",)),
    valued("dashes_for_nothing", lambda r: "-" if r.i % 60 == 5 else r.amount,
           ask=("cannot be read",)),
    valued("no_cents", lambda r: str(r.cents // 100),
           right=replace(truth(), cents=sum(r.cents // 100 * 100 for r in ROWS))),
    Door("amounts/in_cents.csv",
         text("customer,date,amount_cents", lambda r: f"K{r.who},{r.day},{r.cents}"),
         truth(), ask=("(?i)cent",)),
    Door("amounts/unit_in_the_name.csv",
         text("Customer,Date,Amount (EUR)", lambda r: f"K{r.who},{r.day},{r.amount}"), truth()),
    Door("amounts/mixed_marks.csv",
         text("customer;date;amount",
              lambda r: f"K{r.who};{r.day};{r.comma if r.i % 2 else r.amount}"),
         truth(), ask=("decimal|cannot be read",)),
]  # fmt: skip

FORMS = [*LANGUAGES, *ENCODINGS, *LINES, *PACKING, *FORMATS, *TIMES, *AMOUNTS]
