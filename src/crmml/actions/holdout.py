"""The control group: customers left alone by chance, so that every cycle is an experiment.

Chance is a hash of (seed, experiment, customer id): it needs no state, does not depend on the order
of the rows or on who else is in the batch, and comes out the same on every machine. The cutoff
plays no part in it: a customer stays in the control group from the first night of an experiment to
the last, or nothing that takes longer than a night could ever be measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
