"""The scoring bundle: everything that scoring needs, as values and as plain files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import pandas as pd

from crmml import __version__
from crmml.actions.catalogue import ActionCatalogue
from crmml.card import Card, Shown, listed, moment
from crmml.exceptions import BundleError, CrmmlError
from crmml.models.forecast.forecasters import Forecaster
from crmml.models.stored import read_stored
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.scoring import standard
from crmml.scoring.decisions import Actions, Policy, Stages, Tiers, as_json
from crmml.scoring.labelled import card_of
from crmml.scoring.manifest import DIGEST, FORMAT_VERSION, MANIFEST, Manifest, digest, form_digest
from crmml.scoring.outlooks import ChurnRisk, LifetimeValue, Loyalty, PurchaseForecast
from crmml.scoring.predictors import Output, Predictor, in_order, tabulate_glossary
from crmml.scoring.profit import PROFIT
from crmml.scoring.scorer import score
from crmml.scoring.upgrades import upgrade
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.value_tier import ValueTiers

__all__ = ["FORMAT_VERSION", "Manifest", "Policy", "ScoringBundle"]

_OF_POLICY = {"policy", "catalogue", "margin_horizons", "windows"}
"""Parts of predictors that the catalogue and the policy decide, and what is computed for them."""

_CHURNED: Mapping[str, str] = {
    "transactions": "churned is who buys nothing in it",
    "contracts": "churned is whose contract ends in it",
}
"""What churn means, by the kind of the bundle."""

_P = TypeVar("_P")


@dataclass(frozen=True, repr=False)
class ScoringBundle(Shown):
    """Fitted predictors and what they were trained on; :func:`crmml.score` applies them.

    Attributes
    ----------
    manifest : Manifest
        What was trained on what.
    predictors : tuple of Predictor
        What gives the columns of the scores, in the order of the columns.
    """

    manifest: Manifest
    predictors: tuple[Predictor, ...]

    def __post_init__(self) -> None:
        in_order(self.predictors)
        names = tuple(predictor.name for predictor in self.predictors)
        if names != self.manifest.predictors:
            object.__setattr__(self, "manifest", self.manifest.changed(predictors=names))

    def _card(self) -> Card:
        known = self.manifest
        if known.kind == "labelled":
            return card_of(self)
        rows = [
            ("trained", f"at {moment(known.cutoff)} by crmml {known.crmml_version}"),
            ("horizon", f"{known.horizon}: {_CHURNED[known.kind]}"),
            ("value", f"lifetime value looks {known.value_horizon} ahead"),
            *_grain_row(known),
            ("gives", listed((predictor.name for predictor in self.predictors), most=20)),
            *((f"null: {name}", why) for name, why in [*known.absent.items()][:5]),
            ("more", "crmml.score(bundle, log) scores; glossary() describes the columns"),
        ]
        return Card(f"ScoringBundle {known.name}, trained at {moment(known.cutoff)}", tuple(rows))

    @cached_property
    def version(self) -> str:
        """Short hash of models and settings, written on every scored row as ``model_version``.

        Catalogue and policy have a hash of their own, ``policy_version``.
        """
        stored = [standard.predictor_to_dict(predictor) for predictor in self.predictors]
        models = [{k: v for k, v in one.items() if k not in _OF_POLICY} for one in stored]
        return hashlib.sha256(as_json([self.manifest.identity(), models])).hexdigest()[:12]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Columns of the scores, in their order."""
        return tuple(output for _, output in self._described() if output.served)

    def glossary(self) -> pd.DataFrame:
        """Describe the columns of the scores.

        Returns
        -------
        DataFrame
            ``name``, ``dtype``, ``unit``, ``meaning``, ``horizon`` (null where it looks at no
            future) and ``predictor``, a row per column.
        """
        return tabulate_glossary(self._described())

    def score(
        self,
        transactions: Any,
        cutoff: str | pd.Timestamp | None = None,
        customers: Any = None,
        *,
        budget: float | None = None,
        lang: str = "en",
    ) -> pd.DataFrame:
        """Score customers with the stored prices: one alone gets what it gets in a batch.

        Parameters
        ----------
        transactions : Tables, DataFrame, Arrow table, path, or mapping of these by table
            The log.
        cutoff : str or Timestamp, optional
            See :func:`crmml.score`.
        customers : DataFrame, Arrow table or path, optional
            The customers table.
        budget : float, optional
            Allocate this budget among these customers, instead of asking the stored prices.
        lang : {"en", "fa"}
            Language of the reasons.

        Returns
        -------
        DataFrame
            One row per customer; see :func:`crmml.score`.
        """
        prices = budget is None and any(isinstance(p, Actions) for p in self.predictors)
        table: pd.DataFrame = score(
            self,
            transactions,
            cutoff,
            customers=customers,
            stored_prices=prices,
            budget=budget,
            lang=lang,
        ).table
        return table

    def with_policy(self, policy: Policy) -> Self:
        """Return the bundle with another policy of its actions."""
        return replace(
            self,
            predictors=tuple(
                replace(p, policy=policy) if isinstance(p, Actions) else p for p in self.predictors
            ),
        )

    # -- parts, by the names of 0.1 --------------------------------------------------------------

    @property
    def lifetime_value(self) -> LifetimeValueModel:
        """Purchases, spend, discounting and margin."""
        model: LifetimeValueModel = self._one(LifetimeValue).model
        return model

    @property
    def forecast(self) -> Forecaster:
        """Purchases and spend in the outcome horizon: the winner of the backtest."""
        model: Forecaster = self._one(PurchaseForecast).model
        return model

    @property
    def churn(self) -> Any:
        """The churn model: an estimator with ``churn_probability(snapshot)``."""
        return self._one(ChurnRisk).model

    @property
    def loyalty(self) -> Any:
        """The model of the class in the next window."""
        return self._one(Loyalty).model

    @property
    def tiers(self) -> ValueTiers:
        """Value tiers, with their cut points."""
        return self._one(Tiers).segments

    @property
    def tiers_by(self) -> str:
        """What the tiers were cut by: ``clv`` or ``profit``."""
        return "profit" if self._one(Tiers).by == PROFIT else "clv"

    @property
    def lifecycle(self) -> LifecycleStages:
        """Lifecycle stages, with their lengths of history."""
        return self._one(Stages).segments

    @property
    def catalogue(self) -> ActionCatalogue:
        """What can be done."""
        return self._one(Actions).catalogue

    @property
    def policy(self) -> Policy:
        """Budget, capacities, control group and stored prices."""
        return self._one(Actions).policy

    @property
    def policy_version(self) -> str:
        """Short hash of catalogue and policy, written on every scored row."""
        return self._one(Actions).version

    def _one(self, kind: type[_P]) -> _P:
        for predictor in self.predictors:
            if isinstance(predictor, kind):
                return predictor
        raise CrmmlError(
            f"this bundle has no predictor of the kind {kind.__name__}; it has "
            f"{', '.join(predictor.name for predictor in self.predictors)}"
        )

    def _described(self) -> list[tuple[str, Output]]:
        acts = any(isinstance(p, Actions) for p in self.predictors)
        timed = self.manifest.kind != "labelled"
        keys, versions = standard.frame_outputs(self.manifest.id_type, policy=acts, timed=timed)
        return [
            *(("", output) for output in keys),
            *((p.name, output) for p in self.predictors for output in p.outputs),
            *(("", output) for output in versions),
        ]

    # -- files -----------------------------------------------------------------------------------

    def to_files(self) -> dict[str, bytes]:
        """Return the bundle as files: one per predictor, the manifest, and its digest.

        The manifest holds the hash of every predictor's file, and ``bundle.sha256`` that of the
        manifest.
        """
        plain = {f"{p.name}.json": standard.predictor_to_dict(p) for p in self.predictors}
        files = {name: as_json(stored) for name, stored in plain.items()}
        acts = any(isinstance(p, Actions) for p in self.predictors)
        manifest = self.manifest.changed(
            crmml_version=__version__,
            model_version=self.version,
            policy_version=self.policy_version if acts else "",
            hashes={name: digest(content) for name, content in files.items()},
            forms={name: form_digest(stored) for name, stored in plain.items()},
        )
        text = as_json(manifest.plain())
        return {**files, MANIFEST: text, DIGEST: f"{digest(text)}\n".encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Rebuild a bundle from :meth:`to_files`; older formats are upgraded.

        Raises
        ------
        BundleError
            If a file is missing or cannot be read.
        """
        with _told("the bundle"):
            current = upgrade(files)
            manifest = Manifest.from_json(current[MANIFEST])
            for name in manifest.predictors:
                if f"{name}.json" not in current:
                    raise BundleError(f"the bundle is damaged: {name:.60}.json is missing")
            read = [_read_predictor(current, name, manifest) for name in manifest.predictors]
            return cls(manifest, tuple(read))


def _grain_row(known: Manifest) -> list[tuple[str, str]]:
    if known.kind != "transactions":
        return []
    return [("one purchase", f"all lines of one {known.grain}")]


def _read_predictor(files: Mapping[str, bytes], name: str, manifest: Manifest) -> Predictor:
    file = f"{name}.json"
    stored = read_stored(files[file], f"{file} of the bundle")
    if manifest.forms.get(file, form := form_digest(stored)) != form:
        raise BundleError(
            f"{file} of the bundle does not have the form in which it was written: a key is gone "
            "or new, or a number is none; it was edited after training"
        )
    with _told(f"{file} of the bundle"):
        return standard.predictor_from_dict(stored)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever an altered file brings about into one sentence."""
    try:
        yield
    except BundleError:
        raise
    except CrmmlError as error:
        raise BundleError(f"{what} cannot be read: {error!s:.800}") from error
    except KeyError as error:
        raise BundleError(f"{what} cannot be read: it lacks {error!s:.80}") from error
    except (
        *(TypeError, ValueError, AttributeError, IndexError),
        *(OverflowError, RecursionError, MemoryError),
    ) as error:
        why = "it lacks a key, has one too many, or holds a value of another kind"
        raise BundleError(f"{what} cannot be read: {why}") from error
