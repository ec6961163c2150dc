"""Behaviour features: what a customer did, beside frequency, recency, T and money.

:data:`FEATURES` is the one table of them: name, unit, meaning, when the value is missing, and which
optional columns of the data it needs. A feature whose column is absent is left out, with the reason
in ``snapshot.provenance["absent"]``; nothing is invented.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from crmml._typing import MONTHS, Grain, TimeUnit
from crmml.features.margins import margin_sums
from crmml.features.purchases import (
    HOURS,
    cents,
    currency,
    in_time_units,
    insist,
    start_of,
    sum_cents,
)

WINDOWS: tuple[int, ...] = (4, 13, 26, 52)
"""Lengths of the trailing windows, in weeks of seven days before the end of observation."""

MOST_CHANNELS = 8
"""Channels with a column of their own: those with most purchase lines."""


@dataclass(frozen=True)
class Feature:
    """One behaviour feature.

    Attributes
    ----------
    name : str
        Column of the snapshot; a trailing ``*`` stands for one column per channel.
    unit : str
        Unit; ``time unit`` is that of the snapshot.
    meaning : str
        What it says.
    missing : str
        When the value is missing; empty means never.
    needs : tuple of str
        Optional columns of the data without which the feature is absent; of several in
        alternation, ``margin|cost``, one is enough.
    learned : bool
        Whether learned models may see it; what is not dated, or computed from that, they may not.
    """

    name: str
    unit: str
    meaning: str
    missing: str = ""
    needs: tuple[str, ...] = ()
    learned: bool = True


_ONCE = "without a repeat purchase"
_TWICE = "with fewer than two repeat purchases"
_MARGIN = ("margin|cost",)

FEATURES: tuple[Feature, ...] = (
    *(Feature(f"purchases_{w}w", "purchases", f"purchases in the last {w} weeks") for w in WINDOWS),
    *(
        Feature(f"net_spend_{w}w", "currency", f"spend less returns in the last {w} weeks")
        for w in WINDOWS
    ),
    *(
        Feature(f"margin_{w}w", "currency", f"margin in the last {w} weeks", needs=_MARGIN)
        for w in WINDOWS
    ),
    Feature("net_spend", "currency", "spend less returns to date"),
    Feature("margin_to_date", "currency", "margin to date", needs=_MARGIN),
    Feature(
        "margin_rate", "share", "margin to date over net spend", "net spend not positive", _MARGIN
    ),
    Feature("acquisition_cost", "currency", "cost to win", "not known", ("acquisition_cost",)),
    Feature("returns_share", "share", "value returned over value bought", "nothing paid"),
    Feature(
        "discount_share",
        "share",
        "discount over price before discount",
        "nothing paid",
        ("discount",),
    ),
    Feature("n_categories", "categories", "categories bought to date", needs=("category",)),
    Feature(
        "n_categories_26w",
        "categories",
        "of those, bought in the last 26 weeks",
        needs=("category",),
    ),
    Feature(
        "category_concentration",
        "share",
        "sum of squared shares of categories in value bought; 1 = one category",
        "nothing paid in any category",
        ("category",),
    ),
    Feature(
        "top_category_share",
        "share",
        "share of the strongest category in value bought",
        "nothing paid in any category",
        ("category",),
    ),
    Feature("channel_share_*", "share", "share of a channel in purchase lines", needs=("channel",)),
    Feature(
        "channel_concentration",
        "share",
        "sum of squared shares of these channels in purchase lines",
        needs=("channel",),
    ),
    Feature("gap_mean", "time unit", "mean gap between purchases", _ONCE),
    Feature("gap_sd", "time unit", "standard deviation of the gaps (n - 1)", _TWICE),
    Feature(
        "gap_regularity",
        "share",
        "mean gap squared over mean squared gap; 1 = clockwork, about 1/2 = at random",
        _ONCE,
    ),
    Feature("gap_p90", "time unit", "90th percentile of the gaps, interpolated", _ONCE),
    Feature("gap_max", "time unit", "longest gap", _ONCE),
    Feature("sum_log_gaps", "log time unit", "sum of the logarithms of the gaps; 0 without any"),
    Feature("inactivity", "time unit", "T - recency: since the last purchase"),
    Feature("inactivity_ratio", "ratio", "inactivity over mean gap", _ONCE),
    Feature("inactivity_p90_ratio", "ratio", "inactivity over the 90th percentile of gaps", _ONCE),
    Feature(
        "purchase_trend",
        "share",
        "(last 13 weeks - the 13 before) / both, in purchases; between -1 and 1; 0 without any",
    ),
    Feature(
        "purchase_rate_ratio",
        "ratio",
        "purchases per week in the last 13 weeks (or since the first purchase, if later) over "
        "those to date",
    ),
    Feature("spend_change_13w", "currency", "net spend: last 13 weeks less the 13 before"),
    Feature("weekend_share", "share", "share of purchases on Saturdays and Sundays"),
    Feature("first_order_value", "currency", "first purchase less returns before the second"),
    Feature("last_order_value", "currency", "last purchase less returns since"),
    Feature("max_order_value", "currency", "largest purchase"),
    Feature("order_value_cv", "ratio", "population sd over mean of purchases", "mean not positive"),
    Feature("mean_lines", "lines", "order lines per purchase"),
    Feature("mean_quantity", "units", "units per purchase", needs=("quantity",)),
    Feature(
        "contacts_26w",
        "touch points",
        "touch points of any kind in the last 26 weeks",
        needs=("interactions.kind",),
    ),
    Feature(
        "open_complaints",
        "complaints",
        "complaints of the last 26 weeks that are not settled",
        needs=("interactions.resolved_at",),
    ),
    Feature(
        "last_score",
        "0 to 10",
        "score of the latest survey in the last 26 weeks",
        "without such a survey",
        ("interactions.score",),
    ),
    Feature("cutoff_season_sin", "-", "sine of the cutoff's day of the year"),
    Feature("cutoff_season_cos", "-", "cosine of the cutoff's day of the year"),
    Feature(
        "service_cost", "currency", "cost to serve to date", "not known", ("service_cost",), False
    ),
    Feature(
        "contact_cost",
        "currency",
        "cost of the touch points to date",
        needs=("interactions.cost",),
        learned=False,
    ),
    Feature(
        "action_cost",
        "currency",
        "cost of the actions to date",
        needs=("treatments.cost",),
        learned=False,
    ),
    Feature(
        "profit_to_date",
        "currency",
        "margin to date less what the customer has cost, as far as known (backward-looking; not "
        "lifetime value)",
        needs=_MARGIN,
        learned=False,
    ),
    Feature(
        "expected_margin_ratio",
        "share",
        "margin per unit of revenue, shrunk to the categories bought and to the base",
        needs=_MARGIN,
        learned=False,
    ),
    Feature(
        "margin_weight",
        "share",
        "weight of the customer's own lines in that ratio",
        needs=_MARGIN,
        learned=False,
    ),
    Feature(
        "lines_without_margin",
        "lines",
        "lines whose margin is not known: that of their category stands in",
        needs=_MARGIN,
        learned=False,
    ),
    Feature(
        "contacts_without_cost",
        "contacts",
        "touch points whose cost is not known",
        needs=("interactions.cost",),
        learned=False,
    ),
    Feature(
        "actions_without_cost",
        "actions",
        "actions whose cost is not known",
        needs=("treatments.cost",),
        learned=False,
    ),
)
"""All behaviour features."""


def find_absent(columns: Iterable[str], grain: Grain) -> dict[str, str]:
    """Name the features that the data cannot give, with the reason of each.

    Examples
    --------
    >>> find_absent(["margin", "channel", "discount", "quantity", "acquisition_cost"], "day")[
    ...     "n_categories"]
    "the data have no column 'category'"
    """
    present = set(columns)
    absent = {}
    for feature in FEATURES:
        for need in feature.needs:
            if not present.intersection(need.split("|")):
                wanted = " or ".join(repr(name) for name in need.split("|"))
                absent[feature.name] = f"the data have no column {wanted}"
                break
    if grain not in ("hour", "day"):
        absent["weekend_share"] = f"the grain is a {grain}"
    return absent


def columns_beside(tables: Mapping[str, ir.Table]) -> list[str]:
    """List the columns beside the log that features may need; those of events with their table.

    Examples
    --------
    >>> columns_beside({})
    []
    """
    people = tables.get("customers")
    found = [] if people is None else list(people.columns)
    for name in ("interactions", "treatments"):
        events = tables.get(name)
        found += [] if events is None else [f"{name}.{column}" for column in events.columns]
    return found


def name_channels(values: Iterable[str]) -> dict[str, str]:
    """Map channels to column names that every tool accepts, one to one.

    Parameters
    ----------
    values : iterable of str
        In the order of importance; names that come out equal or empty get a number.

    Examples
    --------
    >>> name_channels(["Web Shop", "web-shop", "Café", "تلفن"])
    {'Web Shop': 'channel_share_web_shop', 'web-shop': 'channel_share_web_shop_2',
     'Café': 'channel_share_cafe', 'تلفن': 'channel_share_4'}
    """
    return name_values(values, "channel_share_")


def name_values(values: Iterable[str], prefix: str, taken: Iterable[str] = ()) -> dict[str, str]:
    """Map values of a column to names of columns; see :func:`name_channels`.

    Parameters
    ----------
    values : iterable of str
        In the order of importance.
    prefix : str
        Of each name.
    taken : iterable of str
        Names that other columns have.
    """
    names: dict[str, str] = {}
    used = set(taken)
    for position, value in enumerate(values, start=1):
        ascii_text = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "_", ascii_text.lower()).strip("_") or str(position)
        name = f"{prefix}{slug}"
        names[value] = name if name not in used else f"{name}_{position}"
        used.add(names[value])
    return names


def sum_lines(
    lines: ir.Table, *, channels: Mapping[str, str], has_returns: bool
) -> ir.Table | None:
    """Gather what only the lines tell, one row per customer; None where they tell nothing more."""
    bought = lines.cents >= 0 if has_returns else ibis.literal(True)
    counted = bought if has_returns else None
    measures: dict[str, ir.Value] = {}
    if has_returns:
        measures["returned"] = (-lines.cents).sum(where=~bought).fill_null(0)
    if "discount" in lines.columns:
        measures["discount"] = cents(lines.discount).sum(where=counted).fill_null(0)
    if "quantity" in lines.columns:
        measures["quantity"] = lines.quantity.sum(where=counted).fill_null(0)
    for value, name in channels.items():
        measures[name] = lines.count(where=bought & (lines.channel == value)).fill_null(0)
    return lines.group_by("customer_id").agg(**measures) if measures else None


def _periods_in(weeks: int, grain: Grain) -> int:
    """Return how many periods some weeks are; 13 are three months or a quarter of the calendar."""
    if grain in MONTHS:
        return max(round(weeks * 3 / 13) // MONTHS[grain], 1)
    return weeks * HOURS["week"] // HOURS[grain]


def _first_of(weeks: int, last_period: int, grain: Grain) -> int:
    return last_period + 1 - _periods_in(weeks, grain)


def period_measures(
    periods: ir.Table, *, last_period: int, grain: Grain, has_returns: bool
) -> dict[str, ir.Value]:
    """Write the sums over the periods of a customer that the features need."""
    bought = periods.lines > 0 if has_returns else ibis.literal(True)
    order = bought.ifelse(periods.net, ibis.null("int64")) if has_returns else periods.net
    squared = order.cast("decimal(19,0)")  # of 18 digits the squares would have to fit in 18 too
    gap = periods.gap
    log_gap = gap.cast("float64").ln().cast("decimal(18,14)")
    measures: dict[str, ir.Value] = {
        "lines": periods.lines.sum(),
        "net_spend": periods.net.sum(),
        "max_order": order.max(),
        "sum_orders": order.sum(),
        "sum_squared_orders": (squared * squared).sum(),
        "max_gap": gap.max(),
        "sum_squared_gaps": (gap * gap).sum(),
        "p90_gap": gap.quantile(0.9),
        # Decimals make the sum of logarithms exact, hence the same in any order; 14 digits.
        "sum_log_gaps": log_gap.sum(),
    }
    for weeks in WINDOWS:
        inside = periods.period >= _first_of(weeks, last_period, grain)
        measures[f"purchases_{weeks}w"] = periods.count(where=bought & inside)
        measures[f"net_spend_{weeks}w"] = periods.net.sum(where=inside).fill_null(0)
        if "margin" in periods.columns:
            measures[f"margin_{weeks}w"] = periods.margin.sum(where=inside).fill_null(0)
    if "margin" in periods.columns:
        measures["margin"] = periods.margin.sum().fill_null(0)
    if grain in ("hour", "day"):
        day = periods.period if grain == "day" else periods.period // 24
        # 1970-01-01 is a Thursday, so Saturdays and Sundays leave 2 and 3; before it, -5 and -4.
        measures["weekend"] = periods.count(where=bought & (day % 7).isin([2, 3, -5, -4]))
    return measures


def fill_shelves(lines: ir.Table, *, has_returns: bool, fit: bool = True) -> ir.Table | None:
    """Gather lines into one row per customer and category: the one pass over categories.

    Parameters
    ----------
    lines : Ibis table
        Own lines before the cutoff, with ``cents``.
    has_returns : bool
        Whether any amount is negative.
    fit : bool
        Whether rates of margins are to be fitted; see ``margin_sums``.

    Returns
    -------
    Ibis table or None
        ``customer_id``, ``category`` (null for lines without one), ``bought`` (purchase lines),
        ``value`` (of those, cents), ``last`` (their latest timestamp), and where the data have
        margins the sums of :func:`crmml.features.margins.margin_sums`. None where lines have
        neither category nor margin.
    """
    counted = lines.cents >= 0 if has_returns else None
    measures = margin_sums(lines, fit=fit)
    if not measures and "category" not in lines.columns:
        return None
    if "category" in lines.columns:
        measures["bought"] = lines.count(where=counted)
        measures["value"] = sum_cents(lines.cents, where=counted)
        measures["last"] = lines.timestamp.max(where=counted)
    if "category" in lines.columns:
        return lines.group_by("customer_id", "category").agg(**measures)
    shelves = lines.group_by("customer_id").agg(**measures)
    return shelves.mutate(category=ibis.null("string"))


def sum_categories(shelves: ir.Table, *, last_period: int, grain: Grain) -> ir.Table:
    """Gather breadth and concentration of categories, one row per customer."""
    shelves = shelves.filter(shelves.category.notnull(), shelves.bought > 0)
    value = shelves.value.cast("decimal(19,0)")  # as above
    recent = start_of(_first_of(26, last_period, grain), grain)
    return shelves.group_by("customer_id").agg(
        n_categories=shelves.count(),
        n_categories_26w=shelves.count(where=shelves["last"] >= recent),
        category_value=shelves.value.sum(),
        category_top=shelves.value.max(),
        category_squares=(value * value).sum(),
    )


def feature_columns(
    customers: ir.Table,
    *,
    cutoff: pd.Timestamp,
    last_period: int,
    grain: Grain,
    time_unit: TimeUnit,
    channels: Iterable[str],
) -> dict[str, ir.Value]:
    """Write the features from the sums of a customer, in floating point."""
    angle = 2 * math.pi * (cutoff.day_of_year - 1) / 365.25
    return {
        **_sums(customers),
        **_shares(customers, channels),
        **_gaps(customers, last_period, grain, time_unit),
        **_changes(customers, last_period, grain),
        **_orders(customers),
        "cutoff_season_sin": insist(ibis.literal(math.sin(angle)), "float64"),
        "cutoff_season_cos": insist(ibis.literal(math.cos(angle)), "float64"),
    }


def _share(part: ir.NumericValue, whole: ir.NumericValue) -> ir.FloatingValue:
    """Write a quotient, null where the denominator is not positive."""
    quotient = part.cast("float64") / whole.cast("float64")
    return (whole > 0).ifelse(quotient, ibis.null("float64"))


def _sums(c: ir.Table) -> dict[str, ir.Value]:
    """Write purchases and money, in trailing windows and to date."""
    present = set(c.columns)
    out: dict[str, ir.Value] = {}
    for weeks in WINDOWS:
        out[f"purchases_{weeks}w"] = c[f"purchases_{weeks}w"].cast("float64")
    for kind in ("net_spend", "margin"):
        for weeks in WINDOWS:
            if f"{kind}_{weeks}w" in present:
                out[f"{kind}_{weeks}w"] = currency(c[f"{kind}_{weeks}w"])
    out["net_spend"] = currency(c.net_spend)
    if "margin" in present:
        out["margin_to_date"] = currency(c.margin)
        out["margin_rate"] = _share(c.margin, c.net_spend)
    if "acquisition_cost" in present:
        cost = cents(c.acquisition_cost)
        out["acquisition_cost"] = currency(cost)
    return out


def _shares(c: ir.Table, channels: Iterable[str]) -> dict[str, ir.Value]:
    """Write the shares of returns, discounts, categories and channels."""
    present, channels = set(c.columns), list(channels)
    out: dict[str, ir.Value] = {}
    returned = c.returned if "returned" in present else ibis.literal(0)
    gross = c.net_spend + returned
    out["returns_share"] = _share(returned, gross)
    if "discount" in present:
        out["discount_share"] = _share(c.discount, gross + c.discount)
    if "n_categories" in present:
        total = c.category_value.cast("float64")
        for name in ("n_categories", "n_categories_26w"):
            out[name] = c[name].fill_null(0).cast("float64")
        out["category_concentration"] = _share(c.category_squares.cast("float64"), total * total)
        out["top_category_share"] = _share(c.category_top, c.category_value)
    squares = [c[name].cast("float64") * c[name] for name in channels]
    for name in channels:
        out[name] = _share(c[name], c.lines)
    if squares:
        # Without lines there are returns only; some engines refuse to divide by zero.
        whole = c.lines.cast("float64").nullif(0.0)
        out["channel_concentration"] = sum(squares[1:], squares[0]) / (whole * whole)
    return out


def _gaps(c: ir.Table, last_period: int, grain: Grain, time_unit: TimeUnit) -> dict[str, ir.Value]:
    """Write the gaps between purchases, and the one that is open."""

    def units(periods: ir.NumericValue) -> ir.FloatingValue:
        return in_time_units(periods, grain, time_unit)

    out: dict[str, ir.Value] = {}
    frequency = c.purchases - 1
    span, squared = (
        (c.last_period - c.first_period).cast("float64"),
        c.sum_squared_gaps.cast("float64"),
    )
    n = frequency.cast("float64")
    once, twice, missing = frequency >= 1, frequency >= 2, ibis.null("float64")
    spread = ibis.greatest(squared - span * span / n, 0.0) / (n - 1)
    out["gap_mean"] = once.ifelse(units(span) / n, missing)
    out["gap_sd"] = twice.ifelse(units(spread.sqrt()), missing)
    out["gap_regularity"] = once.ifelse(span * span / (n * squared), missing)
    out["gap_p90"] = units(c.p90_gap)
    out["gap_max"] = units(c.max_gap)
    lengths = MONTHS if grain in MONTHS else HOURS
    log_unit = math.log(lengths[grain] / lengths[time_unit])
    out["sum_log_gaps"] = c.sum_log_gaps.cast("float64").fill_null(0.0) + n * log_unit
    inactivity = (last_period - c.last_period).cast("float64")
    out["inactivity"] = units(inactivity)
    out["inactivity_ratio"] = once.ifelse(inactivity * n / span, missing)
    out["inactivity_p90_ratio"] = inactivity / c.p90_gap
    return out


def _changes(c: ir.Table, last_period: int, grain: Grain) -> dict[str, ir.Value]:
    """Write how the last quarter differs from what was before."""
    out: dict[str, ir.Value] = {}
    recent, before = c.purchases_13w, c.purchases_26w - c.purchases_13w
    out["purchase_trend"] = _share(recent - before, c.purchases_26w).fill_null(0.0)
    age = (last_period - c.first_period + 1).cast("float64")
    out["purchase_rate_ratio"] = (recent / ibis.least(age, float(_periods_in(13, grain)))) / (
        c.purchases / age
    )
    out["spend_change_13w"] = currency(2 * c.net_spend_13w - c.net_spend_26w)
    return out


def _orders(c: ir.Table) -> dict[str, ir.Value]:
    """Write values and sizes of orders."""
    present = set(c.columns)
    out: dict[str, ir.Value] = {}
    if "weekend" in present:
        out["weekend_share"] = _share(c.weekend, c.purchases)
    out["first_order_value"] = currency(c.first_net)
    out["last_order_value"] = currency(c.last_net)
    out["max_order_value"] = currency(c.max_order)
    orders, bought = c.sum_orders.cast("float64"), c.purchases.cast("float64")
    variance = ibis.greatest(c.sum_squared_orders.cast("float64") * bought - orders * orders, 0.0)
    out["order_value_cv"] = _share(variance.sqrt(), orders)
    out["mean_lines"] = _share(c.lines, c.purchases)
    if "quantity" in present:
        out["mean_quantity"] = _share(c.quantity, c.purchases)
    return out
