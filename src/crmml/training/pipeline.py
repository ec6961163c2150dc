"""Train: backtest, choose, fit, judge what will be served, and bundle it.

The one thing that reads configuration besides the command line. It returns a value that knows
everything; the edge logs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.config import Config, load_config, parse_config
from crmml.data.tables import Tables
from crmml.exceptions import ComparisonError, TooLittleDataError
from crmml.features.labels import (
    LabelledSnapshot,
    build_labelled,
    build_outcomes,
    check_no_future,
)
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.wallet import rolling_wallets
from crmml.features.windows import Window, rolling_windows
from crmml.metrics import classification, counts, ranking
from crmml.metrics.bootstrap import Replicates, Statistic, hash_keys, replicate
from crmml.models.churn.selection import ChurnSelection, select_churn
from crmml.models.loyalty.model import LoyaltyModel
from crmml.models.purchase.left_censored import detect_left_censoring
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.notes import Note, Severity, about, collecting, fit_of, merge_notes
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.scorer import Scores, score
from crmml.training.backtest import (
    JUDGED_BY,
    PROCESSES,
    Announce,
    Backtest,
    build_rehearsals,
    make_candidate,
    run_backtest,
)
from crmml.training.bundling import finish_bundle, make_bundle, read_catalogue
from crmml.training.opening import open_configured, training_cutoff

Interval = tuple[float, float, float]
"""Value, lower and upper bound (90 %)."""


@dataclass(frozen=True)
class TrainingResult:
    """Everything that came out of a training.

    Attributes
    ----------
    bundle : ScoringBundle
        Fitted on all data before the cutoff.
    scores : Scores
        The customers at the cutoff, scored by the bundle.
    tables : Tables
        The validated data.
    backtest : Backtest
        Leaderboard, choice and reason.
    churn : ChurnSelection
        The churn model that the data allow, with its evaluation.
    served : dict of str to (value, lower, upper)
        Metrics of what :func:`crmml.score` said at the newest backtest cutoff, with a bundle
        trained on what was known then.
    replicates : Replicates
        The same metrics on bootstrap replicates of the customers, for paired comparisons.
    notes : tuple of Note
        What the user must know: choices, their reasons, what the history is too short for. Equal
        ones are merged.
    label_specification : dict
        What was predicted and judged; two trainings compare only where it is equal.
    gates : dict of str to bool
        Conditions for promotion, and whether they are met.
    config : Config
        As used.
    """

    bundle: ScoringBundle
    scores: Scores
    tables: Tables
    backtest: Backtest
    churn: ChurnSelection
    served: dict[str, Interval]
    replicates: Replicates
    notes: tuple[Note, ...]
    label_specification: dict[str, Any]
    gates: dict[str, bool]
    config: Config

    @property
    def metrics(self) -> dict[str, float | Interval]:
        """What was served, and the leaderboard by candidate: ``(value, low, high)`` by name.

        A metric without an interval is its value alone.
        """
        means = self.backtest.leaderboard.set_index(["candidate", "metric"])
        board = {f"backtest_{c}_{m}": v for (c, m), v in _rows(means)}
        churn: dict[str, Interval] = {}
        if self.churn.evaluation is not None:
            churn = {f"churn_{c}_{m}": v for (c, m), v in _rows(self.churn.evaluation.table)}
        everything = {**self.served, **board, **churn}
        return {
            name: value if np.isfinite(value).all() else value[0]
            for name, value in everything.items()
            if np.isfinite(value[0])
        }


def train(
    config: Config | Mapping[str, Any] | str | Path,
    tables: Any = None,
    customers: Any = None,
    *,
    transactions: Any = None,
    announce: Announce | None = None,
) -> TrainingResult:
    """Backtest, choose, fit and bundle.

    Parameters
    ----------
    config : Config, mapping or path of a YAML file
        Settings; see :class:`crmml.config.Config`.
    tables : Tables, DataFrame, Arrow table or path, or mapping of name to such, optional
        The log, or tables by name, instead of those that the configuration names.
    customers, transactions : DataFrame, Arrow table or path, optional
        The customers beside a log; the log by its name.
    announce : callable, optional
        Told in a few words what is being done.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ConfigError
        If a setting is wrong, or no transactions are named.
    DataError, TooLittleDataError
        If the data break a rule or cannot carry a model.
    """
    settings = _as_config(config)
    say = announce or (lambda _: None)
    check_settings(settings)
    say("opening the data")
    tables = open_configured(settings, tables, customers, transactions=transactions)
    cutoff = training_cutoff(settings, tables)
    shop = _Shop(settings, tables, cutoff, say)
    backtest = shop.backtest()
    say("judging what would have been served")
    replicates = shop.judge_served(backtest)
    served = {metric: value for (_, metric), value in _rows(replicates.table())}
    say("fitting on all data")
    bundle, churn, fitted = shop.fit(shop.newest, backtest)
    say("scoring")
    scores = score(bundle, tables, cutoff)
    notes = gather_notes(backtest, fitted, scores)
    return TrainingResult(
        bundle=finish_bundle(bundle, served, notes, scores),
        scores=scores,
        tables=tables,
        backtest=backtest,
        churn=churn,
        served=served,
        replicates=replicates,
        notes=notes,
        label_specification=shop.label_specification(),
        gates=_gates(backtest, churn),
        config=settings,
    )


def backtest_configured(config: Config, *, announce: Announce | None = None) -> Backtest:
    """Compare the candidates of a configuration on its rolling windows, and train nothing else.

    Parameters
    ----------
    config : Config
        Settings.
    announce : callable, optional
        Told in a few words what is being done.
    """
    say = announce or (lambda _: None)
    check_settings(config)
    say("opening the data")
    tables = open_configured(config)
    return _Shop(config, tables, training_cutoff(config, tables), say).backtest()


def judge_again(bundle: ScoringBundle, config: Config, tables: Tables) -> Replicates:
    """Judge a bundle trained elsewhere on the newest window of a configuration's backtest.

    The bundle scores through :func:`crmml.score`, like the one that a training judges there, and
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
        See :func:`judge_scores`.

    Raises
    ------
    ComparisonError
        If the bundle knows a part of the window, or forecasts something else.
    """
    shop = _Shop(config, tables, training_cutoff(config, tables), lambda _: None)
    outcome, section = config.outcome, config.snapshot
    for name, here in (("horizon", outcome.horizon), ("grain", section.grain)):
        if (there := getattr(bundle.manifest, name)) != here:
            raise ComparisonError(f"one forecasts with the {name} {there}, the other with {here}")
    window = shop.windows(shop.cutoff, None)[-1]
    trained = pd.Timestamp(bundle.manifest.cutoff)
    if trained > window.cutoff:
        ready = trained + (window.closes - window.cutoff)
        raise ComparisonError(
            f"the champion, trained on data up to {trained.date()}, knows a part of the outcome "
            f"window that begins on {window.cutoff.date()}, so it cannot be judged fairly on it; "
            f"a challenger whose data run to {ready.date()} can be compared with it"
        )
    happened = build_outcomes(
        tables, window, grain=section.grain, own_seller=config.data.own_seller
    )
    return shop.judge_bundle(bundle, window.cutoff, happened)


def specify_labels(config: Config, tables: Tables) -> dict[str, Any]:
    """Say what a training with this configuration and these tables would predict and judge."""
    cutoff = training_cutoff(config, tables)
    return _Shop(config, tables, cutoff, lambda _: None).label_specification()


def check_settings(config: Config) -> None:
    """Find the mistakes that need no data to be seen, before any work is done.

    Raises
    ------
    ParameterError
        If a candidate is not known.
    CatalogueError, ExpressionError
        If the action catalogue cannot be read.
    """
    for name in config.backtest.candidates:
        make_candidate(name, config.outcome.horizon, seed=config.seed)
    read_catalogue(config)


@dataclass
class _Shop:
    """The steps of a training over one set of tables, with the snapshots that they share."""

    config: Config
    tables: Tables
    cutoff: pd.Timestamp
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.cache: dict[Any, LabelledSnapshot] = {}
        section = self.config.snapshot
        # What is known at the cutoff decides the channel columns of every snapshot.
        newest = build_snapshot(
            self.tables,
            self.cutoff,
            grain=section.grain,
            time_unit=section.time_unit,
            own_seller=self.config.data.own_seller,
        )
        self.newest = newest
        self.build: dict[str, Any] = {
            "grain": section.grain,
            "time_unit": section.time_unit,
            "own_seller": self.config.data.own_seller,
            "channels": newest.provenance["channels"],
        }

    def windows(self, until: pd.Timestamp, gap: str | None) -> list[Window]:
        """Outcome windows that closed at or before a moment, oldest first."""
        outcome, plan = self.config.outcome, self.config.backtest
        last = until - pd.Timedelta(days=1)
        windows = rolling_windows(
            self.tables.first_timestamp,
            min(last, self.tables.last_timestamp),
            horizon=outcome.horizon,
            gap=gap,
            step=plan.step,
            min_history=plan.min_history,
        )
        return [w for w in windows if w.closes <= until][-plan.max_windows :]

    def backtest(self) -> Backtest:
        """Compare the candidates on all windows; with none, say what is missing."""
        windows = self.windows(self.cutoff, None)
        if not windows:
            plan, horizon = self.config.backtest, self.config.outcome.horizon
            raise TooLittleDataError(
                f"no outcome window of {horizon} after a history of {plan.min_history} fits before "
                f"{self.cutoff.date()}: the data run from {self.tables.first_timestamp.date()} to "
                f"{self.tables.last_timestamp.date()}; shorten outcome.horizon or "
                "backtest.min_history"
            )
        return run_backtest(
            self.tables,
            windows,
            self.config.backtest.candidates,
            n_boot=self.config.backtest.bootstrap,
            seed=self.config.seed,
            announce=self.say,
            cache=self.cache,
            **self.build,
        )

    def churn_history(self, until: pd.Timestamp) -> list[LabelledSnapshot]:
        """Labelled snapshots for churn, windows closed by a moment, history before the first."""
        outcome, plan = self.config.outcome, self.config.backtest
        try:
            windows = rolling_windows(
                self.tables.first_timestamp,
                min(until - pd.Timedelta(days=1), self.tables.last_timestamp),
                horizon=outcome.horizon,
                gap=outcome.gap,
                step=plan.step,
                min_history=outcome.horizon,
            )
        except TooLittleDataError:
            return []  # select_churn then says how many windows there are and are needed
        history = []
        for window in [w for w in windows if w.closes <= until][-plan.max_windows :]:
            key = (window.cutoff, window.closes, window.gap)
            plain = (window.cutoff, window.closes)
            if window.gap is None and plain in self.cache:
                self.cache[key] = self.cache[plain]
            if key not in self.cache:
                self.cache[key] = build_labelled(self.tables, window, **self.build)
            history.append(self.cache[key])
        return history

    def fit(
        self, snapshot: Snapshot, backtest: Backtest
    ) -> tuple[ScoringBundle, ChurnSelection, list[Note]]:
        """Fit everything on what was known at the cutoff of a snapshot."""
        cutoff = snapshot.cutoff
        config, chosen = self.config, backtest.chosen
        outcome, value = config.outcome, config.value
        notes: list[Note] = []
        check_no_future(snapshot, self.tables)
        with collecting(notes, fit_of("the models", cutoff)):
            forecast = make_candidate(chosen, outcome.horizon, seed=config.seed)
            rehearsals = build_rehearsals(
                self.tables,
                cutoff,
                outcome.horizon,
                most=forecast.rehearsals,
                cache=self.cache,
                **self.build,
            )
            with about(fit_of(chosen, cutoff)):
                forecast.fit(snapshot, rehearsals)
            process = process_for_value(backtest)
            if process != chosen:
                what = f"the forecast of purchases and spend in {outcome.horizon} on {chosen}"
                text = f"lifetime value rests on {process} and gamma_gamma, {what}"
                notes.append(Note("value_process", "info", text))
            notes += age_of_base(snapshot, process)
            margin, source = self._margin(snapshot)
            notes.append(source)
            with about(fit_of(f"{process} and gamma_gamma", cutoff)):
                lifetime_value = LifetimeValueModel(
                    purchase_model=PROCESSES[process](),
                    spend_model=GammaGammaModel(),
                    annual_discount_rate=value.annual_discount_rate,
                    margin=margin,
                    random_state=config.seed,
                ).fit(snapshot)
            found = lifetime_value.purchase_model_.notes
            notes += [Note("finding", "info", text, fit_of(process, cutoff)) for text in found]
            churn = select_churn(
                self.churn_history(cutoff),
                horizon=outcome.horizon,
                gap=outcome.gap,
                snapshot=snapshot,
                purchase_model=PROCESSES[process](),
                seed=config.seed,
                n_boot=config.backtest.bootstrap,
            )
            wallets = rolling_wallets(
                self.tables,
                cutoff,
                length=outcome.horizon,
                grain=snapshot.grain,
                own_seller=config.data.own_seller,
            )
            if not wallets:
                raise TooLittleDataError(
                    f"loyalty classes need one window of {outcome.horizon}; the data before "
                    f"{cutoff.date()} begin on {self.tables.first_timestamp.date()}"
                )
            loyalty = LoyaltyModel(seed=config.seed).fit(wallets)
        notes.append(Note("churn_choice", "info", churn.reason, "churn"))
        notes.append(Note("loyalty_choice", "info", loyalty.reason_, "loyalty"))
        bundle = make_bundle(
            config,
            self.tables,
            snapshot,
            lifetime_value=lifetime_value,
            forecast=forecast,
            churn=churn.model,
            loyalty=loyalty,
        )
        return bundle, churn, notes

    def _margin(self, snapshot: Snapshot) -> tuple[float, Note]:
        """Margin per unit of revenue: what the data show, else what is configured."""
        configured = self.config.value.margin
        frame = snapshot.frame
        assumed = f"{configured:.1%} of revenue, as configured"
        if "margin_to_date" not in frame:
            text = f"{assumed} (an assumption: the data have no column margin or cost)"
            return configured, Note("margin_assumed", "warn", text, "margin", "decisions")
        earned, spent = float(frame["margin_to_date"].sum()), float(frame["net_spend"].sum())
        observed = earned / spent if spent > 0 else float("nan")
        if not 0.0 < observed <= 1.0:
            text = f"{assumed}; the data's own ({earned:,.2f} on {spent:,.2f}) is no share of it"
            return configured, Note("margin_unusable", "ask", text, "margin", "data")
        text = f"{observed:.1%} of revenue, as observed before {snapshot.cutoff.date()}"
        return observed, Note("margin_observed", "info", text, "margin", "decisions")

    def judge_served(self, backtest: Backtest) -> Replicates:
        """Bundle what was known at the newest backtest cutoff, score, and compare."""
        newest = backtest.windows[-1].labelled
        bundle, _, _ = self.fit(newest.snapshot, backtest)
        return self.judge_bundle(bundle, newest.window.cutoff, newest.outcomes)

    def judge_bundle(
        self, bundle: ScoringBundle, cutoff: pd.Timestamp, happened: pd.DataFrame
    ) -> Replicates:
        """Score with a bundle at a cutoff, and compare with the outcomes of the window."""
        said = score(bundle, self.tables, cutoff).table.set_index("customer_id")
        outcome = self.config.outcome
        window = Window(cutoff, outcome.horizon, outcome.gap)
        churned = None
        if window.closes <= self.cutoff:
            own_seller = self.config.data.own_seller
            grain = self.config.snapshot.grain
            outcomes = build_outcomes(self.tables, window, grain=grain, own_seller=own_seller)
            churned = outcomes["churned"]
        n_boot, seed = self.config.backtest.bootstrap, self.config.seed
        return judge_scores(said, happened, churned, n_boot=n_boot, seed=seed)

    def label_specification(self) -> dict[str, Any]:
        """Say what was predicted and judged."""
        config = self.config
        windows = self.windows(self.cutoff, None)
        return {
            "cutoffs": [str(w.cutoff) for w in windows],
            "horizon": config.outcome.horizon,
            "gap": config.outcome.gap,
            "grain": config.snapshot.grain,
            "time_unit": config.snapshot.time_unit,
            "churned": "no purchase in the outcome window",
            "policies": {
                **asdict(self.tables.policies),
                "test_customers": len(self.tables.policies.test_customers),
            },
        }


def judge_scores(
    said: pd.DataFrame,
    outcomes: pd.DataFrame,
    churned: pd.Series[bool] | None = None,
    *,
    n_boot: int = 200,
    seed: int = 0,
) -> Replicates:
    """Compare scored columns with what happened in an outcome window.

    Parameters
    ----------
    said : DataFrame
        Scores, keyed by customer.
    outcomes : DataFrame
        ``purchases`` and ``spend`` in the window, keyed by customer.
    churned : Series of bool, optional
        Who did not buy in the window after the gap; without it churn is not judged.
    n_boot, seed
        Of the bootstrap.

    Returns
    -------
    Replicates
        Rows ``("served", metric)``, the metrics named ``served_*``.
    """
    said = said.loc[outcomes.index]

    def column(table: pd.DataFrame, name: str) -> FloatArray:
        return table[name].to_numpy(dtype=np.float64)

    bought, spent = column(outcomes, "purchases"), column(outcomes, "spend")
    forecast = column(said, "expected_purchases")
    measures: dict[str, Statistic | float] = {
        f"served_purchases_{k}": v for k, v in counts.statistics(bought, forecast).items()
    }
    spend = column(said, "expected_spend")
    measures |= {f"served_spend_{k}": v for k, v in counts.errors(spent, spend).items()}
    measures |= {
        f"served_clv_{k}": v for k, v in ranking.statistics(spent, column(said, "clv")).items()
    }
    gone: FloatArray = np.zeros(0)
    if churned is not None:
        gone = churned.loc[outcomes.index].to_numpy().astype(np.float64)
    if 0 < gone.sum() < len(gone):
        risk = classification.statistics(gone, column(said, "churn_probability"))
        measures |= {f"served_churn_{k}": v for k, v in risk.items()}
    families = [(None, {"served": measures})]
    return replicate(families, hash_keys(outcomes.index), n_replicates=n_boot, seed=seed)


def _rows(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], Interval]]:
    """Yield (candidate, metric) and (value, lower, upper) of a table of metrics."""
    numbers = table[["value", "lower", "upper"]].to_numpy(dtype=np.float64).tolist()
    for (candidate, metric), (value, lower, upper) in zip(table.index, numbers, strict=True):
        yield (str(candidate), str(metric)), (value, lower, upper)


def process_for_value(backtest: Backtest) -> str:
    """Return the purchase process that lifetime value rests on.

    That of the chosen candidate if it is one, else the process with the least error in the
    backtest, else MBG/NBD, which knows that who never came back may have left.
    """
    chosen = backtest.chosen.partition("/")[0]
    if chosen in PROCESSES:
        return chosen
    board = backtest.leaderboard
    error = board[board["metric"] == JUDGED_BY].sort_values(["value", "candidate"])
    named = error["candidate"].str.partition("/")[0]
    return next((str(name) for name in named if name in PROCESSES), "mbg_nbd")


def age_of_base(snapshot: Snapshot, process: str) -> list[Note]:
    """Say so where customers are older than the data, and whether the process allows for it.

    Parameters
    ----------
    snapshot : Snapshot
        Built from a log.
    process : str
        Name of the purchase process that lifetime value rests on.
    """
    found = detect_left_censoring(snapshot)
    if found.base != "left_censored":
        return []
    severity: Severity
    if "left_censored" in process:
        does, severity = "has parameters of their own for them", "info"
    else:
        does = "takes them for new: let mbg_nbd_left_censored compete in backtest.candidates"
        severity = "ask"
    text = f"{found.sentence}; {process} {does}"
    return [Note("older_base", severity, text, "customer base", "data")]


def gather_notes(backtest: Backtest, fitted: Sequence[Note], scores: Scores) -> tuple[Note, ...]:
    """Gather all notes of a training, each once.

    Parameters
    ----------
    backtest : Backtest
        Its notes come first: they are of earlier fits.
    fitted : sequence of Note
        Of the fits on all data. A note of an earlier fit that says the same of the same matter is
        merged into it.
    scores : Scores
        Of the customers at the cutoff.
    """
    planned = [
        Note("not_applied", "warn", text, topic="decisions") for text in scores.recommendation.notes
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in scores.absent.items():
        reasons.setdefault(reason, []).append(name)
    nulls = [
        Note("null_column", "info", f"null: {reason}", ", ".join(names), "data")
        for reason, names in reasons.items()
    ]
    return merge_notes([*backtest.notes, *fitted, *planned, *nulls])


def _gates(backtest: Backtest, churn: ChurnSelection) -> dict[str, bool]:
    """Conditions for promotion that training can know."""
    board = backtest.leaderboard.set_index(["candidate", "metric"])["value"]
    chosen, gates = backtest.chosen, {}
    if ("heuristic", JUDGED_BY) in board.index and chosen != "heuristic":
        gates["less error than the heuristic in the backtest"] = bool(
            board.loc[(chosen, JUDGED_BY)] < board.loc[("heuristic", JUDGED_BY)]
        )
    if (chosen, "coverage_80") in board.index:
        held = float(board.loc[(chosen, "coverage_80")])
        gates["its 80 % interval held for 70 to 90 % of the customers"] = 0.70 <= held <= 0.90
    if churn.evaluation is not None:
        # Where the recency rule itself is served there is nothing to be worse than.
        gates["churn is not shown to be worse than the best recency rule"] = (
            churn.name == "recency_rule" or churn.evaluation.grades.get(churn.name, "D") != "E"
        )
    return gates


def _as_config(config: Config | Mapping[str, Any] | str | Path) -> Config:
    if isinstance(config, Config):
        return config
    return load_config(config) if isinstance(config, (str, Path)) else parse_config(config)
