"""Pictures: each ``plot_*`` draws the table that a ``compute_*`` returned, and computes nothing.

Every function takes ``ax`` (a new figure is made without one) and returns it.
"""

from crmml.plots.budget import plot_budget_curve
from crmml.plots.changes import plot_class_flows, plot_flows
from crmml.plots.cohorts import plot_cohort_retention
from crmml.plots.customer import plot_contract, plot_customer
from crmml.plots.judgement import (
    plot_calibration,
    plot_gain_curve,
    plot_importance,
    plot_leaderboard,
    plot_pit_histogram,
    plot_profit_curve,
    plot_reliability,
)
from crmml.plots.monitoring import plot_buckets, plot_gaps
from crmml.plots.over_time import (
    plot_active,
    plot_new_customers,
    plot_pyramids,
    plot_value_by_period,
)
from crmml.plots.purchases import (
    plot_alive_path,
    plot_calendar_profile,
    plot_heterogeneity,
    plot_holdout_by_frequency,
    plot_iso_value,
    plot_matrix,
    plot_newcomer_effect,
    plot_tracking,
)
from crmml.plots.scorecard import (
    plot_control_chart,
    plot_parts,
    plot_retention_costs,
    plot_retention_worth,
    plot_sensitivity,
)
from crmml.plots.strategy import plot_strategy_map
from crmml.plots.value import plot_pareto_curve, plot_tier_profile

__all__ = [
    "plot_active",
    "plot_alive_path",
    "plot_buckets",
    "plot_budget_curve",
    "plot_calendar_profile",
    "plot_calibration",
    "plot_class_flows",
    "plot_cohort_retention",
    "plot_contract",
    "plot_control_chart",
    "plot_customer",
    "plot_flows",
    "plot_gain_curve",
    "plot_gaps",
    "plot_heterogeneity",
    "plot_holdout_by_frequency",
    "plot_importance",
    "plot_iso_value",
    "plot_leaderboard",
    "plot_matrix",
    "plot_new_customers",
    "plot_newcomer_effect",
    "plot_pareto_curve",
    "plot_parts",
    "plot_pit_histogram",
    "plot_profit_curve",
    "plot_pyramids",
    "plot_reliability",
    "plot_retention_costs",
    "plot_retention_worth",
    "plot_sensitivity",
    "plot_strategy_map",
    "plot_tier_profile",
    "plot_tracking",
    "plot_value_by_period",
]
