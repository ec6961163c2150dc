"""Predictors of what is known of a customer: the history, what the customers table says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

from crmml.scoring.predictors import Dtype, Moment, Output


@dataclass(frozen=True)
class History:
    """What a customer has done up to the cutoff."""

    name: ClassVar[str] = "history"
    tables: ClassVar[frozenset[str]] = frozenset({"transactions"})
    reads: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("frequency", "number", "purchases", "repeat purchases: purchases less the first"),
        Output("recency", "number", "time units", "last purchase less first purchase"),
        Output("T", "number", "time units", "end of the observation less first purchase"),
        Output("monetary_value", "number", "currency", "mean net spend per repeat purchase"),
        Output("inactivity", "number", "time units", "time since the last purchase: T - recency"),
        Output("net_spend", "number", "currency", "revenue to date less returns"),
        Output("customer_profitability", "number", "currency", "revenue less cost to date"),
        Output(
            "purchase_trend",
            "number",
            "-1 to 1",
            "purchases of the last 13 weeks less those of the 13 before, by both",
            served=False,
        ),
    )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Read the snapshot."""
        snapshot = moment.snapshot
        table = snapshot.frame.set_index("customer_id")
        why = snapshot.provenance.get("absent", {}).get("profit_to_date")
        if why is not None:
            moment.leave_out("customer_profitability", why)
        return table.assign(
            inactivity=table["T"] - table["recency"],
            customer_profitability=float("nan") if why else table["profit_to_date"],
        )


@dataclass(frozen=True)
class Attributes:
    """What the customers table says: the group, the consent, what conditions of actions ask for.

    Attributes
    ----------
    further : mapping of str to str
        Columns besides ``group`` and ``contactable``, with what they hold
        (:data:`~crmml.scoring.predictors.Dtype`).
    group : str
        The column that is served as ``group``.
    """

    further: Mapping[str, Dtype] = field(default_factory=dict)
    group: str = "industry"

    name: ClassVar[str] = "attributes"
    tables: ClassVar[frozenset[str]] = frozenset()
    reads: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Columns of the customers table."""
        return (
            Output("group", "text", "", f"`{self.group}`, as the customers table says"),
            Output("contactable", "flag", "", "may be contacted"),
            *(
                Output(name, dtype, "", "as the customers table says")
                for name, dtype in self.further.items()
            ),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Read the customers table."""
        people = moment.table("customers")
        known = () if people is None else people.columns
        source = {o.name: self.group if o.name == "group" else o.name for o in self.outputs}
        for name, column in source.items():
            if column not in known:
                reason = f"needs the column `{column}` of the table `customers`"
                if name == "contactable":
                    reason += "; until then the policy for unknown consent decides"
                moment.leave_out(name, reason)
        wanted = {name: column for name, column in source.items() if column in known}
        if not wanted:
            return pd.DataFrame(index=moment.base.customer_id)

        def read() -> pd.DataFrame:
            columns = {name: people[column] for name, column in wanted.items()}
            if "group" in columns:  # any attribute, a number too
                columns["group"] = columns["group"].cast("string")
            table: pd.DataFrame = people.select("customer_id", **columns).to_pandas()
            return table.set_index("customer_id")

        return moment.shared(self.name, read).reindex(moment.base.customer_id)
