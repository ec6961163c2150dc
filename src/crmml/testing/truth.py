"""The truth that a simulated world is asked for: how customers buy, and what it brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from crmml.exceptions import ParameterError

Process: TypeAlias = Literal["bg_nbd", "mbg_nbd", "pareto_nbd"]


@dataclass(frozen=True)
class Purchases:
    """Truth about purchases and dropout; rates per week.

    Attributes
    ----------
    process : {"bg_nbd", "mbg_nbd", "pareto_nbd"}
        Dropout after a repeat purchase, after any purchase, or at any time.
    r, alpha : float
        Shape and rate (weeks) of the gamma distribution of the purchase rate.
    a, b : float
        Beta distribution of the dropout probability (``bg_nbd``, ``mbg_nbd``).
    s, beta : float
        Shape and rate (weeks) of the gamma distribution of the dropout rate (``pareto_nbd``).
    k : int
        Erlang shape of the gaps: 1 is exponential, higher is more regular. A gap is the sum of
        ``k`` exponential stages at the customer's rate, so its mean is ``k / rate``.
    seasonal_amplitude : float
        Yearly season of the purchase rate: ``1 + amplitude * cos(2 pi (t - peak) / 365.25)``,
        between 0 and 0.95.
    seasonal_peak : int
        Day of the year of the peak.
    promotion_effect, price_effect, holiday_effect : float
        What the table ``schedules`` adds to the log of the purchase rate: so much per unit of
        discount, per unit of the price index above 1, and on a holiday. Between -5 and 5.
    """

    process: Process = "bg_nbd"
    r: float = 0.8
    alpha: float = 6.0
    a: float = 0.8
    b: float = 3.5
    s: float = 0.6
    beta: float = 12.0
    k: int = 1
    seasonal_amplitude: float = 0.0
    seasonal_peak: int = 350
    promotion_effect: float = 0.0
    price_effect: float = 0.0
    holiday_effect: float = 0.0

    def __post_init__(self) -> None:
        if self.process not in get_args(Process):
            raise ParameterError("process", f"one of {get_args(Process)}", self.process)
        for name in ("r", "alpha", "a", "b", "s", "beta"):
            if not getattr(self, name) > 0:
                raise ParameterError(name, "positive", getattr(self, name))
        if int(self.k) != self.k or self.k < 1:
            raise ParameterError("k", "a whole number >= 1", self.k)
        if not 0 <= self.seasonal_amplitude <= 0.95:
            raise ParameterError(
                "seasonal_amplitude", "between 0 and 0.95", self.seasonal_amplitude
            )
        for name in ("promotion_effect", "price_effect", "holiday_effect"):
            if not -5 <= getattr(self, name) <= 5:
                raise ParameterError(name, "between -5 and 5", getattr(self, name))


@dataclass(frozen=True)
class Spend:
    """Truth about money: Gamma-Gamma spend per purchase, margin, returns and discounts.

    Attributes
    ----------
    p, q, gamma : float
        A purchase is gamma(p, rate nu), nu is gamma(q, rate gamma): mean ``p gamma / (q - 1)``.
    margin : tuple of float
        Share of the amount that is margin, one per category.
    return_rate : float
        Mean probability that a line is returned later.
    discount_rate : float
        Mean probability that a line was sold at a discount (of 20 %).
    lines_per_purchase : float
        Mean number of lines of a purchase; at least 1.
    unprofitable : float
        Share of the customers who cost more than they bring. More are unprofitable only where
        more are so without any service, through returns and the cost to win them.
    house_share : float, optional
        Mean share of a customer's orders that go to the house. Given, the transactions are those
        of a panel: with the columns ``seller``, ``cost`` and ``currency``, and with the lines
        that competitors sold.
    """

    p: float = 6.25
    q: float = 3.74
    gamma: float = 15.44
    margin: tuple[float, ...] = (0.45, 0.30, 0.20, 0.35, 0.12)
    return_rate: float = 0.04
    discount_rate: float = 0.15
    lines_per_purchase: float = 1.8
    unprofitable: float = 0.25
    house_share: float | None = None

    def __post_init__(self) -> None:
        for name in ("p", "q", "gamma"):
            if not getattr(self, name) > 0:
                raise ParameterError(name, "positive", getattr(self, name))
        for name in ("return_rate", "discount_rate", "unprofitable"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(name, "between 0 and 1", getattr(self, name))
        if self.lines_per_purchase < 1:
            raise ParameterError("lines_per_purchase", "at least 1", self.lines_per_purchase)
        if self.house_share is not None and not 0.1 <= self.house_share < 1:
            raise ParameterError("house_share", "between 0.1 and 1", self.house_share)
