"""The control group: customers left alone by chance, so that every cycle is an experiment.

Chance is a hash of (seed, experiment, customer id): it needs no state, does not depend on the order
of the rows or on who else is in the batch, and comes out the same on every machine. The cutoff
plays no part in it: a customer stays in the control group from the first night of an experiment to
the last, or nothing that takes longer than a night could ever be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import hash_keys, keyed_uniforms

KeyArray = npt.NDArray[np.uint64]


RISK_LEVEL, VALUE_LEVELS = 0.5, (0.5, 0.9)
"""Quantiles of risk and of value at which strata are cut when an experiment starts."""

MOST = 0.5
"""Largest share of a stratum that is held out."""


@dataclass(frozen=True)
class Strata:
    """Strata of risk and value, and the share of each that is held out.

    Cut points and shares are fixed when an experiment starts and stored. Where shares differ, a
    customer who moves to another stratum keeps the share of the first night, if a memory of
    earlier nights is at hand.

    Attributes
    ----------
    risk_cuts, value_cuts : tuple of float
        Lowest churn probability, and lowest value, of each class but the first; rising.
    shares : tuple of tuple of float
        Share held out by class of risk (rows) and class of value, each in [0, 1).
    """

    risk_cuts: tuple[float, ...]
    value_cuts: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(
        cls, risk: pd.Series[float], value: pd.Series[float], *, share: float, least: int = 0
    ) -> Self:
        """Cut at the quantiles of some customers, and settle the shares.

        Parameters
        ----------
        risk, value : Series
            Churn probability and lifetime value of the same customers.
        share : float
            Of every stratum; 0 for no control group at all.
        least : int
            Customers whom each stratum should hold out: a small stratum holds out a larger share,
            but never more than half.

        Examples
        --------
        >>> risk = pd.Series(np.arange(1000) % 10 / 10)
        >>> strata = Strata.fit(risk, pd.Series(np.arange(1000.0)), share=0.05, least=10)
        >>> strata.shares
        ((0.05, 0.05, 0.2), (0.05, 0.05, 0.2))
        """
        risk_cuts = _cuts(risk, (RISK_LEVEL,))
        value_cuts = _cuts(value, VALUE_LEVELS)
        strata = cls(risk_cuts, value_cuts, ((0.0,) * (len(value_cuts) + 1),) * 2)
        counts = np.zeros((2, len(value_cuts) + 1))
        np.add.at(counts, strata._classes(risk, value), 1)
        wanted = np.where(counts > 0, least / np.maximum(counts, 1), share)
        shares = np.clip(wanted, share, max(share, MOST)) if share > 0 else np.zeros(counts.shape)
        return cls(risk_cuts, value_cuts, tuple(tuple(row) for row in shares.tolist()))

    @property
    def differ(self) -> bool:
        """Whether the share depends on the stratum."""
        return len({share for row in self.shares for share in row}) > 1

    def share_of(self, risk: pd.Series[float], value: pd.Series[float]) -> FloatArray:
        """Return the share of each customer's stratum, shape (n,); unknown values count as low."""
        return np.asarray(self.shares)[self._classes(risk, value)]

    def _classes(
        self, risk: pd.Series[float], value: pd.Series[float]
    ) -> tuple[IntArray, IntArray]:
        return (
            np.searchsorted(self.risk_cuts, risk.fillna(-np.inf).to_numpy(), side="right"),
            np.searchsorted(self.value_cuts, value.fillna(-np.inf).to_numpy(), side="right"),
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from plain JSON values."""
        return cls(
            tuple(stored["risk_cuts"]),
            tuple(stored["value_cuts"]),
            tuple(tuple(row) for row in stored["shares"]),
        )


def _cuts(values: pd.Series[float], levels: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(q) for q in np.quantile(values.dropna().to_numpy(), levels))


@dataclass(frozen=True)
class Holdout:
    """Who is held out, and with what probability.

    Attributes
    ----------
    held_out : ndarray of bool, shape (n,)
        Customers who get ``no_action`` by chance.
    share : float, or ndarray of shape (n,)
        Probability of being held out, of all or of each customer.
    """

    held_out: BoolArray
    share: float | FloatArray

    def propensity(self, acts: npt.ArrayLike, chance: npt.ArrayLike) -> FloatArray:
        """Return the probability of what each customer was given.

        Parameters
        ----------
        acts : array of bool, shape (n,)
            Whether the customer was given an action.
        chance : array, shape (n,)
            Probability that the policy wants what was given: 1 or 0 but for ties at the margin.

        Returns
        -------
        ndarray, shape (n,)
            (1 - share) x chance of an action; share + (1 - share) x chance of no action.

        Examples
        --------
        Held out, given what the policy wants, nothing wanted, half of a tie served:

        >>> hold = Holdout(np.array([True, False, False, False]), 0.1)
        >>> hold.propensity([False, True, False, True], [0, 1, 1, 0.5])
        array([0.1 , 0.9 , 1.  , 0.45])
        """
        wanted = (1.0 - self.share) * np.asarray(chance, dtype=float)
        return np.where(np.asarray(acts, dtype=bool), wanted, self.share + wanted)


def assign_holdout(
    customer_id: Iterable[Any] | None = None,
    *,
    share: float | FloatArray,
    seed: int,
    experiment: str,
    keys: KeyArray | None = None,
) -> Holdout:
    """Hold out a share of the customers by chance.

    Parameters
    ----------
    customer_id : iterable
        Ids; or give their ``keys`` (:func:`crmml.metrics.bootstrap.hash_keys`) if at hand.
    share : float, or ndarray of shape (n,)
        Between 0 and 1 (1 excluded); an array where strata have shares of their own.
    seed : int
        Another seed (>= 0) holds out other customers.
    experiment : str
        Name of the experiment. The same name holds out the same customers at every cutoff; a new
        one draws anew, so that nobody is left alone for ever.

    Examples
    --------
    >>> hold = assign_holdout(range(10_000), share=0.1, seed=1, experiment="spring")
    >>> int(hold.held_out.sum())
    973
    """
    if not np.all((np.asarray(share) >= 0) & (np.asarray(share) < 1)):
        raise ParameterError("holdout share", "at least 0 and below 1", share)
    if keys is None:
        keys = hash_keys(customer_id if customer_id is not None else ())
    uniforms = draw(keys, seed=seed, occasion=f"experiment {experiment}", purpose="holdout")
    return Holdout(uniforms < share, share)


def draw(keys: KeyArray, *, seed: int, occasion: str, purpose: str) -> FloatArray:
    """Draw one uniform number in (0, 1) for each customer; purposes are independent.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        From :func:`crmml.metrics.bootstrap.hash_keys`.
    seed : int
        >= 0.
    occasion : str
        Every occasion, such as a cutoff, draws anew.
    purpose : str
        What the number decides.
    """
    stream = int(hash_keys([f"{purpose}|{occasion}"])[0])
    return keyed_uniforms(keys, seed, stream)
