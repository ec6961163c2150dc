"""Data to score that are unlike those of the training."""

from __future__ import annotations

from crmml.scoring.guards import TrainingRange, compare_ranges


def test_of_contracts_the_fee_is_told_and_no_purchase():
    then = TrainingRange(
        customers=500, first="2024-01-01", last="2024-12-31", spend_per_purchase=(5, 30, 200),
        purchases=3, newly_acquired=0.2, tiers={"A": 0.1},
    )  # fmt: skip
    now = then.model_copy(update={"spend_per_purchase": (500, 3000, 20000)})
    said = str(compare_ranges(then, now, contracts=True))
    assert "the median fee is 3,000.00 per period, 30.00 at training" in said
    assert "purchase" not in said


def test_margins_in_percent_are_told_from_margins_in_money():
    then = TrainingRange(
        customers=500, first="2024-01-01", last="2024-12-31", spend_per_purchase=(5, 30, 200),
        purchases=3, newly_acquired=0.2, tiers={"A": 0.1}, margin=0.3,
    )  # fmt: skip
    told = str(compare_ranges(then, then.model_copy(update={"margin": 12.5})))
    assert "margin is 1250.0% of revenue, 30.0% at training" in told
    assert compare_ranges(then, then.model_copy(update={"margin": 0.25})) is None
    assert compare_ranges(then, then.model_copy(update={"margin": None})) is None
