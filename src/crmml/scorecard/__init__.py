"""Scorecard: figures by period, whether they changed beyond noise, and what they are worth."""

from crmml.scorecard.control_charts import ControlChart, Step, control_chart

__all__ = ["ControlChart", "Step", "control_chart"]
