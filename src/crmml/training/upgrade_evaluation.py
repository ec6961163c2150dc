"""Evaluate upgrade probabilities: score at two cutoffs and count who reached the next tier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from crmml.data.tables import Tables
from crmml.features.margins import MarginRates
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window
from crmml.metrics.calibration import compare_mean_probability
from crmml.notes import Note, Severity
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.predictors import Moment, Predictor, predict_all
from crmml.scoring.profit import NET_VALUE, Profit, Upgrades


def evaluate_upgrades(
    bundle: ScoringBundle, tables: Tables, window: Window, snapshot: Snapshot
) -> pd.DataFrame | None:
    """Compare upgrade probabilities at the cutoff of a window with who moved up by its end.

    The same bundle scores at both ends: what is judged is the forecast of its own later value, not
    the value itself, which the other metrics judge.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on what was known at the cutoff of the window.
    tables : Tables
        The checked data, to the end of the window at least.
    window : Window
        Without a gap.
    snapshot : Snapshot
        At its cutoff.

    Returns
    -------
    DataFrame or None
        See :func:`crmml.metrics.calibration.compare_mean_probability`: ``all``, and by the tier
        from which customers set out. None where the bundle gives no such probability.
    """
    asked = _predictors(bundle)
    upgrades = next((p for p in asked if isinstance(p, Upgrades)), None)
    if upgrades is None:
        return None
    before = predict_all(asked, Moment(tables, snapshot))
    manifest = bundle.manifest
    later = build_snapshot(
        tables,
        window.closes,
        grain=manifest.grain,
        time_unit=manifest.time_unit,
        channels=manifest.channels,
        own_seller=manifest.own_seller,
        margins=None if manifest.margins is None else MarginRates.from_dict(manifest.margins),
    )
    values = [p for p in asked if not isinstance(p, Upgrades)]
    after = predict_all(values, Moment(tables, later))[NET_VALUE].loc[before.index]
    goal = upgrades.segments.next_cut_point(before[NET_VALUE])
    below = goal.notna().to_numpy()
    if not below.any():
        return None
    tier = upgrades.segments.assign(before[NET_VALUE])[below]
    groups = {"all": np.ones(int(below.sum()), dtype=bool)}
    groups |= {f"from {name}": (tier == name).to_numpy() for name in "BCDE" if (tier == name).any()}
    return compare_mean_probability(
        (after >= goal)[below].to_numpy().astype(np.float64),
        before["upgrade_probability"][below].to_numpy(np.float64),
        groups,
    )


def _predictors(bundle: ScoringBundle) -> list[Predictor]:
    """Return what an upgrade rests on, without what other predictors ask for."""
    return [
        replace(p, margin_horizons=(), windows=()) if isinstance(p, LifetimeValue) else p
        for p in bundle.predictors
        if isinstance(p, (LifetimeValue, Profit, Upgrades))
    ]


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
