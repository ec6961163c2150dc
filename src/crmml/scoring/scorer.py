"""One row per customer at a cutoff: predictions, segments and the recommended action."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from crmml.actions.economics import NetGains
from crmml.actions.recommendation import Recommendation
from crmml.data.settings import Policies
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import CrmmlError, SilenceWarning
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import end_of_observation, read_moment
from crmml.scoring.decisions import Actions
from crmml.scoring.manifest import Manifest
from crmml.scoring.outlooks import INTERVAL
from crmml.scoring.predictors import Moment, Predictor, predict_all

__all__ = ["INTERVAL", "Scores", "open_for", "score"]

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
class Scores:
    """What :func:`score` returns.

    Attributes
    ----------
    table : DataFrame
        One row per customer, sorted by ``customer_id``.
    snapshot : Snapshot
        What was scored.
    recommendation : Recommendation
        With the gains of all actions, the allocation, its prices and its certificate.
    absent : dict of str to str
        Columns that are null throughout, and why.
    """

    table: pd.DataFrame
    snapshot: Snapshot
    found: Recommendation | None
    absent: dict[str, str]

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


def score(
    bundle: Bundle,
    transactions: Any,
    cutoff: str | pd.Timestamp | None = None,
    *,
    customers: Any = None,
    stored_prices: bool = False,
    budget: float | None = None,
    plans: pd.DataFrame | None = None,
) -> Scores:
    """Score every customer who bought before the cutoff.

    Parameters
    ----------
    bundle : ScoringBundle
        What was trained.
    transactions : Tables, DataFrame, Arrow table, path, or mapping of these by table
        The log; what is not a :class:`~crmml.data.tables.Tables` is opened with the data policies
        of the training.
    cutoff : str or Timestamp, optional
        Score as of this moment; default: the end of the last day of the data, or the cutoff of
        the training if that is later. The log is taken to be complete up to it.
    customers : DataFrame, Arrow table or path, optional
        The customers table (``contactable``, attributes); ignored with ``Tables``.
    stored_prices : bool
        Give out actions at the shadow prices of the training, each customer alone, instead of
        allocating the budget among those at hand.
    budget : float, optional
        Instead of the budget of the bundle's policy.
    plans : DataFrame, optional
        Contacts that earlier runs have planned, from :func:`crmml.storage.scores.read_plans`;
        with the table ``treatments`` they are the memory of contacts.

    Returns
    -------
    Scores

    Raises
    ------
    DataError, TooLittleDataError
        If the tables break a rule or nothing was bought before the cutoff.

    Notes
    -----
    Every optional column of the log may be left out, also one that was there at training: what
    rests on it is then unknown, and the models take it as they take any missing value.
    """
    manifest = bundle.manifest
    tables = open_for(bundle, transactions, customers)
    snapshot = _snapshot(
        manifest, tables, _checked(bundle, tables, scoring_cutoff(bundle, tables, cutoff))
    )
    moment = Moment(tables, snapshot, plans=plans)
    predictors = [
        _under(p, stored_prices, budget) if isinstance(p, Actions) else p for p in bundle.predictors
    ]
    table = predict_all(predictors, moment)
    table["model_version"] = bundle.version
    for predictor in predictors:
        if isinstance(predictor, Actions):
            table["policy_version"] = predictor.policy.version
    table.insert(0, "cutoff", snapshot.cutoff)
    return Scores(
        table.sort_index().reset_index(), snapshot, moment.found.get(Actions.name), moment.absent
    )


def open_for(bundle: Bundle, transactions: Any, customers: Any = None) -> Tables:
    """Open a log under the data policies of the training; ``Tables`` come back as they are."""
    if isinstance(transactions, Tables):
        return transactions
    policies = Policies(**bundle.manifest.policies.get("transactions", {}))  # type: ignore[arg-type]
    if isinstance(transactions, Mapping) and customers is not None:
        transactions, customers = {**transactions, "customers": customers}, None
    return open_tables(transactions, customers, policies=policies)


def scoring_cutoff(
    bundle: Bundle, tables: Tables, cutoff: str | pd.Timestamp | None = None
) -> pd.Timestamp:
    """Return the moment as of which :func:`score` scores; see there."""
    tables.require_log()
    end, trained = end_of_observation(tables.last_timestamp), pd.Timestamp(bundle.manifest.cutoff)
    return max(end, trained) if cutoff is None else read_moment(cutoff, "cutoff")


def _checked(bundle: Bundle, tables: Tables, moment: pd.Timestamp) -> pd.Timestamp:
    """Warn of a log that ends long before the cutoff, refuse another currency."""
    manifest, end = bundle.manifest, end_of_observation(tables.last_timestamp)
    if moment > max(end, pd.Timestamp(manifest.cutoff)) + _SILENCE:
        warnings.warn(
            f"the log ends on {tables.last_timestamp.date()}, {(moment - end).days:,} days before "
            f"the cutoff {moment.date()}: those days count as silence of every customer",
            SilenceWarning,
            stacklevel=3,
        )
    if None not in (tables.currency, manifest.currency) and tables.currency != manifest.currency:
        raise CrmmlError(
            f"the bundle was trained in {manifest.currency}, these transactions are in "
            f"{tables.currency}"
        )
    return moment


def _snapshot(manifest: Manifest, tables: Tables, moment: pd.Timestamp) -> Snapshot:
    """Build the snapshot of the training's settings, with all of the training's columns."""
    known = tables.transactions.columns
    snapshot = build_snapshot(
        tables,
        moment,
        grain=manifest.grain,
        time_unit=manifest.time_unit,
        channels=manifest.channels,
        own_seller=manifest.own_seller if "seller" in known else None,
    )
    lost = [name for name in manifest.features if name not in snapshot.frame]
    if not lost:
        return snapshot
    return replace(snapshot, frame=snapshot.frame.assign(**dict.fromkeys(lost, np.nan)))


def _under(actions: Actions, stored_prices: bool, budget: float | None) -> Actions:
    policy = actions.policy if budget is None else replace(actions.policy, budget=budget)
    return replace(actions, policy=policy, at_stored_prices=stored_prices)
