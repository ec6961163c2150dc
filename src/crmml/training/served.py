"""Evaluate what is served: score with a bundle at a test cutoff, compare with what happened."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.config import Config
from crmml.data.tables import Tables
from crmml.exceptions import ComparisonError
from crmml.features.labels import build_outcomes
from crmml.features.windows import Window
from crmml.metrics import classification, counts, ranking
from crmml.metrics.bootstrap import Replicates, Statistic, hash_keys, replicate
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.scorer import score
from crmml.training.backtest import Backtest
from crmml.training.fit import fit_bundle
from crmml.training.opening import training_cutoff
from crmml.training.plan import Plan, find_test_windows


def evaluate_served(plan: Plan, backtest: Backtest) -> Replicates:
    """Bundle what was known at the newest test cutoff, score, and compare.

    Parameters
    ----------
    plan : Plan
        Of the training.
    backtest : Backtest
        Its newest window is the test.
    """
    newest = backtest.windows[-1].labelled
    bundle = fit_bundle(plan, newest.snapshot, backtest).bundle
    return evaluate_bundle(bundle, plan.config, plan.tables, newest.window, newest.outcomes)


def evaluate_champion(bundle: ScoringBundle, config: Config, tables: Tables) -> Replicates:
    """Evaluate a bundle trained elsewhere on the newest window of a configuration's backtest.

    The bundle scores through :func:`crmml.score`, like the one that a training evaluates there, and
    the bootstrap resamples the same customers, so that the two are paired.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on data before the window.
    config : Config
        Of the training to compare with.
    tables : Tables
        Its data.

    Returns
    -------
    Replicates
        See :func:`evaluate_scores`.

    Raises
    ------
    ComparisonError
        If the bundle knows a part of the window, or forecasts something else.
    """
    outcome, section = config.outcome, config.snapshot
    for name, here in (("horizon", outcome.horizon), ("grain", section.grain)):
        if (there := getattr(bundle.manifest, name)) != here:
            raise ComparisonError(f"one forecasts with the {name} {there}, the other with {here}")
    window = find_test_windows(config, tables)[-1]
    trained = pd.Timestamp(bundle.manifest.cutoff)
    if trained > window.cutoff:
        ready = trained + (window.closes - window.cutoff)
        raise ComparisonError(
            f"the champion, trained on data up to {trained.date()}, knows a part of the outcome "
            f"window that begins on {window.cutoff.date()}, so it cannot be evaluated fairly; "
            f"a challenger whose data run to {ready.date()} can be compared with it"
        )
    happened = build_outcomes(
        tables, window, grain=section.grain, own_seller=config.data.own_seller
    )
    return evaluate_bundle(bundle, config, tables, window, happened)


def evaluate_bundle(
    bundle: ScoringBundle,
    config: Config,
    tables: Tables,
    window: Window,
    happened: pd.DataFrame,
) -> Replicates:
    """Score with a bundle at the cutoff of a test window, and compare with its outcomes.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on data before the window.
    config : Config
        Of the training.
    tables : Tables
        Its data.
    window : Window
        Without a gap.
    happened : DataFrame
        Outcomes in the window, from :func:`crmml.features.labels.build_outcomes`.
    """
    scored = score(bundle, tables, window.cutoff).table.set_index("customer_id")
    churned = None
    after_gap = Window(window.cutoff, config.outcome.horizon, config.outcome.gap)
    if (after_gap.opens, after_gap.closes) == (window.opens, window.closes):
        churned = happened["churned"]
    elif after_gap.closes <= training_cutoff(config, tables):
        grain, own_seller = config.snapshot.grain, config.data.own_seller
        outcomes = build_outcomes(tables, after_gap, grain=grain, own_seller=own_seller)
        churned = outcomes["churned"]
    n_boot, seed = config.backtest.bootstrap, config.seed
    return evaluate_scores(scored, happened, churned, n_boot=n_boot, seed=seed)


def evaluate_scores(
    predicted: pd.DataFrame,
    outcomes: pd.DataFrame,
    churned: pd.Series[bool] | None = None,
    *,
    n_boot: int = 200,
    seed: int = 0,
) -> Replicates:
    """Compare scored columns with what happened in an outcome window.

    Parameters
    ----------
    predicted : DataFrame
        Scores, keyed by customer.
    outcomes : DataFrame
        ``purchases`` and ``spend`` in the window, keyed by customer.
    churned : Series of bool, optional
        Who did not buy in the window after the gap; without it churn is not evaluated.
    n_boot, seed
        Of the bootstrap.

    Returns
    -------
    Replicates
        Rows ``("served", metric)``, the metrics named ``served_*``.
    """
    predicted = predicted.loc[outcomes.index]

    def column(table: pd.DataFrame, name: str) -> FloatArray:
        return table[name].to_numpy(dtype=np.float64)

    bought, spent = column(outcomes, "purchases"), column(outcomes, "spend")
    forecast = column(predicted, "expected_purchases")
    measures: dict[str, Statistic | float] = {
        f"served_purchases_{k}": v for k, v in counts.statistics(bought, forecast).items()
    }
    spend = column(predicted, "expected_spend")
    measures |= {f"served_spend_{k}": v for k, v in counts.errors(spent, spend).items()}
    measures |= {
        f"served_clv_{k}": v for k, v in ranking.statistics(spent, column(predicted, "clv")).items()
    }
    gone: FloatArray = np.zeros(0)
    if churned is not None:
        gone = churned.loc[outcomes.index].to_numpy().astype(np.float64)
    if 0 < gone.sum() < len(gone):
        risk = classification.statistics(gone, column(predicted, "churn_probability"))
        measures |= {f"served_churn_{k}": v for k, v in risk.items()}
    families = [(None, {"served": measures})]
    return replicate(families, hash_keys(outcomes.index), n_replicates=n_boot, seed=seed)
