r"""MBG/NBD: the BG/NBD in which the customer may also drop out right after the first purchase.

Batislam, Denizel and Filiztekin (2007), Intern. J. of Research in Marketing 24(3); Hoppe and
Wagner (2007) call it CBG/NBD. Purchases come at rate :math:`\lambda \sim` Gamma(r, alpha) while
the customer is active; after **each** purchase, the first included, the customer drops out with
probability :math:`p \sim` Beta(a, b).

So every formula of a history is that of :mod:`crmml.stats.bg_nbd` with one more chance to leave,
and a customer known to be active behaves as there.
"""

from __future__ import annotations

from functools import partial

from crmml.stats import bg_nbd
from crmml.stats.bg_nbd import (
    NAMES,
    Params,
    discounted_purchases,
    draw,
    expected_purchases,
    make,
    pmf,
)

__all__ = [
    "NAMES",
    "Params",
    "clocked_score",
    "counted",
    "counted_on_clock",
    "discounted_purchases",
    "draw",
    "expected_purchases",
    "if_alive",
    "log_likelihood",
    "make",
    "pmf",
    "probability_alive",
    "score",
]

log_likelihood = partial(bg_nbd.log_likelihood, chances=1)
score = partial(bg_nbd.score, chances=1)
clocked_score = partial(bg_nbd.clocked_score, chances=1)
counted = partial(bg_nbd.counted, chances=1)
counted_on_clock = partial(bg_nbd.counted_on_clock, chances=1)
probability_alive = partial(bg_nbd.probability_alive, chances=1)
if_alive = partial(bg_nbd.if_alive, chances=1)
