"""Scorecard: figures by period, whether they changed beyond noise, and what they are worth."""

from crmml.scorecard.control_charts import ControlChart, Step, control_chart
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard, compute_scorecard
from crmml.scorecard.retention_economics import CITED, compute_retention_economics

__all__ = [
    "CITED",
    "KPIS",
    "ControlChart",
    "Kpi",
    "Scorecard",
    "Step",
    "compute_retention_economics",
    "compute_scorecard",
    "control_chart",
]
