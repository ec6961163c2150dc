"""The forms of amounts: what text can be a number, and which decimal sign a column has."""

from __future__ import annotations

import re

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from crmml.data import engine


def is_number(text: str) -> bool:
    """Say whether a text is a number, whatever its decimal sign."""
    return re.fullmatch(r"\s*[+-]?[0-9][0-9.,]*([eE][+-]?[0-9]+)?\s*", text) is not None


def parse_number(text: ir.StringValue, decimal: str = ".") -> ir.FloatingValue:
    """Read numbers from text; null where that fails.

    Parameters
    ----------
    text : Ibis text column
        Without surrounding blanks.
    decimal : {".", ","}
        Decimal sign; the other one may group thousands, and only thousands.
    """
    return engine.cast_or_null(pointed(text, decimal), dt.float64)


def pointed(text: ir.StringValue, decimal: str) -> ir.StringValue:
    """Write numbers with a decimal point and without groups; null where they are not numbers."""
    grouper = "," if decimal == "." else "."
    # a grouper counts only where it groups by thousands, so that 1,50 never becomes 150
    grouped = rf"^[+-]?\d{{1,3}}({re.escape(grouper)}\d{{3}})+({re.escape(decimal)}\d*)?$"
    plain = ibis.ifelse(text.re_search(grouped), text.replace(grouper, ""), ibis.null("string"))
    plain = ibis.ifelse(text.contains(grouper), plain, text)
    return plain if decimal == "." else plain.replace(",", ".")


def decide_decimal(table: ir.Table, name: str, evidence: list[str], doubts: list[str]) -> str:
    """Decide the decimal sign of a column of text on the whole file.

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
