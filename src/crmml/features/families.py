"""Families of features: what belongs together when a model's reasons are told."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "silence": ("inactivity", "inactivity_ratio", "inactivity_p90_ratio"),
    "frequency": ("frequency", "purchases_*w"),
    "age": ("T", "recency"),
    "rhythm": ("gap_*", "sum_log_gaps"),
    "trend": ("purchase_trend", "purchase_rate_ratio", "spend_change_13w"),
    "spend": (
        *("net_spend*", "margin_*", "monetary_value", "first_order_value", "last_order_value"),
        *("max_order_value", "order_value_cv", "acquisition_cost"),
    ),
    "basket": ("mean_lines", "mean_quantity"),
    "assortment": ("n_categories*", "category_concentration", "top_category_share"),
    "channels": ("channel_*", "weekend_share"),
    "reductions": ("returns_share", "discount_share"),
    "season": ("cutoff_season_*",),
    "process": ("no_purchase_probability",),
    "other": ("*",),
}
"""Patterns of the names of features by family; the first family that has a name takes it."""


@lru_cache(maxsize=1024)
def family_of(feature: str) -> str:
    """Name the family of a feature.

    Examples
    --------
    >>> family_of("inactivity_ratio"), family_of("purchases_13w"), family_of("shoe_size")
    ('silence', 'frequency', 'other')
    """
    return next(
        family
        for family, patterns in FAMILIES.items()
        if any(fnmatchcase(feature, pattern) for pattern in patterns)
    )
