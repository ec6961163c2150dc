"""The randomised hold-out: customers left alone by chance, so that the next cycle is an experiment.

Chance is a hash of (seed, cutoff, customer id): it needs no state, does not depend on the order
of the rows or on who else is in the batch, and comes out the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import BoolArray, FloatArray
from crmml.exceptions import ParameterError

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

    def propensity(self, wanted: npt.ArrayLike) -> FloatArray:
        """Return the probability of what each customer was given.

        Parameters
        ----------
        wanted : array of bool, shape (n,)
            Whether the policy would give the customer an action if there were no hold-out.

        Examples
        --------
        >>> hold = Holdout(np.array([True, False, False]), 0.1)
        >>> hold.propensity([True, True, False])
        array([0.1, 0.9, 1. ])
        """
        given = np.where(self.held_out, self.share, 1.0 - self.share)
        return np.where(np.asarray(wanted, dtype=bool), given, 1.0)


def customer_keys(customer_id: Iterable[Any]) -> KeyArray:
    """Return a 64-bit hash of each id: stable across runs, machines, orders and batches.

    Parameters
    ----------
    customer_id : iterable
        Whole numbers or text; a number and its decimal text have the same key.

    Examples
    --------
    >>> bool(customer_keys([7]) == customer_keys(["7"]))
    True
    """
    ids = customer_id.tolist() if isinstance(customer_id, pd.Index) else customer_id
    digests = b"".join(
        blake2b(str(one).encode("utf-8", "surrogatepass"), digest_size=8).digest() for one in ids
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


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
        Ids; or give their ``keys`` (see :func:`customer_keys`) if they are at hand.
    share : float
        Between 0 and 1 (1 excluded).
    seed : int
        Another seed holds out other customers.
    cutoff : str or Timestamp
        Another cutoff holds out other customers, so that nobody is left alone for ever.

    Examples
    --------
    >>> hold = assign_holdout(range(10_000), share=0.1, seed=1, cutoff="2026-01-01")
    >>> int(hold.held_out.sum())
    1001
    """
    if not 0 <= share < 1:
        raise ParameterError("holdout share", "at least 0 and below 1", share)
    keys = customer_keys(customer_id if customer_id is not None else ()) if keys is None else keys
    salt = customer_keys([f"{seed}|{pd.Timestamp(cutoff).isoformat()}"])
    uniform = (_mixed(keys ^ salt) >> np.uint64(11)).astype(float) * 2.0**-53
    return Holdout(uniform < share, share)


def _mixed(keys: KeyArray) -> KeyArray:
    """Finalise a hash (splitmix64; Steele, Lea, Flood 2014), so that the salt reaches every bit."""
    z = keys + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
