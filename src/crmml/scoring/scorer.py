"""One row per customer at a cutoff: predictions, segments and the recommended action."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import Any, Protocol, overload

import numpy as np
import pandas as pd

from crmml.actions.catalogue import ActionCatalogue
from crmml.actions.economics import NetGains
from crmml.actions.recommendation import Recommendation
from crmml.card import Card, Result, listed
from crmml.data.reading import read_alike
from crmml.data.settings import Policies, conceal
from crmml.data.tables import Tables, by_name, open_tables
from crmml.exceptions import (
    AheadWarning,
    CrmmlError,
    MissingColumnsError,
    ParameterError,
    SilenceWarning,
    UnlikeTrainingError,
    UnlikeTrainingWarning,
    WrongArgumentError,
)
from crmml.features.margins import MarginRates
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import read_moment, shifted
from crmml.models.arguments import describe
from crmml.scoring.bases import end_of_data, last_event, main_table
from crmml.scoring.contract_base import build_contract_base
from crmml.scoring.counted import WHY, is_counted, money_outputs, without_money
from crmml.scoring.decisions import Actions
from crmml.scoring.guards import compare_ranges, measure_base
from crmml.scoring.labelled import LabelledScores, score_labelled
from crmml.scoring.manifest import Manifest
from crmml.scoring.predictors import Base, Moment, Predictor, predict_all, snapshot_of
from crmml.scoring.reason_words import check_lang
from crmml.scoring.served_distribution import INTERVAL
from crmml.scoring.standard import with_catalogue
from crmml.stats.threads import on_one_thread

__all__ = ["INTERVAL", "Scores", "open_for", "score"]

_DATA_END = {"transactions": "log ends", "contracts": "events of contracts end"}
_SILENCE = pd.Timedelta(days=7)


class Bundle(Protocol):
    """What scoring asks of a bundle."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def predictors(self) -> Sequence[Predictor]: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True)
class Origin:
    """What some scores rest on: it can score again, as a bundle can.

    Attributes
    ----------
    manifest : Manifest
    predictors : tuple of Predictor
        Under the budget, the capacities and the catalogue that decided.
    version : str
        Of the models.
    tables : Tables
        What was scored.
    plans, control : DataFrame or None
        See :func:`score`.
    lang : {"en", "fa"}
        Language of the reasons where it scores again.
    """

    manifest: Manifest
    predictors: tuple[Predictor, ...]
    version: str
    tables: Tables
    plans: pd.DataFrame | None = None
    control: pd.DataFrame | None = None
    lang: str = "en"


@dataclass(frozen=True, repr=False)
class Scores(Result):
    """What :func:`score` returns.

    Attributes
    ----------
    table : DataFrame
        One row per customer, sorted by ``customer_id``.
    base : Base
        What was scored: the snapshot of a log, or the contracts.
    recommendation : Recommendation
        With the gains of all actions, the allocation, its prices and its certificate.
    absent : dict of str to str
        Columns that are null throughout, and why.
    origin : Origin or None
        What they rest on, for :meth:`explain` and :func:`crmml.diff`.
    """

    table: pd.DataFrame
    base: Base
    found: Recommendation | None
    absent: dict[str, str]
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot of the log that was scored."""
        return snapshot_of(self.base)

    @property
    def cutoff(self) -> pd.Timestamp:
        """As of when."""
        return self.base.cutoff

    def explain(self, customer_id: Any) -> Any:
        """Say why one customer has these scores.

        Parameters
        ----------
        customer_id : int or str

        Returns
        -------
        Explanation
            See :func:`crmml.explain`.

        Raises
        ------
        CrmmlError
            If the customer is not scored here.
        """
        # by name: explanations stand above scores, and score the one customer again
        return import_module("crmml.scoring.explanation").explain_scored(self, customer_id)

    def churn_parts(self) -> pd.DataFrame:
        """Say what each family of features adds to the log-odds of churn, a row per customer.

        Returns
        -------
        DataFrame
            A row adds up to the log-odds of ``churn_probability``; see
            :func:`crmml.scoring.churn_reasons.churn_parts`.

        Raises
        ------
        CrmmlError
            If the bundle does not predict churn from a log.
        """
        predictors = () if self.origin is None else self.origin.predictors
        churn: Any = next((p for p in predictors if p.name == "churn"), None)
        if churn is None:
            raise CrmmlError("these scores hold no churn of a log, so it has no parts")
        value: Any = next((p for p in predictors if p.name == "lifetime_value"), None)
        known = self.table.set_index("customer_id")
        parts: pd.DataFrame = churn.parts(self.snapshot, known, getattr(value, "model", None))
        return parts.sort_index()

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of scores; changing it leaves the scores as they are."""
        return self.table.copy()

    def _card(self) -> Card:
        names, found = [str(name) for name in self.table], self.found
        actions = "none: this bundle recommends no actions, or its log has no amounts"
        if found is not None:
            actions = "one for each customer, at the prices of the training"
            if (allocation := found.allocation) is not None:
                limit = allocation.budget
                budget = "no budget" if limit is None else f"a budget of {limit:,.2f}"
                actions = f"{budget}, {allocation.spend:,.2f} spent"
                actions += f" for an expected net gain of {allocation.value:,.2f}"
        rows = [
            ("columns", f"{len(names):,}: {listed(names, most=6)}"),
            ("scored", _shown(self.base)),
            ("actions", actions),
            *((f"null: {name}", why) for name, why in [*self.absent.items()][:8]),
            ("more", "to_pandas() is the table, plot() shows who brings the value"),
        ]
        when = self.cutoff.date()
        return Card(f"Scores of {len(self.table):,} customers at {when}", tuple(rows))

    @property
    def recommendation(self) -> Recommendation:
        """What the actions rest on.

        Raises
        ------
        CrmmlError
            If the bundle recommends no actions.
        """
        if self.found is None:
            raise CrmmlError("this bundle recommends no actions: it has no predictor of them")
        return self.found

    @property
    def gains(self) -> NetGains:
        """What each action would bring for each customer, those held out apart."""
        gains = self.recommendation.gains
        left_alone = self.recommendation.table["held_out"].to_numpy(dtype=bool)
        return replace(gains, net=np.where(left_alone[:, None], -np.inf, gains.net))


# A labelled table has no time: a bundle of one refuses a cutoff, so with one it is Scores.
@overload
def score(
    bundle: Bundle,
    transactions: Any,
    cutoff: str | pd.Timestamp,
    *,
    customers: Any = ...,
    stored_prices: bool = ...,
    budget: float | None = ...,
    capacities: Mapping[str, float] | None = ...,
    catalogue: ActionCatalogue | None = ...,
    plans: pd.DataFrame | None = ...,
    control: pd.DataFrame | None = ...,
    snapshot: Snapshot | None = ...,
    strict: bool = ...,
    keep_counts: bool = ...,
    lang: str = ...,
) -> Scores: ...


@overload
def score(
    bundle: Bundle,
    transactions: Any,
    cutoff: None = ...,
    *,
    customers: Any = ...,
    stored_prices: bool = ...,
    budget: float | None = ...,
    capacities: Mapping[str, float] | None = ...,
    catalogue: ActionCatalogue | None = ...,
    plans: pd.DataFrame | None = ...,
    control: pd.DataFrame | None = ...,
    snapshot: Snapshot | None = ...,
    strict: bool = ...,
    keep_counts: bool = ...,
    lang: str = ...,
) -> Scores | LabelledScores: ...


@on_one_thread
def score(
    bundle: Bundle,
    transactions: Any,
    cutoff: str | pd.Timestamp | None = None,
    *,
    customers: Any = None,
    stored_prices: bool = False,
    budget: float | None = None,
    capacities: Mapping[str, float] | None = None,
    catalogue: ActionCatalogue | None = None,
    plans: pd.DataFrame | None = None,
    control: pd.DataFrame | None = None,
    snapshot: Snapshot | None = None,
    strict: bool = False,
    keep_counts: bool = False,
    lang: str = "en",
) -> Scores | LabelledScores:
    """Score every customer who bought before the cutoff, or every row of a labelled table.

    Parameters
    ----------
    bundle : ScoringBundle
        What was trained.
    transactions : Tables, DataFrame, Arrow table, path, or mapping of these by table
        The log; what is not a :class:`~crmml.data.tables.Tables` is opened with the data policies
        of the training, and ``Tables`` must have been opened with them.
    cutoff : str or Timestamp, optional
        Score as of this moment; default: the end of the last day of the data, or the cutoff of
        the training if that is later. The log is taken to be complete up to it.
    customers : DataFrame, Arrow table or path, optional
        The customers table (``contactable``, attributes); ignored with ``Tables``.
    stored_prices : bool
        Give out actions at the shadow prices of the training, each customer alone, instead of
        allocating the budget among those at hand.
    budget, capacities, catalogue : optional
        Instead of the budget, the capacities by channel and the catalogue of the bundle, for this
        scoring only. They are allocated among the customers at hand, so they are refused together
        with ``stored_prices``. What else decides (shares held out, tiers, margins, horizons) is
        fixed in the bundle.
    plans : DataFrame, optional
        Contacts that earlier runs have planned, from :func:`crmml.storage.scores.read_plans`;
        with the table ``treatments`` they are the memory of contacts.
    control : DataFrame, optional
        Shares at which customers were drawn for the control group before, from
        :func:`crmml.storage.scores.read_control`: who moves to another stratum stays where he is.
    snapshot : Snapshot, optional
        Of these tables at this cutoff, where it is at hand: it is not built again.
    strict : bool
        Refuse data that are unlike those of the training, instead of warning.
    keep_counts : bool
        Of a log without amounts: leave the numbers of purchases in the columns of money, as a
        training does to evaluate them.
    lang : {"en", "fa"}
        Language of the reasons: English or Persian.

    Returns
    -------
    Scores
        By a bundle of a labelled table :class:`~crmml.scoring.labelled.LabelledScores`; it takes
        rows of such a table in the place of the log, and of the other arguments ``strict`` alone.

    Raises
    ------
    DataError, TooLittleDataError
        If the tables break a rule or nothing was bought before the cutoff.
    UnlikeTrainingError
        If tables were opened with other data policies than those of the training; with ``strict``
        also if the customers are unlike those of the training.

    Notes
    -----
    Every optional column of the log may be left out, also one that was there at training: what
    rests on it is then unknown, and the models take it as they take any missing value.
    """
    if not hasattr(bundle, "predictors"):
        remedy = "crmml.train(config, log).bundle is one, crmml.load(folder) reads one"
        if hasattr(bundle, "bundle"):
            remedy = "give its .bundle"
        raise WrongArgumentError("crmml.score", "a ScoringBundle first", describe(bundle), remedy)
    check_lang(lang)
    manifest = bundle.manifest
    given = {"budget": budget, "capacities": capacities, "catalogue": catalogue}
    if manifest.kind == "labelled":
        timed = {"cutoff": cutoff, "customers": customers, "plans": plans, "control": control}
        timed["snapshot"] = snapshot
        return score_labelled(bundle, transactions, strict=strict, **timed, **given)
    tables = open_for(bundle, transactions, customers)
    at = checked_cutoff(bundle, tables, scoring_cutoff(bundle, tables, cutoff))
    base = _base(bundle, tables, at, snapshot)
    moment = Moment(tables, base, plans=plans, control=control, lang=lang)
    predictors = deciding(bundle.predictors, tables, given, stored_prices)
    table = predict_all(predictors, moment)
    compare_with_training(manifest, tables, base, table, strict)
    table.insert(0, "cutoff", at)
    table = table.assign(**name_versions(bundle.version, predictors))
    actions = moment.found.get(Actions.name)
    if is_counted(manifest):
        money = money_outputs(predictors)
        moment.leave_out([output.name for output in money], WHY)
        if not keep_counts:
            table, actions = without_money(table, money), None
    origin = Origin(manifest, tuple(predictors), bundle.version, tables, plans, control)
    return Scores(table.sort_index().reset_index(), base, actions, moment.absent, origin)


def name_versions(version: str, predictors: Sequence[Predictor]) -> dict[str, str]:
    """Name the versions that stand behind the predictions, by column."""
    versions = {"model_version": version}
    for predictor in predictors:
        if isinstance(predictor, Actions):
            versions["policy_version"] = predictor.version
    return versions


def open_for(bundle: Bundle, transactions: Any, customers: Any = None) -> Tables:
    """Open a log under the data policies of the training, read as its own log was.

    A file or frame whose columns bear the names of the contract already is taken as it is.

    Raises
    ------
    UnlikeTrainingError
        If ``Tables`` are given that were opened under others.
    """
    if isinstance(transactions, Tables):
        if found := unlike_policies(bundle.manifest, transactions.policies):
            raise UnlikeTrainingError(
                f"these tables were opened under other data policies than the training: "
                f"{'; '.join(found)}; open them under those of the bundle, or train again"
            )
        return transactions
    policies = trained_policies(bundle.manifest)
    if isinstance(transactions, Mapping) and customers is not None:
        transactions, customers = {**transactions, "customers": customers}, None
    if not isinstance(transactions, Mapping):
        transactions = {main_table(bundle.manifest): transactions}
    given, reading = by_name(transactions, customers), bundle.manifest.reading
    rows = {n: {k: v for k, v in how.items() if k != "columns"} for n, how in reading.items()}
    first: MissingColumnsError | None = None
    told: CrmmlError | None = None
    # as its own log was read; else its columns bear our names already; else it is all ours
    for how in (reading, rows, {}):
        alike = {name: read_alike(data, how.get(name, {}), name) for name, data in given.items()}
        try:
            return open_tables(alike, policies=policies)
        except MissingColumnsError as error:
            first = first or error
        except CrmmlError as error:
            if first is None:
                raise
            told = error  # the columns are there: this is the true reason
    raise told or first or CrmmlError("no way to read it was tried")


def trained_policies(manifest: Manifest) -> Policies:
    """Return the data policies of a training; test customers are known by their hashes."""
    return Policies(**manifest.policies.get("transactions", {}))


def unlike_policies(manifest: Manifest, policies: Policies) -> list[str]:
    """Say which data policies differ from those of a training, one phrase each.

    Parameters
    ----------
    manifest : Manifest
        Of the training.
    policies : Policies
        To compare.
    """
    found = []
    trained = trained_policies(manifest)
    for setting in fields(Policies):
        here, there = getattr(policies, setting.name), getattr(trained, setting.name)
        if setting.name == "test_customers":
            # bundles of before 0.2 do not know whom they left out
            known = "test_customers" in manifest.policies.get("transactions", {})
            if known and conceal(here) != conceal(there):
                found.append(f"test_customers names {len(here)} ids, not the {len(there)} trained")
        elif json.dumps(here, sort_keys=True) != json.dumps(there, sort_keys=True):
            found.append(f"{setting.name} is {here!r}, trained with {there!r}")
    return found


def scoring_cutoff(
    bundle: Bundle,
    tables: Tables,
    cutoff: str | pd.Timestamp | None = None,
    *,
    whole: bool = False,
) -> pd.Timestamp:
    """Return the moment as of which :func:`score` scores; see there.

    Parameters
    ----------
    bundle : ScoringBundle
        What scores.
    tables : Tables
        What is scored.
    cutoff : str or Timestamp, optional
        As given.
    whole : bool
        Whether the log holds all customers. Then a cutoff more than an outcome horizon after its
        end is refused: nobody bought since, whatever the customers did.

    Raises
    ------
    ParameterError
        If the cutoff is no moment, or lies too far after the data.
    """
    manifest = bundle.manifest
    end = end_of_data(manifest, tables)
    trained = pd.Timestamp(manifest.cutoff)
    latest = max(end, trained)
    moment = latest if cutoff is None else read_moment(cutoff, "cutoff")
    if whole and moment > shifted(latest, manifest.horizon):
        horizon = manifest.horizon
        rule = f"within the data, or at most {horizon} after them ({latest.date()})"
        raise ParameterError("cutoff", rule, str(moment))
    return moment


def checked_cutoff(bundle: Bundle, tables: Tables, moment: pd.Timestamp) -> pd.Timestamp:
    """Warn of a log that ends long before the cutoff, refuse another currency."""
    manifest = bundle.manifest
    last = last_event(manifest, tables)
    end = end_of_data(manifest, tables)
    if moment > max(end, pd.Timestamp(manifest.cutoff)) + _SILENCE:
        warnings.warn(
            f"the {_DATA_END[manifest.kind]} on {last.date()}, {(moment - end).days:,} days before "
            f"the cutoff {moment.date()}: those days count as silence of every customer",
            SilenceWarning,
            stacklevel=3,
        )
    _same_currency(manifest, tables)
    treated = tables.facts("treatments").last if "treatments" in tables else None
    if treated is not None and treated >= max(moment, end):
        given = tables["treatments"]
        ahead = int(given.filter(given.timestamp >= moment).count().execute())
        warnings.warn(
            f"{ahead:,} rows of the table treatments are dated {moment.date()} or later, after "
            "all that is known at the cutoff: they are not seen, and no cool-down begins with them",
            AheadWarning,
            stacklevel=3,
        )
    return moment


def _same_currency(manifest: Manifest, tables: Tables) -> None:
    if "transactions" not in tables or None in (tables.currency, manifest.currency):
        return
    if tables.currency != manifest.currency:
        raise CrmmlError(
            f"the bundle was trained in {manifest.currency}, these transactions are in "
            f"{tables.currency}"
        )


def _base(
    bundle: Bundle, tables: Tables, at: pd.Timestamp, snapshot: Snapshot | None = None
) -> Base:
    """Gather who is scored, by the kind of the bundle; a snapshot at hand is taken if it fits."""
    manifest = bundle.manifest
    if manifest.kind == "contracts":
        return build_contract_base(bundle.predictors, tables, at)
    if snapshot is None or not _fits(snapshot, manifest, at):
        return _snapshot(manifest, tables, at)
    return snapshot


def _shown(base: Base) -> str:
    return repr(base) if isinstance(base, Snapshot) else f"{len(base):,} contracts"


def _snapshot(manifest: Manifest, tables: Tables, moment: pd.Timestamp) -> Snapshot:
    """Build the snapshot of the training's settings, with all of the training's columns."""
    settings = settings_of_snapshot(manifest, tables)
    return with_all_columns(build_snapshot(tables, moment, **settings), manifest)


def settings_of_snapshot(manifest: Manifest, tables: Tables) -> dict[str, Any]:
    """Return the settings of the training's snapshots, for a log that may lack the sellers."""
    sellers = "seller" in tables.transactions.columns
    return {
        "grain": manifest.grain,
        "time_unit": manifest.time_unit,
        "channels": manifest.channels,
        "own_seller": manifest.own_seller if sellers else None,
        "margins": None if manifest.margins is None else MarginRates.from_dict(manifest.margins),
    }


def with_all_columns(snapshot: Snapshot, manifest: Manifest) -> Snapshot:
    """Add the columns of the training that the data cannot give, as missing."""
    lost = [name for name in manifest.features if name not in snapshot.frame]
    if not lost:
        return snapshot
    return replace(snapshot, frame=snapshot.frame.assign(**dict.fromkeys(lost, np.nan)))


def _fits(snapshot: Snapshot, manifest: Manifest, moment: pd.Timestamp) -> bool:
    """Whether a snapshot at hand is the one that scoring would build."""
    settings = (snapshot.cutoff, snapshot.grain, snapshot.time_unit)
    return settings == (moment, manifest.grain, manifest.time_unit) and {
        "customer_id",
        *manifest.features,
    } == set(snapshot.frame)


def deciding(
    predictors: Sequence[Predictor],
    tables: Tables,
    given: Mapping[str, Any],
    stored_prices: bool,
) -> list[Predictor]:
    """Return the predictors under the budget, the capacities and the catalogue that are given."""
    said = {name: value for name, value in given.items() if value is not None}
    if said and not any(isinstance(p, Actions) for p in predictors):
        raise ParameterError(" and ".join(said), "left out: the bundle recommends no actions", said)
    if said and stored_prices:
        rule = "left out where actions are given out at the stored prices of the training"
        raise ParameterError(" and ".join(said), rule, [*said.values()])
    catalogue = said.pop("catalogue", None)
    known = [*predictors] if catalogue is None else with_catalogue(predictors, catalogue, tables)
    return [
        replace(p, policy=replace(p.policy, **said), at_stored_prices=stored_prices)
        if isinstance(p, Actions)
        else p
        for p in known
    ]


def compare_with_training(
    manifest: Manifest, tables: Tables, base: Base, table: pd.DataFrame, strict: bool
) -> None:
    """Warn of customers unlike those of the training, or refuse them."""
    if manifest.trained_on is None:
        return
    now = measure_base(tables, base, table, manifest.horizon)
    unlike = compare_ranges(manifest.trained_on, now, contracts=manifest.kind == "contracts")
    if unlike is None:
        return
    if strict:
        raise UnlikeTrainingError(unlike)
    warnings.warn(unlike, UnlikeTrainingWarning, stacklevel=3)
