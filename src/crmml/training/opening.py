"""Open what a configuration names: its tables under its policies, and its cutoff."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pandas as pd

from crmml.config import Config, ConfigError, TableSource
from crmml.data.datasets import load_cdnow, load_complete_journey
from crmml.data.reading import Source
from crmml.data.settings import Policies, ReadSettings
from crmml.data.tables import STARTS, Tables, by_name, open_tables
from crmml.exceptions import TooLittleDataError
from crmml.features.contracts import contract_span
from crmml.features.windows import end_of_observation, read_moment
from crmml.scoring.bases import kind_of


def open_configured(
    config: Config,
    tables: Any = None,
    customers: Any = None,
    *,
    transactions: Any = None,
    policies: Policies | None = None,
) -> Tables:
    """Open the tables that a configuration names, or those given, under its data policies.

    Parameters
    ----------
    config : Config
        Its section ``data`` names tables and policies.
    tables : Tables, log or mapping of table name to table, optional
        Instead of those of the configuration of the same name.
    customers, transactions : DataFrame, Arrow table or path, optional
        The customers beside a log; the log by its name.
    policies : Policies, optional
        Instead of those of the configuration: a bundle's, for scoring.

    Raises
    ------
    ConfigError
        If no table is named from which anything can be computed.
    """
    if isinstance(tables, Tables):
        return tables
    given = by_name(tables, customers, transactions=transactions)
    section = config.data
    sources = {name: _source(at) for name, at in section.tables.items() if name not in given}
    if not any(name in STARTS for name in (*sources, *given)):
        raise ConfigError(
            "name the transactions: data.transactions.path or .dataset (or contracts alone: "
            "data.subscriptions.path)"
        )
    every = {**sources, **given}
    if config.value.per_purchase is not None and "transactions" in every:
        every["transactions"] = _priced(every["transactions"], config.value.per_purchase)
    return open_tables(every, policies=policies or section.policies)


def labelled_source(config: Config) -> Any:
    """Return the labelled table of a configuration, unread; None where it names none."""
    source = config.data.labelled
    return None if source is None else _source(source)


def _priced(log: Any, worth: float) -> Source:
    """Return a log without amounts in which each purchase is worth so much."""
    if isinstance(log, Source) and not log.without_amounts:
        raise ConfigError(
            "value.per_purchase is for a log without amounts: set data.transactions.without_amounts"
            ": true, or leave it out"
        )
    if isinstance(log, Source):
        return replace(log, amount_per_purchase=worth)
    return Source(log, without_amounts=True, amount_per_purchase=worth)


def _source(source: TableSource) -> Any:
    if source.path is not None:
        settings = {field.name: getattr(source, field.name) for field in fields(ReadSettings)}
        return Source(source.path, **settings)
    if source.dataset in ("complete_journey", "complete_journey_brands"):
        return load_complete_journey(brands=source.dataset.endswith("brands")).transactions
    return load_cdnow(sample=source.dataset == "cdnow_sample")


def training_cutoff(config: Config, tables: Tables) -> pd.Timestamp:
    """Return the configured cutoff, or the end of the last day of the data.

    Raises
    ------
    ConfigError
        If the cutoff is no date.
    MissingTableError
        If there is neither a log nor contracts.
    TooLittleDataError
        If it lies before all data.
    """
    first, last, latest = _span(tables)
    if config.cutoff is None:
        return end_of_observation(last, config.snapshot.grain)
    end = end_of_observation(latest, config.snapshot.grain)
    cutoff = read_moment(config.cutoff, "cutoff")
    if cutoff <= first:
        raise TooLittleDataError(
            f"nothing lies before the cutoff {cutoff}; the data run from {first} to {last}"
        )
    if cutoff > end:
        raise TooLittleDataError(
            f"the data end on {latest.date()}, before the cutoff {cutoff}: the "
            "days between would be taken for silence"
        )
    return cutoff


def _span(tables: Tables) -> tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]:
    """Return the first and the last event of the table that a training starts from.

    Third is the last one that is written down, which of contracts may lie ahead.
    """
    if kind_of(tables) == "contracts":
        span = contract_span(tables)
        return tables.span("subscriptions")[0], span.last, span.announced_until
    return tables.first_timestamp, tables.last_timestamp, tables.last_timestamp
