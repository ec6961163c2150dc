"""What revenue is in a file: gross or net, before or after refunds, and which rows are sales."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir

from crmml.data.columns import (
    SURE,
    Guess,
    Look,
    beside_amount,
    by_name,
    fits_kind,
    hints,
    plain,
    spellings,
)
from crmml.data.engine import kept
from crmml.data.money import compute_amount
from crmml.data.weighing import Doubt, Figures

HOLDS = 0.95
"""Share of the rows in which an identity between columns must hold for it to count."""
CENT = 0.015
"""Two amounts are equal where they differ by less, currency."""
MANY = 20
"""Customers from which one that holds as much as all the others is a total."""


@dataclass
class Revenue:
    """How the amount is made, which rows count, and what speaks for it.

    Attributes
    ----------
    columns : dict of str to Guess
        What is mapped beside, or in place of, the amount that was found.
    dropped : set of str
        Names of the contract whose column is something else.
    keep : dict of str to tuple of str
        Column to the values whose rows are sales.
    apart : tuple of str
        Ids that stand for totals, not for customers.
    totals : dict of str to float
        Candidates for the amount, each with its sum.
    evidence, doubts : list
        What was understood; what a human should look at.
    """

    columns: dict[str, Guess] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    totals: dict[str, float] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


def understand_revenue(columns: Mapping[str, Guess], figures: Figures) -> Revenue:
    """Find out what the amount of a log is, and which of its rows are sales.

    Parameters
    ----------
    columns : mapping of str to Guess
        The columns of the contract that were found, sure or not.
    figures : Figures
        What the whole file says.
    """
    found = Revenue()
    looks = figures.seen.looks
    amount = columns.get("amount")
    used = {g.column for n, g in columns.items() if n not in ("amount", "discount")}
    money = [c for c, s in looks.items() if fits_kind("money", s) and c not in used]
    beside: dict[str, str] = {}
    for column in money:
        role = beside_amount(column)
        if role and not (amount and column == amount.column):
            beside.setdefault(role, column)
    figures = _with_numbers(columns, money, figures)
    _sort_out_discount(columns, figures, found, beside)
    if amount is not None:
        _compare_amounts(amount, money, beside, figures, found)
        _compare_with_price(amount, columns, figures, found)
        _doubt_names(amount, figures, found)
    elif "unit_price" in columns:
        _price(columns, beside, figures, found)
    made = {**columns, **found.columns}
    if "amount" in made or "unit_price" in made:
        found.doubts += _ask_status(made, figures, found)
        _find_totals(made, figures, found)
    found.doubts += _ask_events(made, figures, found)
    return found


def _ask_events(made: Mapping[str, Guess], figures: Figures, found: Revenue) -> Iterator[Doubt]:
    """Yield what a log of events holds beside purchases: views and carts are none."""
    used = {g.column for g in made.values()} | set(found.keep)
    for column, look in figures.seen.looks.items():
        if column in used or not _holds_events(look):
            continue
        rows = _by(figures, column, ibis.literal(0))
        bought = set(map(plain, spellings("words")["bought"]))
        kept = [value for value in rows if plain(value) in bought]
        if not kept or len(kept) == len(rows):
            continue
        found.keep[column] = tuple(kept)
        told = ", ".join(f"{value!r} in {n:,} rows" for value, (n, _) in list(rows.items())[:8])
        listed = ", ".join(f'"{value}"' for value in kept)
        yield Doubt(
            f"{column!r} says what happened: {told}; only {listed} is taken for a purchase, all "
            "else is left out; name others, or remove the line to count all",
            f"data.transactions.keep: {{{column}: [{listed}]}}",
        )


def _holds_events(look: Look) -> bool:
    """Say whether a column holds purchases beside what comes before one, as views and carts."""
    if not 2 <= look.distinct <= 40:
        return False
    words = spellings("words")
    values = set(map(plain, look.common))
    return bool(values & set(map(plain, words["browsed"])))


def _with_numbers(columns: Mapping[str, Guess], money: list[str], figures: Figures) -> Figures:
    """Read the columns that all of this asks about once, and no others."""
    looks = figures.seen.looks
    numbers = {*money, *(columns[n].column for n in ("amount", "unit_price", "quantity", "discount")
                         if n in columns)}  # fmt: skip
    numbers |= {c for c, s in looks.items() if fits_kind("money", s)
                and by_name(c, "transactions", "unit_price")[0]}  # fmt: skip
    numbers -= {c for c in numbers if not fits_kind("money", looks[c])}
    others = {
        c for c, look in looks.items() if any(_kind_of_status(c, look)) or _holds_events(look)
    }
    if "customer_id" in columns:
        others.add(columns["customer_id"].column)
    return figures.with_numbers(sorted(numbers - others), sorted(others))


def _doubt_names(amount: Guess, figures: Figures, found: Revenue) -> None:
    """Say what the name of the amount lets one doubt: that it is revenue, and in which unit."""
    whole = figures.seen.looks[amount.column].wholes >= 1
    if whole and hints(amount.column, spellings("words")["cents"]):
        total = figures.total(amount.column)
        text = (
            f"{amount.column!r} is called an amount in cents: it adds up to {total:,.2f} as it "
            f"stands, and to {total / 100:,.2f} in whole units; all money is in the unit of the "
            "file, so divide it by 100 or read it so"
        )
        found.doubts.append(Doubt(text))
    if hints(amount.column, spellings("transactions")["margin"]):
        text = (
            f"{amount.column!r} is called a profit, and there is no other amount: it is taken for "
            "revenue; add the revenue, or set value.margin to 1"
        )
        found.doubts.append(Doubt(text, "value.margin: 1.0"))


# --- gross and net -----------------------------------------------------------------------------


def _compare_amounts(
    amount: Guess, money: list[str], beside: dict[str, str], figures: Figures, found: Revenue
) -> None:
    """Take off what is within the amount but no revenue, where the columns say that it is."""
    family = [amount.column]
    family += [c for c in money if c != amount.column and c not in beside.values()
               and by_name(c, "transactions", "amount")[0]]  # fmt: skip
    family = family[:4]
    totals = figures.measure(**{c: figures.money(c).sum() for c in [*family, *beside.values()]})
    figures.known.update(totals)
    found.totals |= {c: totals[c] for c in family}
    refunded = beside.get("refunded")
    if refunded and totals[refunded] == 0:
        refunded = None
    parts: list[str] = [what for what in ("tax", "shipping") if what in beside]
    gross, net, within = _split(family, parts, beside, figures)
    if gross:
        told = f"{gross!r} is {net!r} plus {' plus '.join(repr(beside[w]) for w in within)}"
        found.evidence.append(f"{told}: the amount is net of {' and '.join(within)}")
        if refunded is None:
            _take(found, "amount", net, f"net: {told}")
            if net != amount.column or len(family) > 1:
                found.doubts.append(_doubt(found, net))
            return
        _take(found, "amount", gross, "what was paid, of which the refunds are a part")
        for what in within:
            _take(found, f"less_{what}", beside[what], "within the amount, and no revenue")
    elif parts and not _net_by_name(amount.column, family, figures):
        for what in _within_by_name(amount.column, parts, beside, figures, found):
            _take(found, f"less_{what}", beside[what], "within the amount, and no revenue")
    if not found.columns and (whole := _before_fees(amount.column, family, figures)):
        _take(found, "amount", whole, f"{amount.column!r} is less fees, which are a cost")
        parts = []
    if not found.columns and (named := _net_by_name(amount.column, family, figures)):
        _take(found, "amount", named, f"its name says that it is net, beside {amount.column!r}")
        parts = []
    if refunded is not None:
        _take(found, "less_refunded", refunded, "paid back later")
    if not found.columns:
        return
    found.columns.setdefault("amount", amount)
    first, *rest = (
        g.column for n, g in sorted(found.columns.items(), key=lambda i: i[0] != "amount")
    )
    label = " less ".join([first, *rest])
    if refunded is not None:
        label = label.removesuffix(refunded) + f"the net part of {refunded}"
    found.totals[label] = _total_of(found.columns, figures)
    found.doubts.append(_doubt(found, label))


def _split(
    family: list[str], parts: list[str], beside: Mapping[str, str], figures: Figures
) -> tuple[str, str, tuple[str, ...]]:
    """Find two amounts of which one is the other plus tax, shipping or both, else return ""."""
    first = figures.of_sample()
    asked: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    measures: dict[str, ir.Value] = {}
    groups = [tuple(g) for n in (2, 1) for g in itertools.combinations(parts, n)]
    for gross, net in itertools.permutations(family, 2):
        for group in groups:
            rest = first.money(gross) - first.money(net)
            for what in group:
                rest = rest - first.money(beside[what]).fill_null(0.0)
            key = f"i{len(asked)}"
            asked[key] = (gross, net, group)
            measures[key] = (rest.abs() < CENT).mean()
    shares = first.measure(**measures)
    best = max(shares, key=lambda key: (shares[key], len(asked[key][2])), default=None)
    return asked[best] if best and shares[best] >= HOLDS else ("", "", ())


def _net_by_name(amount: str, family: list[str], figures: Figures) -> str | None:
    """Return the only other amount whose name says that it is net, unless it is so of fees."""
    net = spellings("words")["net"]
    others = [c for c in family if c != amount and hints(c, net)]
    fees = [c for c in figures.seen.looks if hints(c, spellings("words")["fee"])]
    return others[0] if len(others) == 1 and not hints(amount, net) and not fees else None


def _before_fees(amount: str, family: list[str], figures: Figures) -> str | None:
    """Return the amount before fees, where this one is after them."""
    looks = figures.seen.looks
    fees = [
        c for c in looks if hints(c, spellings("words")["fee"]) and fits_kind("money", looks[c])
    ]
    if not fees or not hints(amount, spellings("words")["net"]):
        return None
    net, fee = figures.money(amount), figures.money(fees[0]).fill_null(0.0).abs()
    holds = {c: ((figures.money(c) - fee - net).abs() < CENT).mean() for c in family if c != amount}
    shares = figures.measure(**holds)
    best = max(shares, key=lambda c: shares[c], default=None)
    return best if best and shares[best] >= HOLDS else None


def _within_by_name(
    amount: str, parts: list[str], beside: Mapping[str, str], figures: Figures, found: Revenue
) -> list[str]:
    """Say which parts are within the amount: by its name, else by rates of tax that are round."""
    words = spellings("words")
    shown = " and ".join(repr(beside[what]) for what in parts)
    if hints(amount, words["net"]):
        found.evidence.append(f"{amount!r} is called net, so {shown} are not taken off")
        return []
    if hints(amount, words["gross"]):
        return parts
    if "tax" in parts:
        a, t = figures.money(amount), figures.money(beside["tax"])
        s = figures.money(beside["shipping"]).fill_null(0.0) if "shipping" in parts else 0.0
        bases = {"net": a, "tax": a - t, "both": a - t - s}
        rates = {name: t / base.nullif(0.0) * 200 for name, base in bases.items()}
        round_ = figures.measure(
            **{n: ((r - r.round()).abs() < 0.02).mean() for n, r in rates.items()}
        )
        best = max(("net", "both", "tax"), key=lambda name: round_[name])
        others = [v for n, v in round_.items() if n != best and abs(v - round_[best]) > 0.2]
        if round_[best] >= 0.8 and others:
            if best == "net":
                found.evidence.append(f"the rates of tax are round on {amount!r}, so it is net")
                return []
            return parts if best == "both" else ["tax"]
    taken = {"amount": Guess(amount, 1, (), "")}
    taken |= {f"less_{what}": Guess(beside[what], 1, (), "") for what in parts}
    less = _total_of(taken, figures)
    lines = ", ".join(f"less_{what}: {beside[what]}" for what in parts)
    found.doubts.append(
        Doubt(
            f"amounts are to be net: {amount!r} adds up to {found.totals[amount]:,.2f}, and "
            f"{less:,.2f} without {shown}; whether they are within it cannot be told, so they are "
            "not taken off",
            f"data.transactions.columns: {{{lines}}}",
        )
    )
    return []


def _compare_with_price(
    amount: Guess, columns: Mapping[str, Guess], figures: Figures, found: Revenue
) -> None:
    """Hold the amount against price times quantity, where the file has both."""
    looks = figures.seen.looks
    quantity = columns.get("quantity")
    scored = [(by_name(c, "transactions", "unit_price")[0], c) for c, s in looks.items()
              if fits_kind("money", s) and c != amount.column]  # fmt: skip
    score, price = max(scored, default=(0.0, ""))
    if quantity is None or score < 0.5 or price == quantity.column:
        return
    a, p, q = (figures.money(c) for c in (amount.column, price, quantity.column))
    seen = figures.measure(
        product=((a - p * q).abs() < CENT).mean(),
        single=((a - p).abs() < CENT).mean(),
        total=(p * q).sum(),
    )
    label = f"{price} x {quantity.column}"
    if seen["product"] >= HOLDS:
        found.evidence.append(f"{amount.column!r} is {price!r} times {quantity.column!r}")
        return
    found.totals[label] = seen["total"]
    if seen["single"] >= HOLDS:
        line = f"data.transactions.columns: {{amount: null, unit_price: {price}}}"
        text = f"{amount.column!r} is the price of one unit"
        found.doubts.append(
            Doubt(
                f"{text}: it adds up to {found.totals[amount.column]:,.2f}, times quantity to "
                f"{seen['total']:,.2f}",
                line,
            )
        )


def _price(
    columns: Mapping[str, Guess], beside: Mapping[str, str], figures: Figures, found: Revenue
) -> None:
    """Say what price times quantity adds up to, and ask whether the discount is to come off."""
    taken = {n: columns[n] for n in ("unit_price", "quantity") if n in columns}
    if len(taken) < 2:
        return
    label = f"{taken['unit_price'].column} x {taken['quantity'].column}"
    found.totals[label] = _total_of(taken, figures)
    found.evidence.append("there is no amount: it will be unit price times quantity")
    for what in ("discount", "discount_share"):
        if what not in beside:
            continue
        column = beside[what]
        less = _total_of({**taken, f"less_{what}": Guess(column, 1, (), "")}, figures)
        found.totals[f"{label} less {column}"] = less
        found.doubts.append(
            Doubt(
                f"unit price times quantity adds up to {found.totals[label]:,.2f}, and less "
                f"{column!r} to {less:,.2f}: whether prices are after the discount cannot be told, "
                "so it is not taken off",
                f"data.transactions.columns.less_{what}: {column}",
            )
        )


def _sort_out_discount(
    columns: Mapping[str, Guess], figures: Figures, found: Revenue, beside: dict[str, str]
) -> None:
    """Tell a discount that is a share from one that is money."""
    guess = columns.get("discount")
    if guess is None:
        return
    value = figures.money(guess.column)
    seen = figures.measure(most=value.abs().max(), broken=(value % 1 != 0).mean())
    share = bool(hints(guess.column, spellings("words")["share"]))
    if 0 < seen["most"] <= 1 and (seen["broken"] > 0 or share):
        found.dropped.add("discount")
        found.evidence.append(f"{guess.column!r} is a share and no money: not read as discount")
        beside["discount_share"] = guess.column
    elif share:
        found.dropped.add("discount")
        found.evidence.append(f"{guess.column!r} is in per cent and no money: not read as discount")
    else:
        beside["discount"] = guess.column


def _take(found: Revenue, name: str, column: str, why: str) -> None:
    found.columns[name] = Guess(column, 0.9, (), why)


def _total_of(taken: Mapping[str, Guess], figures: Figures) -> float:
    made = compute_amount(
        taken,
        lambda name: figures.money(taken[name].column),
        lambda name: figures.money(taken[name].column).notnull(),
    )
    return figures.measure(total=made.round(2).sum())["total"]


def _doubt(found: Revenue, chosen: str) -> Doubt:
    """Show the candidates for the amount side by side."""
    shown = ", ".join(f"{label!r} {total:,.2f}" for label, total in found.totals.items())
    which = "the last" if chosen == list(found.totals)[-1] else repr(chosen)
    names = {
        n: g.column for n, g in found.columns.items() if n == "amount" or n.startswith("less_")
    }
    lines = ", ".join(f"{n}: {c}" for n, c in names.items())
    return Doubt(
        f"amount is to be net revenue; candidates add up to {shown}: {which} is proposed",
        f"data.transactions.columns: {{{lines}}}",
    )


# --- which rows are sales ----------------------------------------------------------------------


def _amount_of(made: Mapping[str, Guess], figures: Figures) -> ir.NumericValue:
    parts = {n: g for n, g in made.items() if n in ("amount", "unit_price", "quantity")
             or n.startswith("less_")}  # fmt: skip
    return compute_amount(
        parts,
        lambda name: figures.money(parts[name].column),
        lambda name: figures.money(parts[name].column).notnull(),
    )


def _ask_status(made: Mapping[str, Guess], figures: Figures, found: Revenue) -> Iterator[Doubt]:
    """Yield what hangs on a status: sums of the rows that are no sale."""
    used = {g.column for g in made.values()}
    for column, look in figures.seen.looks.items():
        is_status, is_mark = _kind_of_status(column, look)
        if column in used or not (is_status or is_mark):
            continue
        rows = _by(figures, column, _amount_of(made, figures), mark=is_mark)
        lost = _lost(rows, is_mark)
        if 0 < len(lost) < len(rows):
            kept = sorted(v for v in rows if v not in lost)
            found.keep[column] = tuple(kept)
            yield _doubt_status(column, rows, lost, kept, is_mark)
        elif is_status and not lost and all(v.isdigit() for v in rows) and len(rows) > 1:
            told = ", ".join(f"{v!r} in {n:,} rows ({t:,.2f})" for v, (n, t) in rows.items())
            listed = ", ".join(f'"{v}"' for v in rows)
            yield Doubt(
                f"{column!r} says {told}: which of these codes stand for a sale is not known, so "
                "all rows count; name those that do",
                f"data.transactions.keep: {{{column}: [{listed}]}}",
            )


def _kind_of_status(column: str, look: Look) -> tuple[bool, bool]:
    """Say whether a column is a status, and whether it marks rows that are no sale."""
    words = spellings("words")
    status = plain(column) in map(plain, words["status"]) or bool(hints(column, words["status"]))
    marks = bool(hints(column, words["not_sold"]))
    dates = look.dates >= HOLDS
    is_mark = marks and look.filled > 0 and (look.flag or dates)
    return status and not is_mark and 2 <= look.distinct <= 20, is_mark


def _lost(rows: Mapping[str, tuple[int, float]], is_mark: bool) -> list[str]:
    """Return the values of rows that are no sale, and have an amount that would count as one."""
    if is_mark:
        no = ("", "false", "f", "no", "n", "0", "nein", "non")
        return [v for v, (_, total) in rows.items() if v.lower() not in no and total > 0]
    known = set(map(plain, spellings("words")["not_sold"]))
    return [v for v, (_, total) in rows.items() if plain(v) in known and total > 0]


def _doubt_status(
    column: str,
    rows: Mapping[str, tuple[int, float]],
    lost: list[str],
    kept: list[str],
    is_mark: bool,
) -> Doubt:
    told = ", ".join(f"{v!r} in {rows[v][0]:,} rows ({rows[v][1]:,.2f})" for v in lost)
    if is_mark and kept == [""]:
        n, total = (sum(rows[v][i] for v in lost) for i in (0, 1))
        told = f"a value in {n:,} rows ({total:,.2f})"
    rest = sum(rows[v][1] for v in kept)
    both = sum(total for _, total in rows.values())
    listed = ", ".join(f'"{v}"' for v in kept)
    return Doubt(
        f"{column!r} says {told}: these rows are taken for no sales and left out, which leaves "
        f"{rest:,.2f} of {both:,.2f}; remove the line to count them",
        f"data.transactions.keep: {{{column}: [{listed}]}}",
    )


def _by(
    figures: Figures, column: str, value: ir.NumericValue, *, mark: bool = False
) -> dict[str, tuple[int, float]]:
    """Return rows and sum by the values of a column; no value is ''.

    Of a mark with many values, as dates are, all of them stand under one.
    """
    key = figures.seen.table[column].cast("string").strip().fill_null("")
    if mark and figures.seen.looks[column].distinct > 2:
        key = ibis.ifelse(key == "", "", "filled")
    lines = figures.seen.table.select(key=key, value=value)
    found = lines.group_by("key").agg(n=lines.count(), total=lines.value.sum())
    rows: list[dict[str, Any]] = found.order_by("key").to_pyarrow().to_pylist()
    return {row["key"]: (row["n"], float(row["total"] or 0)) for row in rows}


def _find_totals(made: Mapping[str, Guess], figures: Figures, found: Revenue) -> None:
    """Set rows of totals apart: a customer with the sum of all others, or one that is called so."""
    customer = made.get("customer_id")
    if customer is None or customer.confidence < SURE:
        return
    words = set(map(plain, spellings("words")["total_rows"]))
    key = figures.seen.table[customer.column].cast("string").strip().fill_null("")
    lines = figures.seen.table.select(key=key, value=_amount_of(made, figures))
    each = lines.group_by("key").agg(n=lines.count(), total=lines.value.sum())
    with kept(each) as sums:
        # only what is large can be a total
        top = sums.order_by([ibis.desc("total"), "key"]).limit(30).to_pyarrow().to_pylist()
        whole = sums.aggregate(total=sums.total.sum(), n=sums.count()).to_pyarrow().to_pylist()[0]
    everything, n = float(whole["total"] or 0), int(whole["n"])
    # "Subtotal 3" is one as well
    named = [row for row in top if re.sub(r"[0-9]+$", "", plain(row["key"])) in words]
    rest = everything - sum(float(row["total"] or 0) for row in named)
    others = [row for row in top if row not in named]
    alike = [
        row
        for row in others[:3]
        if n > MANY
        and row["n"] <= 2
        and abs(2 * float(row["total"] or 0) - rest) <= 0.005 * max(rest, 1.0)
    ]
    apart = [*named, *alike]
    if not apart:
        return
    found.apart = tuple(row["key"] for row in apart if row["key"])
    left = everything - sum(float(row["total"] or 0) for row in apart)
    for row in apart[:3]:
        who = f"customer {row['key']!r}" if row["key"] else "a row without a customer"
        rows = "1 row" if row["n"] == 1 else f"{row['n']:,} rows"
        listed = ", ".join(f'"{k}"' for k in found.apart)
        found.doubts.append(
            Doubt(
                f"{who} holds {float(row['total'] or 0):,.2f} in {rows}, where all others hold "
                f"{left:,.2f}: a total, and left out",
                f"data.policies.test_customers: [{listed}]" if row["key"] else "",
            )
        )
