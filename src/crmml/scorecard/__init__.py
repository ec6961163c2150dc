"""Scorecard: figures by period, whether they changed beyond noise, and what they are worth."""

from crmml.scorecard.assessment import Assessment, read_assessment, write_assessment_template
from crmml.scorecard.control_charts import ControlChart, Step, control_chart
from crmml.scorecard.improvement import Improvement, plan_improvement
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard, compute_scorecard
from crmml.scorecard.retention_costs import (
    RetentionCosts,
    compute_retention_costs,
    compute_retention_sensitivity,
)
from crmml.scorecard.retention_economics import CITED, compute_retention_economics
from crmml.scorecard.strategy import StrategyMap, compute_strategy_map

__all__ = [
    "CITED",
    "KPIS",
    "Assessment",
    "ControlChart",
    "Improvement",
    "Kpi",
    "RetentionCosts",
    "Scorecard",
    "Step",
    "StrategyMap",
    "compute_retention_costs",
    "compute_retention_economics",
    "compute_retention_sensitivity",
    "compute_scorecard",
    "compute_strategy_map",
    "control_chart",
    "plan_improvement",
    "read_assessment",
    "write_assessment_template",
]
