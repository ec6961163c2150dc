"""What a training says of its probability of churn: profit, level, and where it is worst."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crmml.data.schema import CUSTOMERS
from crmml.data.tables import Tables
from crmml.features.labels import LabelledSnapshot
from crmml.metrics.profit import CLV, CONTACT_COST, INCENTIVE_COST
from crmml.models.churn.guards import find_churn_leaks
from crmml.models.churn.selection import ChurnSelection
from crmml.notes import Note
from crmml.training.served import PREFIX, Served, worst_group


def churn_notes(served: Served, churn: ChurnSelection) -> list[Note]:
    """Say what the ranking earns, how its level was settled and which group is least calibrated.

    Parameters
    ----------
    served : Served
        In the window that grades.
    churn : ChurnSelection
        The churn model that the data allow.
    """
    notes = []
    values = dict(zip(served.replicates.rows, served.replicates.values.tolist(), strict=True))
    profit = [
        values.get(("served", f"{PREFIX}churn_{name}"), np.nan)
        for name in ("empc", "empc_share", "own_value_profit", "own_value_profit_share")
    ]
    if np.isfinite(profit[0]):
        text = (
            f"contacting the {profit[1]:.0%} most likely to churn would earn {profit[0]:,.2f} per "
            f"customer (EMPC: a customer kept is worth {CLV:g}, an offer costs "
            f"{INCENTIVE_COST:g}, a contact {CONTACT_COST:g})"
        )
        if np.isfinite(profit[2]):
            text += (
                f"; by each customer's own lifetime value and costs in proportion "
                f"{profit[2]:,.2f}, contacting {profit[3]:.0%}"
            )
        notes.append(Note("churn_profit", "info", text, "churn"))
    if churn.finding:
        notes.append(Note("churn_too_good", "ask", churn.finding, "churn"))
    if churn.level is not None:
        notes.append(Note("churn_level", "info", str(churn.level), "churn"))
    if served.churn is not None and (text := worst_group(served.churn)):
        notes.append(Note("churn_worst_group", "info", text, "churn"))
    return notes


def leak_notes(tables: Tables, history: Sequence[LabelledSnapshot]) -> list[Note]:
    """Say which of the further columns of the customers table may know who churned.

    They are no features here, but conditions of actions and models of one's own may rest on them.

    Parameters
    ----------
    tables : Tables
        The validated data.
    history : sequence of LabelledSnapshot
        Of whose newest window the outcomes are compared with the columns.
    """
    table = tables.customers
    if table is None or not history:
        return []
    known = {column.name for column in CUSTOMERS.columns}
    names = [n for n in table.columns if n not in known and not n.startswith("contactable_")]
    if not names:
        return []
    newest = max(history, key=lambda part: part.window.cutoff)
    frame = table.select("customer_id", *names).to_pandas().set_index("customer_id")
    own = frame.reindex(newest.snapshot.customer_id).reset_index(drop=True)
    return [
        Note(
            f"own_column_{found.kind}",
            "info" if found.kind in ("id", "constant", "missing") else "warn",
            f"column {found.column!r} {found.evidence}; let no action, model or report that looks "
            "ahead rest on it unless it was known beforehand",
            "customers",
            "data",
        )
        for found in find_churn_leaks(own, newest)
    ]
