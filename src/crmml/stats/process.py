"""What every purchase process supplies to the estimators, as one list of pure functions.

All processes share one fact: *given that the customer is still active at T*, the future is the
same process with updated parameters. So each module writes down the likelihood of a history, the
probability of being active after it, the updated parameters, and then the future of a customer
known to be active. A prediction is the product of the two::

    E[X(T, T + t)] = P(active | history) * expected_purchases(if_alive(params, history), t)

A new customer is the history ``x = 0, t_x = 0, T = 0``.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from crmml._typing import FloatArray


class PurchaseProcess(Protocol):
    """The functions of a process module (``bg_nbd``, ``mbg_nbd``, ``pareto_nbd``, ``cnbd_k``).

    ``params`` is the module's NamedTuple of parameters; each field is a number or an array that
    broadcasts against the rows, so covariates simply make them arrays. Time is in any one unit.
    """

    NAMES: tuple[str, ...]
    """Names of the free parameters, in the order of the vector; all are positive."""

    def make(self, theta: Any) -> Any:
        """Build ``params`` from a sequence of the free parameters, in the order of ``NAMES``."""

    def log_likelihood(
        self, params: Any, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> FloatArray:
        """Log-likelihood of each history, shape (n,)."""

    def score(
        self, params: Any, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Log-likelihood (n,) and its derivatives by the log-parameters (n_params, n)."""

    def probability_alive(
        self, params: Any, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> FloatArray:
        """P(still active at T | history), shape (n,)."""

    def if_alive(self, params: Any, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Any:
        """Parameters of the future, given the history and that the customer is active at T."""

    def expected_purchases(self, params: Any, t: FloatArray) -> FloatArray:
        """E[purchases in (0, t]] of an active customer, shape (n,)."""

    def pmf(self, params: Any, t: FloatArray, n_max: int) -> FloatArray:
        """P(n purchases in (0, t]) of an active customer for n = 0..n_max, shape (n, n_max + 1)."""

    def discounted_purchases(self, params: Any, t: FloatArray, delta: float) -> FloatArray:
        """Expect discounted purchases of an active customer; ``t`` may be inf (DERT)."""

    def draw(self, params: Any, t: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw the number of purchases in (0, t] of an active customer, shape (n,)."""


@runtime_checkable
class ClockedProcess(PurchaseProcess, Protocol):
    """A process that holds on any clock, because customers leave at purchases and never between.

    (M)BG/NBD and its zero-truncated form. A Pareto/NBD customer leaves in calendar time, whatever
    the purchase rate does, so it is none; nor is a CNBD-k with k > 1 while the clock is estimated,
    whose log gaps would have to be measured anew on every clock.
    """

    def clocked_score(self, params: Any, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Any:
        """Log-likelihood, derivatives by log-parameters, by ``t_x`` and by ``T``."""
