"""The amount of a line from the columns of a file: price times quantity, less what is no revenue.

A file rarely holds net revenue as such. It holds what was paid, and beside it the tax, the
shipping, the discount and what was refunded later. A mapping may name these columns, and the
amount is then

    paid   = (amount, or unit price x quantity) x (1 - discount share) - discount
    amount = (paid - tax - shipping) x (1 - refunded / paid)

so of a refund that includes tax and shipping only its net part counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import ibis
import ibis.expr.types as ir

LESS: tuple[str, ...] = (
    "less_discount_share",
    "less_discount",
    "less_tax",
    "less_shipping",
    "less_refunded",
)
"""Names that a mapping of transactions may use for what is within the amount but no revenue."""

READ_ONLY: tuple[str, ...] = ("unit_price", *LESS)
"""Names that a mapping of transactions may use beside those of its contract."""


def is_made(names: Iterable[str]) -> bool:
    """Say whether the amount has to be computed from several columns.

    Examples
    --------
    >>> is_made(["customer_id", "amount"]), is_made(["amount", "less_tax"])
    (False, True)
    """
    return any(name in READ_ONLY for name in names)


def compute_amount(
    names: Iterable[str],
    number: Callable[[str], ir.NumericValue],
    is_there: Callable[[str], ir.BooleanValue],
) -> ir.NumericValue:
    """Return the net amount of a line as a number, null where a part of it cannot be read.

    Parameters
    ----------
    names : iterable of str
        Names that are mapped: ``amount``, or ``unit_price`` and ``quantity``; any of :data:`LESS`.
    number : callable
        Returns the column of a name as float64, null where it cannot be read.
    is_there : callable
        Says in which rows a column has a value. A part without a value is nothing.
    """
    given = set(names)

    def part(name: str) -> ir.NumericValue:
        if name not in given:
            return ibis.literal(0.0)
        return ibis.ifelse(is_there(name), number(name), 0.0)

    priced = "unit_price" in given
    gross = number("unit_price") * number("quantity") if priced else number("amount")
    paid = gross * (1 - part("less_discount_share")) - part("less_discount")
    net = paid - part("less_tax") - part("less_shipping")
    if "less_refunded" not in given:
        return net
    back = part("less_refunded")
    # a refund is written with or without its sign
    back = ibis.ifelse(paid > 0, back.abs(), back)
    return ibis.ifelse(paid == 0, net - back, net * (1 - back / paid.nullif(0.0)))


def describe(names: Iterable[str]) -> str:
    """Say how the amount is made.

    Examples
    --------
    >>> describe(["unit_price", "quantity", "less_tax", "less_refunded"])
    'amounts are unit price times quantity less tax and the net part of refunds'
    """
    given = set(names)
    first = "unit price times quantity" if "unit_price" in given else "what was paid"
    words = {"less_refunded": "the net part of refunds", "less_discount_share": "the discount"}
    parts = [words.get(n, n.removeprefix("less_")) for n in LESS if n in given]
    less = (
        f" less {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}" if parts else ""
    )
    return f"amounts are {first}{less}"
