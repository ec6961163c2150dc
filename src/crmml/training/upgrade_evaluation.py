"""Evaluate upgrade probabilities: score at two cutoffs and count who reached the next tier."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crmml.data.tables import Tables
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window
from crmml.metrics.calibration import compare_mean_probability
from crmml.notes import Note, Severity
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.profit import NET_VALUE, Profit, Upgrades
from crmml.scoring.scorer import settings_of_snapshot


def evaluate_upgrades(
    bundle: ScoringBundle,
    tables: Tables,
    window: Window,
    scored: pd.DataFrame,
    newest: Snapshot | None = None,
) -> pd.DataFrame | None:
    """Compare upgrade probabilities at the cutoff of a window with who moved up by its end.

    The same bundle values the customers at both ends: what is judged is the forecast of its own
    later value, not the value itself, which the other metrics judge.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on what was known at the cutoff of the window.
    tables : Tables
        The checked data, to the end of the window at least.
    window : Window
        Without a gap.
    scored : DataFrame
        What the bundle served at its cutoff, keyed by customer.
    newest : Snapshot, optional
        Of these tables at the end of the data: where the window ends there too, it is not built
        again.

    Returns
    -------
    DataFrame or None
        See :func:`crmml.metrics.calibration.compare_mean_probability`: ``all``, and by the tier
        from which customers set out. None where the bundle gives no such probability.
    """
    upgrades = next((p for p in bundle.predictors if isinstance(p, Upgrades)), None)
    if upgrades is None or not {NET_VALUE, "upgrade_probability"} <= set(scored):
        return None
    goal = upgrades.segments.next_cut_point(scored[NET_VALUE])
    below = (goal.notna() & scored["upgrade_probability"].notna()).to_numpy()
    if not below.any():
        return None
    # Margins are shrunk by the rates of the bundle, which a snapshot at hand does not rest on.
    if newest is None or newest.cutoff != window.closes or "expected_margin_ratio" in newest.frame:
        settings = settings_of_snapshot(bundle.manifest, tables)
        newest = build_snapshot(tables, window.closes, **settings)
    after = _net_value(bundle, newest).reindex(scored.index)
    tier = upgrades.segments.assign(scored[NET_VALUE])[below]
    groups = {"all": np.ones(int(below.sum()), dtype=bool)}
    groups |= {f"from {name}": (tier == name).to_numpy() for name in "BCDE" if (tier == name).any()}
    return compare_mean_probability(
        (after >= goal)[below].to_numpy().astype(np.float64),
        scored["upgrade_probability"][below].to_numpy(np.float64),
        groups,
    )


def _net_value(bundle: ScoringBundle, snapshot: Snapshot) -> pd.Series[float]:
    """Value customers as the scores would, without their intervals."""
    profit = next(p for p in bundle.predictors if isinstance(p, Profit))
    ahead = bundle.lifetime_value.ahead(snapshot, profit.value_horizon)
    return ahead.clv() if profit.costs is None else ahead.clv() - profit.costs.expected(ahead)


def upgrade_note(table: pd.DataFrame) -> Note:
    """Say in one sentence how true the upgrade probabilities were."""
    rows = [
        f"{group}: {row.probability:.1%} expected, {row.happened:.1%} of {row.customers:,} moved "
        f"up ({row.low:.1%} to {row.high:.1%})"
        for group, row in zip(table.index, table.itertuples(), strict=True)
    ]
    text = f"upgrade probability, scored one horizon apart: {'; '.join(rows)}"
    severity: Severity = "info" if table["met"].all() else "warn"
    return Note("upgrade_calibration", severity, text, "tiers", "decisions")
