"""Open what a configuration names: its tables under its policies, and its cutoff."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crmml.config import Config, ConfigError, TableSource
from crmml.data.cleaning import Policies
from crmml.data.datasets import load_cdnow, load_complete_journey
from crmml.data.sources import Source, Tables, open_tables
from crmml.exceptions import TooLittleDataError
from crmml.features.windows import end_of_observation, read_moment


def open_configured(config: Config, transactions: Any = None, customers: Any = None) -> Tables:
    """Open the tables that a configuration names, or those given, under its data policies."""
    if isinstance(transactions, Tables):
        return transactions
    section = config.data
    if transactions is None:
        if section.transactions is None:
            raise ConfigError("name the transactions: data.transactions.path or .dataset")
        transactions = _source(section.transactions)
    if customers is None and section.customers is not None:
        customers = _source(section.customers)
    return open_tables(transactions, customers, policies=Policies(**section.policies.model_dump()))


def _source(source: TableSource) -> Any:
    if source.dataset == "complete_journey":
        return load_complete_journey().transactions
    if source.dataset is not None:
        return load_cdnow(sample=source.dataset == "cdnow_sample")
    settings = source.model_dump(exclude={"dataset", "path"})
    return Source(source.path, **{**settings, "columns": source.columns or None})


def training_cutoff(config: Config, tables: Tables) -> pd.Timestamp:
    """Return the configured cutoff, or the end of the last day of the data.

    Raises
    ------
    ConfigError
        If the cutoff is no date.
    TooLittleDataError
        If it lies before all data.
    """
    end = end_of_observation(tables.last_timestamp)
    if config.cutoff is None:
        return end
    cutoff = read_moment(config.cutoff, "cutoff")
    if cutoff <= tables.first_timestamp:
        raise TooLittleDataError(
            f"nothing lies before the cutoff {cutoff}; the data run from {tables.first_timestamp} "
            f"to {tables.last_timestamp}"
        )
    if cutoff > end:
        raise TooLittleDataError(
            f"the data end on {tables.last_timestamp.date()}, before the cutoff {cutoff}: the "
            "days between would be taken for silence"
        )
    return cutoff
