"""An explanation shows the served figures, adds up, and says why a part is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.actions.catalogue import NO_ACTION
from crmml.data.tables import open_tables
from crmml.exceptions import CrmmlError
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.decisions import Actions
from crmml.scoring.scorer import score
from crmml.storage.bundles import load_bundle

CUTOFF = "1998-07-01"


@pytest.fixture(scope="module")
def bundle(cdnow_shelf) -> ScoringBundle:
    return load_bundle(cdnow_shelf.folder / "models" / "crmml" / "1")


@pytest.fixture(scope="module")
def explained(scores):
    return [scores.explain(key) for key in some(scores)]


@pytest.fixture(scope="module")
def scores(bundle, cdnow_eighth):
    return score(bundle, cdnow_eighth, CUTOFF, budget=1.0)


def some(scores) -> list[str]:
    """A customer of each kind: acted on, passed over, held out, of the lowest tier."""
    table = scores.table.set_index("customer_id")
    acted = table["recommended_action"] != NO_ACTION
    over = ~acted & ~table["held_out"] & (table["policy_action"] == NO_ACTION)
    kinds = (acted, over & (table["runner_up_net_gain"] > 0), table["held_out"] & ~acted,
             table["value_tier"] == "E")  # fmt: skip
    return [str(table.index[kind][0]) for kind in kinds]


def test_figures_are_the_served_ones_and_add_up(scores, explained) -> None:
    for found in explained:
        row = scores.table.set_index("customer_id").loc[found.customer_id]
        served = {name: found.served[name] for name in row.index}
        pd.testing.assert_series_equal(pd.Series(served, dtype=object), row.astype(object),
                                       check_names=False)  # fmt: skip
        v = found.value
        product = v.probability_alive * v.purchases_if_alive * v.spend * v.margin * v.discounting
        assert product == pytest.approx(row["clv"], rel=1e-9)
        assert found.alive["probability_alive"].iloc[-1] == pytest.approx(row["probability_alive"])
        assert found.next_purchase.probability_never == pytest.approx(1 - row["probability_alive"])
        assert found.tier.tier == row["value_tier"]
        assert {r.code for r in found.reasons} == set(
            filter(None, f"{row['reasons_for']},{row['reasons_against']}".split(","))
        )
        json.dumps(found.to_dict(), allow_nan=False)


def test_a_customer_alone_is_the_customer_among_all(scores, bundle, cdnow_eighth) -> None:
    for key in some(scores)[:2]:
        alone = crmml.explain(bundle, cdnow_eighth, key, CUTOFF)
        row = scores.table.set_index("customer_id").loc[key]
        for name in ("clv", "clv_lower", "clv_upper", "churn_probability", "expected_purchases"):
            assert alone.served[name] == pytest.approx(row[name], rel=1e-9)
        assert alone.served["value_tier"] == row["value_tier"]
        assert "stored prices" in alone.basis


def test_next_purchase_agrees_with_the_served_probability_of_none(scores, explained) -> None:
    found = explained[0]
    alone = scores.snapshot.subset(
        (scores.snapshot.frame["customer_id"] == found.customer_id).to_numpy()
    )
    ltv = next(p for p in scores.origin.predictors if p.name == "lifetime_value").model
    days = (found.next_purchase.date - found.cutoff).days + 1
    chances = ltv.ahead(alone, f"{days}D").doubted.chances().iloc[0]
    before = ltv.ahead(alone, f"{days - 1}D").doubted.chances().iloc[0]
    assert before["buys_if_active"] < 0.5 <= chances["buys_if_active"]


def test_what_moves_the_tier_moves_it(explained, bundle) -> None:
    found = explained[3]
    tier, value = found.tier, found.value
    more = found.value.clv + tier.in_purchases * value.per_purchase
    assert more == pytest.approx(tier.cut_point)
    assert bundle.tiers.assign(pd.Series([more * (1 + 1e-9)])).iloc[0] == "D"
    expected = value.probability_alive * value.purchases_if_alive * value.discounting
    dearer = expected * (value.spend + tier.in_spend) * value.margin
    assert dearer == pytest.approx(tier.cut_point)


def test_a_purchase_now_is_scored_as_one(explained, bundle, cdnow_eighth) -> None:
    found = explained[1]
    key, day = found.customer_id, pd.Timestamp(CUTOFF) - pd.Timedelta(days=1)
    line = pd.DataFrame({"customer_id": [key], "timestamp": [day], "amount": [found.value.spend]})
    then = crmml.explain(bundle, pd.concat([cdnow_eighth, line]), key, CUTOFF)
    assert then.value.clv == pytest.approx(found.tier.if_bought_now, rel=1e-3)  # whole cents
    assert then.tier.tier == found.tier.tier_if_bought_now


def test_the_runner_up_says_why_it_lost(explained) -> None:
    acted, over, held, low = (found.runner_up for found in explained)
    assert acted.lost_by in ("gain", "budget")
    assert (over.lost_by, over.net_gain > 0) == ("budget", True)
    assert held is None or held.lost_by in ("held_out", "gain")
    assert low is None or low.lost_by == "gain"


def test_without_consent_the_action_that_lost_is_named(scores, bundle, cdnow_eighth) -> None:
    key = some(scores)[0]
    people = pd.DataFrame({"customer_id": [key], "contactable": [False]})
    found = crmml.explain(bundle, cdnow_eighth, key, CUTOFF, customers=people)
    assert found.served["recommended_action"] == NO_ACTION
    assert found.runner_up.lost_by == "consent"
    assert found.runner_up.net_gain > 0


def test_a_recent_contact_is_named(scores, bundle, cdnow_eighth) -> None:
    key = some(scores)[0]
    actions = [action.name for action in bundle.catalogue.actions]
    given = pd.DataFrame({"customer_id": key, "timestamp": "1998-06-29", "action": actions})
    tables = {"transactions": cdnow_eighth, "treatments": given}
    found = crmml.explain(bundle, tables, key, CUTOFF)
    assert found.served["recommended_action"] == NO_ACTION
    assert found.runner_up.lost_by == "contacts"


def test_who_is_not_there_is_one_sentence(scores, bundle, cdnow_eighth) -> None:
    late = cdnow_eighth.assign(customer_id="late", timestamp=pd.Timestamp("1998-06-30"))[:1]
    back = cdnow_eighth.assign(customer_id="back", amount=-3.0)[:1]
    people = pd.DataFrame({"customer_id": ["never"], "contactable": [True]})
    tables = {"transactions": pd.concat([cdnow_eighth, late, back]), "customers": people}
    opened = open_tables(tables)
    for key, why in (("nobody", "no table holds"), ("late", "bought first on or after"),
                     ("back", "returns"), ("never", "only buyers are scored")):  # fmt: skip
        with pytest.raises(CrmmlError, match=why) as caught:
            crmml.explain(bundle, opened, key, "1998-06-01")
        assert key not in str(caught.value).replace("never", "") or key == "back"
    with pytest.raises(CrmmlError, match="no table holds"):
        scores.explain("nobody")


def test_a_bundle_without_actions_explains_the_rest(bundle, scores, cdnow_eighth) -> None:
    others = tuple(p for p in bundle.predictors if not isinstance(p, Actions))
    found = crmml.explain(ScoringBundle(bundle.manifest, others), cdnow_eighth, some(scores)[0],
                          CUTOFF)  # fmt: skip
    assert "no predictor" in found.missing["recommendation"]
    assert (found.value is not None, found.runner_up) == (True, None)
    assert "Not known" in str(found)


def test_without_amounts_money_is_missing_and_says_why(bundle, scores, cdnow_eighth) -> None:
    reading = {"transactions": {"without_amounts": True}}
    counted = replace(bundle, manifest=bundle.manifest.changed(reading=reading))
    log = cdnow_eighth.drop(columns="amount")
    found = crmml.explain(counted, log, some(scores)[0], CUTOFF)
    assert found.value is None
    assert "no amounts" in found.missing["value"]
    assert found.next_purchase.date is not None
    assert found.purchases["amount"].isna().all()


def test_a_row_of_another_model_is_refused(bundle, scores, cdnow_eighth) -> None:
    row = scores.table.iloc[0].copy()
    row["model_version"] = "another"
    with pytest.raises(CrmmlError, match="another"):
        crmml.explain(bundle, cdnow_eighth, row["customer_id"], CUTOFF, served=row)


def test_other_data_than_those_scored_are_noted(bundle, scores, cdnow_eighth) -> None:
    row = scores.table.iloc[0].copy()
    row["T"] += 1
    found = crmml.explain(bundle, cdnow_eighth, row["customer_id"], CUTOFF, served=row)
    assert "T differ" in found.notes[0]


def test_the_path_as_a_table_holds_what_was_bought(explained) -> None:
    found = explained[0]
    table = found.to_pandas()
    assert table["amount"].sum() == pytest.approx(found.purchases["amount"].sum())
    assert np.isfinite(table["probability_alive"]).all()
    assert found.plot().get_lines()
    assert str(found.customer_id) not in repr(found)
