"""Reports: tables, lists and pages for people who open neither notebooks nor Parquet."""

from crmml.reports.lists import Lists
from crmml.reports.page import report, report_training, write_report
from crmml.storage.scores import LISTS

__all__ = ["LISTS", "Lists", "report", "report_training", "write_report"]
