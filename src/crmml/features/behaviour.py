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
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crmml._typing import MONTHS, FloatArray, Grain, IntArray, TimeUnit
from crmml.features.histories import Histories
from crmml.features.in_order import Piece, by_customer, count_codes, number_names
from crmml.features.purchases import HOURS, cents
from crmml.stats.runs import Runs, sort_by

if TYPE_CHECKING:
    import ibis.expr.types as ir

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


_TEN_THOUSANDTHS = 10_000
"""Quantities have four decimals."""


def line_columns(lines: ir.Table, channels: Mapping[str, str]) -> dict[str, Any]:
    """Write what the features need of each line beside customer, period and money.

    Parameters
    ----------
    lines : Ibis table
        Own lines before the cutoff.
    channels : mapping of str to str
        Those with a column of their own.
    """
    found: dict[str, Any] = {}
    if "category" in lines.columns:
        found["category"] = lines.category
    if channels:
        found["channel"] = lines.channel
    if "discount" in lines.columns:
        found["discount"] = cents(lines.discount)
    if "quantity" in lines.columns:
        found["quantity"] = (lines.quantity * _TEN_THOUSANDTHS).cast("int64")
    return found


def feature_columns(
    piece: Piece,
    histories: Histories,
    *,
    cutoff: pd.Timestamp,
    time_unit: TimeUnit,
    channels: Mapping[str, str],
) -> dict[str, FloatArray]:
    """Compute the features that the log alone tells; missing values are NaN.

    Parameters
    ----------
    piece : Piece
        Lines with ``cents`` and the columns of :func:`line_columns`.
    histories : Histories
        The same lines, a row per period.
    cutoff : Timestamp
    time_unit : str
        Of the gaps.
    channels : mapping of str to str
        Channel to column.

    Returns
    -------
    dict of str to ndarray, each of shape (n,)
    """
    angle = 2 * math.pi * (cutoff.day_of_year - 1) / 365.25
    n = len(histories)
    return {
        **_money(histories),
        **_shares(piece, histories, channels),
        **_categories(piece, histories),
        **_gaps(histories, time_unit),
        **_changes(histories),
        **_orders(piece, histories),
        "cutoff_season_sin": np.full(n, math.sin(angle)),
        "cutoff_season_cos": np.full(n, math.cos(angle)),
    }


def _share(part: IntArray | FloatArray, whole: IntArray | FloatArray) -> FloatArray:
    """Return a quotient, NaN where the denominator is not positive."""
    some = whole > 0
    quotient = np.asarray(part, dtype=np.float64) / np.where(some, whole, 1)
    return np.where(some, quotient, np.nan)


def _periods_in(weeks: int, grain: Grain) -> int:
    """Return how many periods some weeks are; 13 are three months or a quarter of the calendar."""
    if grain in MONTHS:
        return max(round(weeks * 3 / 13) // MONTHS[grain], 1)
    return weeks * HOURS["week"] // HOURS[grain]


def _first_of(weeks: int, histories: Histories) -> int:
    return histories.last_period + 1 - _periods_in(weeks, histories.grain)


def _count_since(histories: Histories, weeks: int) -> IntArray:
    """Count the purchases of the last weeks."""
    runs, _, period, _ = histories.orders
    return runs.sum(period >= _first_of(weeks, histories))


def _sum_since(histories: Histories, values: IntArray, weeks: int) -> IntArray:
    """Sum what the periods of the last weeks hold."""
    return histories.runs.sum(np.where(histories.period >= _first_of(weeks, histories), values, 0))


def _money(h: Histories) -> dict[str, FloatArray]:
    """Return purchases and money, in trailing windows and to date."""
    out: dict[str, FloatArray] = {}
    for weeks in WINDOWS:
        out[f"purchases_{weeks}w"] = _count_since(h, weeks).astype(np.float64)
    for weeks in WINDOWS:
        out[f"net_spend_{weeks}w"] = _sum_since(h, h.net, weeks) / 100.0
    net = h.runs.sum(h.net)
    out["net_spend"] = net / 100.0
    if h.margin is not None:
        for weeks in WINDOWS:
            out[f"margin_{weeks}w"] = _sum_since(h, h.margin, weeks) / 100.0
        margin = h.runs.sum(h.margin)
        out["margin_to_date"] = margin / 100.0
        out["margin_rate"] = _share(margin, net)
    return out


def _shares(piece: Piece, h: Histories, channels: Mapping[str, str]) -> dict[str, FloatArray]:
    """Return the shares of returns, discounts and channels."""
    known, lines = piece.columns, Runs(piece.place)
    bought = known["cents"] >= 0
    out: dict[str, FloatArray] = {}
    gross = lines.sum(np.where(bought, known["cents"], 0))
    out["returns_share"] = _share(lines.sum(np.where(bought, 0, -known["cents"])), gross)
    if "discount" in known:
        discount = lines.sum(np.where(bought, known["discount"], 0))
        out["discount_share"] = _share(discount, gross + discount)
    if not channels:
        return out
    whole = lines.sum(bought)
    codes = number_names(piece, "channel", [*channels])
    counts = count_codes(piece, codes, len(channels), bought)
    squares = np.zeros(len(h))
    for name, count in zip(channels.values(), counts, strict=True):
        out[name] = _share(count, whole)
        squares += count.astype(np.float64) ** 2
    out["channel_concentration"] = squares / whole.astype(np.float64) ** 2
    return out


def _categories(piece: Piece, h: Histories) -> dict[str, FloatArray]:
    """Return breadth and concentration of categories."""
    if "category" not in piece.columns:
        return {}
    known = piece.columns
    rows = (known["cents"] >= 0) & (known["category"] < len(piece.names["category"]))
    order, key = sort_by(piece.place[rows], known["category"][rows])
    place, period, value = (c[rows][order] for c in (piece.place, known["period"], known["cents"]))
    shelves = Runs(key)
    place, recent = shelves.first(place), shelves.max(period) >= _first_of(26, h)
    value = shelves.sum(value)
    runs, n = Runs(place), len(h)
    counts = {
        "n_categories": runs.sizes,
        "n_categories_26w": runs.sum(recent),
        "value": runs.sum(value),
        "top": runs.max(value),
        "squares": runs.sum(value.astype(np.float64) ** 2),
    }
    whole = {name: by_customer(runs, place, count, n) for name, count in counts.items()}
    total = whole["value"].astype(np.float64)
    return {
        "n_categories": whole["n_categories"].astype(np.float64),
        "n_categories_26w": whole["n_categories_26w"].astype(np.float64),
        "category_concentration": _share(whole["squares"], total * total),
        "top_category_share": _share(whole["top"], total),
    }


def _gaps(h: Histories, time_unit: TimeUnit) -> dict[str, FloatArray]:
    """Return the gaps between purchases, and the one that is open."""

    def units(periods: IntArray | FloatArray) -> FloatArray:
        return h.elapsed(periods, time_unit)

    place, gap = h.gaps
    p90, longest, squared, logs = _measure_gaps(place, gap, len(h))
    frequency = h.purchases - 1
    once, twice = frequency >= 1, frequency >= 2
    n = np.where(once, frequency, 1).astype(np.float64)
    span = np.where(once, h.last - h.first, 1).astype(np.float64)
    spread = np.maximum(squared - span * span / n, 0.0) / np.where(twice, n - 1, 1.0)
    inactivity = (h.last_period - h.last).astype(np.float64)
    lengths = MONTHS if h.grain in MONTHS else HOURS
    log_unit = math.log(lengths[h.grain] / lengths[time_unit])
    return {
        "gap_mean": np.where(once, units(span) / n, np.nan),
        "gap_sd": np.where(twice, units(np.sqrt(spread)), np.nan),
        "gap_regularity": np.where(once, span * span / (n * squared), np.nan),
        "gap_p90": units(p90),
        "gap_max": units(longest),
        "sum_log_gaps": logs + frequency * log_unit,
        "inactivity": units(inactivity),
        "inactivity_ratio": np.where(once, inactivity * n / span, np.nan),
        "inactivity_p90_ratio": inactivity / p90,
    }


def _measure_gaps(place: IntArray, gap: IntArray, n: int) -> tuple[FloatArray, ...]:
    """Return 90th percentile, maximum, sum of squares and of logarithms, each of shape (n,).

    Of customers without a gap the first two are NaN, the sum of squares 1, that of logarithms 0.
    """
    runs, width = Runs(place), int(gap.max(initial=0)) + 1
    # Sorting one number for both keys keeps each customer's gaps together and puts them in order.
    rising = np.sort(place * width + gap) - place * width
    # The same in any order of the rows: gaps come in the order of time.
    logs = np.log(np.arange(1, width + 1, dtype=np.float64))[gap - 1]
    measured = (
        (np.nan, runs.quantile(rising, 0.9)),
        (np.nan, runs.last(rising)),
        (1.0, runs.sum(gap * gap)),
        (0.0, runs.sum(logs)),
    )
    return tuple(by_customer(runs, place, values, n, without) for without, values in measured)


def _changes(h: Histories) -> dict[str, FloatArray]:
    """Return how the last quarter differs from what was before."""
    recent, half = _count_since(h, 13), _count_since(h, 26)
    age = (h.last_period - h.first + 1).astype(np.float64)
    trend = _share(2 * recent - half, half)
    quarter = np.minimum(age, float(_periods_in(13, h.grain)))
    change = 2 * _sum_since(h, h.net, 13) - _sum_since(h, h.net, 26)
    return {
        "purchase_trend": np.where(half > 0, trend, 0.0),
        "purchase_rate_ratio": (recent / quarter) / (h.purchases / age),
        "spend_change_13w": change / 100.0,
    }


def _orders(piece: Piece, h: Histories) -> dict[str, FloatArray]:
    """Return values and sizes of orders."""
    runs, _, period, net = h.orders
    out: dict[str, FloatArray] = {}
    if h.grain in ("hour", "day"):
        day = period if h.grain == "day" else period // 24
        # 1970-01-01 is a Thursday, so Saturdays and Sundays leave 2 and 3.
        weekday = day % 7
        out["weekend_share"] = _share(runs.sum((weekday == 2) | (weekday == 3)), h.purchases)
    out["first_order_value"] = h.first_net / 100.0
    out["last_order_value"] = h.last_net / 100.0
    out["max_order_value"] = runs.max(net) / 100.0
    orders, bought = runs.sum(net).astype(np.float64), h.purchases.astype(np.float64)
    squared = runs.sum(net.astype(np.float64) ** 2)
    variance = np.maximum(squared * bought - orders * orders, 0.0)
    out["order_value_cv"] = _share(np.sqrt(variance), orders)
    out["mean_lines"] = h.runs.sum(h.lines) / bought
    if "quantity" in piece.columns:
        rows = piece.columns["cents"] >= 0
        units = Runs(piece.place).sum(np.where(rows, piece.columns["quantity"], 0))
        out["mean_quantity"] = (units / _TEN_THOUSANDTHS) / bought
    return out
