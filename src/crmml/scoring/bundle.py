"""The scoring bundle: everything that scoring needs, as values and as plain files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import pandas as pd

from crmml import __version__, models
from crmml.actions.allocation import Prices
from crmml.actions.catalogue import ActionCatalogue
from crmml.exceptions import BundleError
from crmml.models.estimator import Estimator
from crmml.models.forecast.forecasters import Forecaster
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.value_tier import ValueTiers

FORMAT_VERSION = 1
"""Format of the folder; a newer one is refused, older ones are read."""


@dataclass(frozen=True)
class Policy:
    """How actions are given out.

    Attributes
    ----------
    budget : float
        Money for one round, >= 0.
    capacities : mapping of str to float
        Channel to most contacts in one round.
    holdout_share : float
        Share of customers left alone at random, in [0, 1).
    seed : int
        Decides who is held out, together with the cutoff and the customer's id.
    prices : Prices, optional
        Shadow prices of the training's allocation. A customer scored without the rest of the base
        takes the best of net gain - price x cost.
    """

    budget: float
    capacities: Mapping[str, float]
    holdout_share: float
    seed: int
    prices: Prices | None = None

    @property
    def version(self) -> str:
        """Short hash of the policy without its prices, written on every scored row."""
        return hashlib.sha256(_json({**self.to_dict(), "prices": None})).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = {**asdict(self), "capacities": dict(self.capacities)}
        return {**plain, "prices": self.prices.to_dict() if self.prices else None}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        prices = stored["prices"]
        return cls(**{**stored, "prices": Prices.from_dict(prices) if prices else None})


@dataclass(frozen=True)
class ScoringBundle:
    """Fitted models, cut points and actions, as trained; :func:`crmml.score` applies it.

    Attributes
    ----------
    manifest : mapping
        ``name``, ``created_for_cutoff``, ``horizon``, ``gap``, ``value_horizon``, ``grain``,
        ``time_unit``, ``id_type`` (``"integer"`` or ``"text"``), ``columns`` (of the transactions
        at training), ``channels``, ``own_seller``, ``loyalty_window``, ``cleaning`` (policies),
        ``absent`` (outputs that these data cannot give, with the reason), metrics and hashes.
    lifetime_value : LifetimeValueModel
        Purchases, spend, discounting and margin.
    forecast : Forecaster
        Purchases and spend in the outcome horizon: the winner of the backtest.
    churn : estimator with ``churn_probability(snapshot)``
        The best that the data allowed.
    loyalty : LoyaltyModel
        Class in the next window.
    tiers, lifecycle
        Stored cut points.
    catalogue : ActionCatalogue
        What can be done.
    policy : Policy
        Budget, capacities, hold-out and stored prices.
    """

    manifest: Mapping[str, Any]
    lifetime_value: LifetimeValueModel
    forecast: Forecaster
    churn: Any
    loyalty: Any
    tiers: ValueTiers
    lifecycle: LifecycleStages
    catalogue: ActionCatalogue
    policy: Policy

    @property
    def version(self) -> str:
        """Short hash of the models, written on every scored row as ``model_version``."""
        files = self._files()
        models = (files[name] for name in sorted(files) if name != "policy.json")
        return hashlib.sha256(b"\0".join(models)).hexdigest()[:12]

    def score(self, transactions: Any, cutoff: str | pd.Timestamp | None = None) -> pd.DataFrame:
        """Score customers with the stored prices: one alone gets what it gets in a batch.

        Parameters
        ----------
        transactions : Tables, DataFrame, Arrow table or path
            The log.
        cutoff : str or Timestamp, optional
            See :func:`crmml.score`.

        Returns
        -------
        DataFrame
            One row per customer; see :func:`crmml.score`.
        """
        from crmml.scoring.scorer import score

        return score(self, transactions, cutoff, stored_prices=True).table

    def to_files(self) -> dict[str, bytes]:
        """Return the bundle as files: JSON, and a manifest with the hash of each."""
        files = self._files()
        manifest = {
            **self.manifest,
            "format_version": FORMAT_VERSION,
            "crmml_version": __version__,
            "model_version": self.version,
            "policy_version": self.policy.version,
            "hashes": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
        return {**files, "manifest.json": _json(manifest)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Rebuild a bundle from :meth:`to_files`.

        Raises
        ------
        BundleError
            If a file is missing or cannot be read.
        """
        try:
            read = {
                name: json.loads(data) for name, data in files.items() if name.endswith(".json")
            }
            loaded = {
                name: models.from_dict(read[f"{name}.json"])
                for name in ("lifetime_value", "forecast", "churn", "loyalty")
            }
            segments = read["segments.json"]
            return cls(
                manifest=read["manifest.json"],
                tiers=ValueTiers.from_dict(segments["tiers"]),
                lifecycle=LifecycleStages.from_dict(segments["lifecycle"]),
                catalogue=ActionCatalogue.from_dict(read["catalogue.json"]),
                policy=Policy.from_dict(read["policy.json"]),
                **loaded,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the bundle cannot be read: {error!r}") from error

    def _files(self) -> dict[str, bytes]:
        estimators: dict[str, Estimator] = {
            "lifetime_value": self.lifetime_value,
            "forecast": self.forecast,
            "churn": self.churn,
            "loyalty": self.loyalty,
        }
        segments = {"tiers": self.tiers.to_dict(), "lifecycle": self.lifecycle.to_dict()}
        return {
            **{f"{name}.json": _json(model.to_dict()) for name, model in estimators.items()},
            "segments.json": _json(segments),
            "catalogue.json": _json(self.catalogue.to_dict()),
            "policy.json": _json(self.policy.to_dict()),
        }


def _json(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False)
    return (text + "\n").encode()
