"""Reports: tables, lists and pages for people who open neither notebooks nor Parquet."""

from crmml.reports.lists import LISTS, Lists
from crmml.reports.page import report, write_report

__all__ = ["LISTS", "Lists", "report", "write_report"]
