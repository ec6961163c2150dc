"""Scores in batches of customers: two passes, so that memory is that of one batch.

The first pass predicts batch by batch, lays the predictions in a private folder, and gathers what
needs the whole base: the gains among which a budget is allocated, the strata of the control group,
the figures of the guards. The second decides and hands out the scores, in the order of the
customers. Each customer gets what :func:`crmml.score` gives, whatever the size of the batches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from crmml.actions.allocation import Allocation, allocate
from crmml.actions.catalogue import ActionCatalogue, Option
from crmml.actions.recommendation import Offers, Terms
from crmml.atomic import private_folder
from crmml.data.tables import Tables
from crmml.features.batches import Batches, in_batches
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import Enough, ReferencePopulation, Wallet
from crmml.scoring.counted import WHY, is_counted, money_outputs, without_money
from crmml.scoring.decisions import Actions
from crmml.scoring.loyalty_detail import CategoryLoyalty
from crmml.scoring.manifest import Manifest
from crmml.scoring.outlooks import Loyalty
from crmml.scoring.predictors import (
    Moment,
    Predictor,
    obstacle,
    predict_columns,
    served_names,
)
from crmml.scoring.reason_words import check_lang
from crmml.scoring.scorer import (
    Bundle,
    Scores,
    checked_cutoff,
    compare_with_training,
    deciding,
    name_versions,
    score,
    scoring_cutoff,
    settings_of_snapshot,
    with_all_columns,
)
from crmml.scoring.segments import TasteSegment
from crmml.scoring.spool import Spool
from crmml.scoring.whole import WholeScores
from crmml.stats.threads import one_thread

BATCH = 100_000
"""Customers at a time: more save little, fewer compute the same futures again."""


class _Offered:
    """What each action would bring for all customers: what an allocation asks for."""

    def __init__(self, customer_id: pd.Index[Any], catalogue: ActionCatalogue) -> None:
        self.customer_id, self.catalogue = customer_id, catalogue
        # Options are read one after the other, so each lies in one stretch of memory.
        shape = (len(self.options), len(self))
        self.net, self.cost = np.empty(shape).T, np.empty(shape).T
        self.available, self.draws = np.empty(len(self), dtype=bool), np.empty(len(self))
        self.terms: dict[int, Terms] = {}

    @property
    def options(self) -> tuple[Option, ...]:
        """Those of the catalogue."""
        return self.catalogue.options

    def __len__(self) -> int:
        return len(self.customer_id)

    def add(self, k: int, rows: slice, offers: Offers) -> None:
        """Keep what the offers to the customers of a part say."""
        gains = offers.gains
        self.net[rows], self.cost[rows] = gains.net, gains.cost
        # Draws belong to the customer, not to the batch, so that the size of a batch decides
        # nothing.
        self.available[rows], self.draws[rows] = ~offers.holdout.held_out, offers.draws
        self.terms[k] = offers.terms


@dataclass(frozen=True)
class _BatchMoment(Moment):
    """A moment of one batch, whose wallets are measured already."""

    batches: Batches | None = None
    batch: int = 0

    def wallet(
        self, length: str, peers: ReferencePopulation | None, enough: Enough = "own"
    ) -> Wallet:
        """Read them."""
        if self.batches is None:
            return super().wallet(length, peers, enough)
        return self.batches.wallet(self.batch, length, peers, self.signals(length), enough)

    def category_wallets(
        self,
        length: str,
        categories: Sequence[str],
        peers: Mapping[str, ReferencePopulation] | None,
    ) -> Iterable[tuple[str, Wallet]]:
        """Read them."""
        if self.batches is None:
            return super().category_wallets(length, categories, peers)
        return self.batches.category_wallets(self.batch, length, peers)

    def assign_by_lines(
        self, name: str, categories: Sequence[str], assign: Callable[[pd.DataFrame], pd.Series[str]]
    ) -> pd.Series[str]:
        """Assign it to this batch."""
        if self.batches is None:
            return super().assign_by_lines(name, categories, assign)
        return assign(self.batches.count_lines(self.batch))


@dataclass(frozen=True)
class ScoredBatches:
    """Scores that are decided and handed out batch by batch; see :func:`score_in_batches`.

    Attributes
    ----------
    cutoff : Timestamp
    absent : dict of str to str
        Columns that are null throughout, and why.
    allocation : Allocation or None
        Of the budget among all customers; None where actions are given out at stored prices, or
        none are recommended.
    """

    cutoff: pd.Timestamp
    absent: dict[str, str]
    allocation: Allocation | None
    _predictors: tuple[Predictor, ...]
    _version: str
    _manifest: Manifest
    _spool: Spool
    _shared: _Shared
    _terms: Mapping[int, Terms]

    def __len__(self) -> int:
        return len(self._spool.customer_id)

    def gather(self, names: Sequence[str]) -> dict[str, pd.Series[Any]]:
        """Return those of some predicted columns that there are, of all customers."""
        return self._spool.gather([name for name in names if name in self._spool.names])

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield the scores, a frame per batch, rising in ``customer_id`` from one to the next."""
        # Actions come last: their prices need the net gains of all batches.
        late = [p for p in self._predictors if isinstance(p, Actions)]
        names = served_names(self._predictors)
        versions = name_versions(self._version, self._predictors)
        money = money_outputs(self._predictors) if is_counted(self._manifest) else []
        for k in range(self._spool.count):
            known = self._spool.read(k)
            given: dict[str, Any] = {}
            if self.allocation is not None:
                part = self.allocation.part(self._spool.rows(k))
                given = {"allocation": part, "terms": self._terms[k]}
            moment = self._shared.moment(self._spool.ids(k), self.absent, **given)
            columns = predict_columns(late, moment, known)
            # Laid out at once: to put a column before a hundred others moves them all.
            served = {"customer_id": moment.base.customer_id, "cutoff": self.cutoff}
            served |= {name: columns[name].array for name in names}
            table = pd.DataFrame(served | versions, copy=False)
            yield without_money(table, money)


@dataclass(frozen=True)
class _Shared:
    """What all batches share."""

    tables: Tables
    manifest: Manifest
    cutoff: pd.Timestamp
    given: dict[str, Any]

    def moment(self, ids: pd.Index[Any], absent: Mapping[str, str], **known: Any) -> Moment:
        """Return the moment at which is decided about some customers."""
        grain, unit = self.manifest.grain, self.manifest.time_unit
        # Actions read predictions from the spool, so a snapshot that knows the ids alone is enough.
        base = Snapshot(pd.DataFrame({"customer_id": ids}), self.cutoff, grain, unit)
        return Moment(self.tables, base, absent=dict(absent), **known, **self.given)


@contextmanager
def score_in_batches(
    bundle: Bundle,
    tables: Tables,
    cutoff: str | pd.Timestamp | None = None,
    *,
    size: int = BATCH,
    stored_prices: bool = False,
    budget: float | None = None,
    capacities: Mapping[str, float] | None = None,
    catalogue: ActionCatalogue | None = None,
    plans: pd.DataFrame | None = None,
    control: pd.DataFrame | None = None,
    strict: bool = False,
    lang: str = "en",
) -> Iterator[ScoredBatches | WholeScores]:
    """Score every customer who bought before the cutoff, in the memory of one batch.

    What grows with the base is the ids, net gain and cost of each option (17 bytes for each
    customer and option), and the tables ``customers`` and ``treatments``, if they are given.

    Parameters
    ----------
    bundle, tables, cutoff, stored_prices, budget, capacities, catalogue, plans, control, strict
        See :func:`crmml.score`.
    lang
        See :func:`crmml.score`.
    size : int
        Customers in a batch, about; at least 1. It changes no figure.

    Yields
    ------
    ScoredBatches or WholeScores
        The latter where the base is no log. To be iterated while the context lasts;
        :func:`crmml.storage.scores.write_scores` takes it.

    Raises
    ------
    DataError, TooLittleDataError, UnlikeTrainingError
        As :func:`crmml.score`, before anything is handed out.
    """
    manifest = bundle.manifest
    given: dict[str, Any] = {"budget": budget, "capacities": capacities, "catalogue": catalogue}
    if manifest.kind != "transactions":
        asked: dict[str, Any] = {"plans": plans, "control": control, "strict": strict, "lang": lang}
        found = score(bundle, tables, cutoff, stored_prices=stored_prices, **given, **asked)
        # Of contracts: the command line hands rows of a labelled table to another function.
        yield WholeScores(cast(Scores, found))
        return
    check_lang(lang)
    at = checked_cutoff(bundle, tables, scoring_cutoff(bundle, tables, cutoff))
    predictors = deciding(bundle.predictors, tables, given, stored_prices)
    # The empty dict is one for all batches: what is read from the tables once is kept there.
    how: dict[str, Any] = {"plans": plans, "control": control, "lang": lang, "_shared": {}}
    shared = _Shared(tables, manifest, at, how)
    private = tempfile.TemporaryDirectory(dir=private_folder())
    with one_thread(), _system_memory(), private as folder:
        spool = Spool(Path(folder), [p for p in predictors if not isinstance(p, Actions)])
        # Three passes, as guards, strata and the budget each need the whole base: predictions go to
        # the disk first, gains are gathered from there, and only then are batches decided.
        absent = _predict(spool, shared, size)
        _guard(spool, shared, strict)
        predictors = [_with_strata(p, spool) for p in predictors]
        offered = None if stored_prices else _offer(predictors, spool, shared, absent)
        allocation = None if offered is None else _allocate(predictors, offered)
        terms = {} if offered is None else offered.terms
        del offered  # 16 bytes for each customer and option, needed no more
        if is_counted(manifest):
            absent |= dict.fromkeys((o.name for o in money_outputs(predictors)), WHY)
        yield ScoredBatches(
            at,
            absent,
            allocation,
            tuple(predictors),
            bundle.version,
            manifest,
            spool,
            shared,
            terms,
        )


@contextmanager
def _system_memory() -> Iterator[None]:
    """Let Arrow take its memory from the system while a context lasts.

    Its own pools give large columns back at once and take them anew, page by page: half of the
    time of reading the spool, and a tenth of the peak.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _predict(spool: Spool, shared: _Shared, size: int) -> dict[str, str]:
    """Predict batch by batch into the spool; return what is null throughout, and why."""
    tables, manifest = shared.tables, shared.manifest
    settings = settings_of_snapshot(manifest, tables)
    lengths = [p.window for p in spool.predictors if isinstance(p, Loyalty)]
    categories = {
        p.window: tuple(p.categories)
        for p in spool.predictors
        if isinstance(p, CategoryLoyalty) and p.obstacle(tables, settings["own_seller"]) is None
    }
    settings["categories"] = categories
    tastes = [p.segments for p in spool.predictors if isinstance(p, TasteSegment)]
    settings["counted"] = [c for found in tastes if found is not None for c in found.categories_]
    absent: dict[str, str] = {}
    with in_batches(tables, shared.cutoff, size=size, lengths=lengths, **settings) as batches:
        spool.part(batches.customer_id, size)
        for k in range(batches.count):
            snapshot = with_all_columns(batches.snapshot(k), manifest)
            moment = _BatchMoment(tables, snapshot, batches=batches, batch=k, **shared.given)
            spool.write(k, predict_columns(spool.predictors, moment))
            absent |= moment.absent
    return absent


def _guard(spool: Spool, shared: _Shared, strict: bool) -> None:
    """Compare all customers with those of the training."""
    manifest = shared.manifest
    if manifest.trained_on is None:
        return
    names = [n for n in ("frequency", "T", "net_spend", "value_tier") if n in spool.names]
    # These columns alone are held for all customers: the guards compare nothing else.
    table = pd.DataFrame(spool.gather(names))
    snapshot = Snapshot(table, shared.cutoff, manifest.grain, manifest.time_unit)
    compare_with_training(manifest, shared.tables, snapshot, table, strict)


def _with_strata(predictor: Predictor, spool: Spool) -> Predictor:
    """Fit the strata of the control group on all customers, where the bundle has none yet."""
    asked = ("churn_probability", "clv")
    if not isinstance(predictor, Actions) or not set(asked) <= set(spool.names):
        return predictor
    found = spool.gather(asked)
    return predictor.fit_strata(found["churn_probability"], found["clv"])


def _offer(
    predictors: Sequence[Predictor], spool: Spool, shared: _Shared, absent: dict[str, str]
) -> _Offered | None:
    """Make the offers to all customers; None where no actions are recommended."""
    actions = next((p for p in predictors if isinstance(p, Actions)), None)
    if actions is None:
        return None
    offered = _Offered(spool.customer_id, actions.catalogue)
    reads = actions.reads
    for k in range(spool.count):
        moment = shared.moment(spool.ids(k), absent)
        if obstacle(actions, moment, spool.names) is not None:
            return None
        known = spool.read(k, [name for name in spool.names if name in reads])
        so_far = pd.DataFrame(known, index=moment.base.customer_id, copy=False)
        offers = actions.offer(moment, so_far)
        if offers is None:
            return None
        offered.add(k, spool.rows(k), offers)
    return offered if len(offered) else None


def _allocate(predictors: Sequence[Predictor], offered: _Offered) -> Allocation:
    """Allocate the budget among all customers."""
    (policy,) = (p.policy for p in predictors if isinstance(p, Actions))
    return allocate(
        offered,
        budget=policy.budget,
        capacities=policy.capacities,
        available=offered.available,
        draws=offered.draws,
    )
