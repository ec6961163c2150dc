"""The forms of amounts: what text can be a number, and which decimal sign a column has.

Whatever the settings, digits of other scripts, groups of thousands, brackets and trailing signs of
amounts below zero are read. Signs and codes of currencies are read where the settings name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from crmml.data import engine

_SCRIPTS = ("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "０１２３４５６７８９")
_FOREIGN = "".join(_SCRIPTS) + "٫٬，．－−–—﹣＋（）"
_ASCII = "0123456789" * len(_SCRIPTS) + ".,,.-----+()"
_BLANKS = " \u00a0\u2007\u2009\u202f"
_GROUPERS = _BLANKS + "'’`´"

_CODES = (
    "AED ARS AUD BDT BGN BHD BRL CAD CHF CLP CNY COP CZK DKK DZD EGP EUR GBP GHS HKD "
    "HUF IDR ILS INR IQD IRR IRT ISK JOD JPY KES KRW KWD KZT LBP LKR MAD MXN MYR NGN "
    "NOK NZD OMR PEN PHP PKR PLN QAR RON RSD RUB SAR SEK SGD THB TND TRY TWD UAH USD "
    "UYU VND ZAR"
)
_WORDS = (
    "$ € £ ¥ ￥ ₹ ₽ ₺ ₩ ₫ ₪ ₴ ₦ ₱ ฿ ₡ ₲ ₵ ₸ ₼ ₾ ﷼ R$ US$ A$ AU$ C$ CA$ HK$ NT$ S$ MX$ "
    "kr zł zl Kč Kc Ft lei лв руб р TL Fr fr SFr Rs RM Rp 元 円 원 圆 块 人民币 تومان ریال "
    "ريال درهم جنيه Euro euro euros Euros EURO"
)
SIGNS = (*_WORDS.split(), *_CODES.split())
"""What people write in the cells of amounts to say the currency."""


class AmountForm(NamedTuple):
    """How the amounts of a column are written.

    Attributes
    ----------
    decimal : {".", ","}
        The decimal sign.
    signs : tuple of str
        Signs and codes of currencies in the cells, the most frequent one first.
    """

    decimal: str = "."
    signs: tuple[str, ...] = ()


def _edges(signs: Iterable[str]) -> tuple[str, str]:
    """Return patterns of a currency, their second group, before and behind an amount."""
    any_of = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True))
    blanks = f"[{_BLANKS}]*"
    return (
        rf"^([-+(]*){blanks}({any_of})\.?{blanks}([-+]?[(0-9.,].*)$",
        rf"^(.*[0-9.,)-]){blanks}({any_of})\.?{blanks}([-)]*)$",
    )


_TO_ASCII = str.maketrans(_FOREIGN, _ASCII)
_BEFORE, _BEHIND = (re.compile(pattern) for pattern in _edges(SIGNS))
_PLAIN = re.compile(
    rf"[-+(]*\s*([0-9][0-9.,]*|[0-9]{{1,3}}([{_GROUPERS}][0-9]{{3}})+([.,][0-9]*)?|[.,][0-9]+)"
    r"([eE][+-]?[0-9]+)?\s*([.,]?-{0,2}|\))"
)


def is_number(text: str) -> bool:
    """Say whether a text is a number, whatever its decimal sign, script and currency.

    Examples
    --------
    >>> [is_number(x) for x in ("1.234,50 €", "($9.00)", "EUR 12", "۱۲۳", "9.00-", "5,-", "A12")]
    [True, True, True, True, True, True, False]
    """
    return _PLAIN.fullmatch(_bare(text)) is not None


def is_whole(text: str) -> bool:
    """Say whether a text is a number without a fraction.

    Examples
    --------
    >>> is_whole("$12"), is_whole("12,00"), is_whole("12.5")
    (True, True, False)
    """
    return re.fullmatch(r"[-+(]*[0-9]+([.,]0+)?\)?-?", _bare(text)) is not None


def _bare(text: str) -> str:
    bare = text.strip().translate(_TO_ASCII)
    return _BEHIND.sub(r"\1\3", _BEFORE.sub(r"\1\3", bare)).strip()


def parse_number(
    text: ir.StringValue, decimal: str = ".", signs: Sequence[str] = ()
) -> ir.FloatingValue:
    """Read numbers from text; null where that fails.

    Parameters
    ----------
    text : Ibis text column
        Without surrounding blanks.
    decimal : {".", ","}
        Decimal sign; the other one may group thousands, and only thousands.
    signs : sequence of str
        Currencies that may stand before or behind.
    """
    return engine.cast_or_null(pointed(text, decimal, signs), dt.float64)


def pointed(text: ir.StringValue, decimal: str, signs: Sequence[str] = ()) -> ir.StringValue:
    """Write numbers with a decimal point and without groups; null where they are not numbers.

    Most cells hold plain numbers. The engine works out a branch for its own rows only, so that the
    many patterns of the last one cost nothing where nobody needs them.
    """
    mark = re.escape(decimal)
    plain = text.re_search(rf"^[+-]?[0-9]*{mark}?[0-9]*$")
    bare = text.re_search(r"^[+-]?[0-9][0-9.,]*$")
    other = _signed(_uncurrencied(_ascii(text, decimal), signs))
    loose = rf"^[+-]?[0-9]{{1,3}}([{_GROUPERS}][0-9]{{3}})+({mark}[0-9]*)?$"
    other = ibis.ifelse(other.re_search(loose), other.re_replace(f"[{_GROUPERS}]", ""), other)
    return ibis.cases(
        (plain, text if decimal == "." else text.replace(",", ".")),
        (bare, _ungrouped(text, decimal)),
        else_=_ungrouped(other, decimal),
    )


def _ungrouped(text: ir.StringValue, decimal: str) -> ir.StringValue:
    """Take groups of thousands apart.

    A grouper counts only where it groups by thousands (or, in India, by hundreds above these), so
    that 1,50 never becomes 150.
    """
    grouper = "," if decimal == "." else "."
    g, mark = re.escape(grouper), re.escape(decimal)
    groups = rf"^[+-]?[0-9]{{1,3}}(({g}[0-9]{{3}})+|({g}[0-9]{{2}})*{g}[0-9]{{3}})({mark}[0-9]*)?$"
    taken = ibis.ifelse(text.re_search(groups), text.replace(grouper, ""), ibis.null(str))
    found = ibis.ifelse(text.contains(grouper), taken, text)
    return found if decimal == "." else found.replace(",", ".")


def _ascii(text: ir.StringValue, decimal: str) -> ir.StringValue:
    """Write digits and signs of other scripts as those of ASCII."""
    # The Arabic decimal sign is one whatever the column has; its group sign likewise.
    grouper = "," if decimal == "." else "."
    own = text.replace("٫", decimal).replace("٬", grouper)
    return own.translate(_FOREIGN, _ASCII)


def _uncurrencied(text: ir.StringValue, signs: Sequence[str]) -> ir.StringValue:
    if not signs:
        return text
    for pattern in _edges(signs):
        text = text.re_replace(pattern, r"\1\3")
    return text


def _signed(text: ir.StringValue) -> ir.StringValue:
    """Write an amount below zero with a minus before it, and 12,- as 12."""
    dashed = text.re_replace(r"^([-+]?[0-9].*)[.,] ?-{1,2}$", r"\1")
    in_brackets = dashed.re_replace(rf"^\([{_BLANKS}]*([^()-]*[0-9])[{_BLANKS}]*\)$", r"-\1")
    behind = in_brackets.re_replace(r"^([0-9].*[0-9]) ?-$", r"-\1")
    return behind.re_replace(rf"^([-+])[{_BLANKS}]+", r"\1")


def currency_of(text: ir.StringValue, signs: Sequence[str]) -> ir.StringValue:
    """Return the sign or code of the currency in each cell; null where there is none."""
    text = text.translate(_FOREIGN, _ASCII)
    return ibis.coalesce(*(text.re_extract(edge, 2).nullif("") for edge in _edges(signs)))


def decide_amounts(
    table: ir.Table, name: str, evidence: list[str], doubts: list[str]
) -> AmountForm:
    """Decide decimal sign and currencies of a column of text on the whole file.

    Parameters
    ----------
    table : Ibis table
        The file as it is.
    name : str
        The column.
    evidence, doubts : list of str
        What was found is appended to them, a sentence each.
    """
    text = table[name].strip().nullif("")
    signs = _find_signs(text, name, evidence, doubts)
    # Each way to read is worked out once, and asked several times.
    read = text.name("cell").as_table()
    read = read.select(
        "cell",
        point=parse_number(read.cell, ".", signs),
        comma=parse_number(read.cell, ",", signs),
    )
    point, comma, n, both = (
        read.aggregate(
            of_point=read.point.notnull().sum(),
            of_comma=read.comma.notnull().sum(),
            n=read.cell.notnull().sum(),
            both=(read.point.notnull() & (read.point != read.comma)).sum(),
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
    return AmountForm(decimal, signs)


def _find_signs(
    text: ir.StringValue, name: str, evidence: list[str], doubts: list[str]
) -> tuple[str, ...]:
    """Find the currencies in the cells of a column, the most frequent one first."""
    cells = text.name("cell").as_table()
    # Kept, or the engine would look for currencies in plain numbers too.
    with engine.kept(cells.filter(~cells.cell.re_search(r"^[+-]?[0-9][0-9.,]*$"))) as odd:
        found = odd.select(sign=currency_of(odd.cell, SIGNS))
        counted = found.filter(found.sign.notnull()).group_by("sign").agg(n=lambda t: t.count())
        rows = counted.order_by([ibis.desc("n"), "sign"]).to_pyarrow().to_pylist()
    if len(rows) == 1:
        evidence.append(f"{rows[0]['n']:,} cells of {name!r} say the currency: {rows[0]['sign']}")
    elif rows:
        shown = ", ".join(f"{row['sign']} in {row['n']:,} cells" for row in rows[:6])
        doubts.append(
            f"{name!r} holds more than one currency ({shown}): a run takes one; leave out the "
            "rows of the others, or give rates"
        )
    return tuple(row["sign"] for row in rows)
