"""The randomised hold-out: customers left alone by chance, so that the next cycle is an experiment.

Chance is a hash of (seed, cutoff, customer id): it needs no state, does not depend on the order
of the rows or on who else is in the batch, and comes out the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import BoolArray, FloatArray
from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import hash_keys, keyed_uniforms

KeyArray = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Holdout:
    """Who is held out, and with what probability.

    Attributes
    ----------
    held_out : ndarray of bool, shape (n,)
        Customers who get ``no_action`` by chance.
    share : float
        Probability of being held out, the same for all.
    """

    held_out: BoolArray
    share: float

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
    share: float,
    seed: int,
    cutoff: str | pd.Timestamp,
    keys: KeyArray | None = None,
) -> Holdout:
    """Hold out a share of the customers by chance.

    Parameters
    ----------
    customer_id : iterable
        Ids; or give their ``keys`` (:func:`crmml.metrics.bootstrap.hash_keys`) if at hand.
    share : float
        Between 0 and 1 (1 excluded).
    seed : int
        Another seed (>= 0) holds out other customers.
    cutoff : str or Timestamp
        Another cutoff holds out other customers, so that nobody is left alone for ever.

    Examples
    --------
    >>> hold = assign_holdout(range(10_000), share=0.1, seed=1, cutoff="2026-01-01")
    >>> int(hold.held_out.sum())
    965
    """
    if not 0 <= share < 1:
        raise ParameterError("holdout share", "at least 0 and below 1", share)
    if keys is None:
        keys = hash_keys(customer_id if customer_id is not None else ())
    return Holdout(draw(keys, seed=seed, cutoff=cutoff, purpose="holdout") < share, share)


def draw(keys: KeyArray, *, seed: int, cutoff: str | pd.Timestamp, purpose: str) -> FloatArray:
    """Draw one uniform number in (0, 1) for each customer; purposes are independent.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        From :func:`crmml.metrics.bootstrap.hash_keys`.
    seed : int
        >= 0.
    cutoff : str or Timestamp
        Every cutoff draws anew.
    purpose : str
        What the number decides.
    """
    stream = int(hash_keys([f"{purpose}|{pd.Timestamp(cutoff).isoformat()}"])[0])
    return keyed_uniforms(keys, seed, stream)
