"""The snapshot of a transaction log: published conventions, exactness, order, and bad input."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmml.data.datasets import load_cdnow
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, ParameterError, TooLittleDataError
from crmml.features import in_order
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.stats.operational_time import week_edges
from crmml.testing.simulate import Purchases, Spend, simulate_world


def summarise_with_lifetimes(lines: pd.DataFrame, **settings_: object) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes.utils import summary_data_from_transaction_data

        return summary_data_from_transaction_data(
            lines, "customer_id", "timestamp", "amount", **settings_
        ).sort_index()


def log(*rows: tuple[object, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], format="ISO8601"))


@pytest.fixture(scope="module")
def cdnow() -> pd.DataFrame:
    return load_cdnow()


@pytest.fixture(scope="module")
def world_tables():
    world = simulate_world(
        300,
        seed=7,
        weeks=60,
        purchases=Purchases(r=1.5, alpha=3, a=0.6, b=6),
        spend=Spend(return_rate=0.15),
        tables=("customers",),
    )
    return open_tables(world.transactions, world.customers)


@pytest.mark.parametrize("cutoff", ["1997-10-01", "1998-02-10"])
@pytest.mark.parametrize(("time_unit", "days"), [("day", 1), ("week", 7)])
def test_equals_lifetimes_summary_on_full_cdnow(cdnow, cutoff, time_unit, days):
    end = pd.Timestamp(cutoff) - pd.Timedelta(days=1)
    theirs = summarise_with_lifetimes(cdnow, observation_period_end=end, freq="D")
    snapshot = build_snapshot(cdnow, cutoff, time_unit=time_unit, behaviour=False)
    ours = snapshot.frame.set_index("customer_id")
    assert ours.index.tolist() == theirs.index.tolist()
    np.testing.assert_array_equal(ours["frequency"], theirs["frequency"])
    np.testing.assert_array_equal(ours["recency"], theirs["recency"] / days)
    np.testing.assert_array_equal(ours["T"], theirs["T"] / days)
    np.testing.assert_allclose(ours["monetary_value"], theirs["monetary_value"], rtol=0, atol=1e-9)


def test_equals_lifetimes_summary_by_the_hour_and_by_the_week():
    world = simulate_world(200, seed=3, weeks=30, spend=Spend(return_rate=0), tables=())
    lines = world.transactions
    for grain, freq, hours, end in [
        ("hour", "h", 1, "2022-07-03 23:00"),
        ("week", "W", 168, "2022-07-03"),
    ]:
        theirs = summarise_with_lifetimes(lines, observation_period_end=end, freq=freq)
        ours = build_snapshot(
            lines, "2022-07-04", grain=grain, time_unit="hour", behaviour=False
        ).frame.set_index("customer_id")
        np.testing.assert_array_equal(ours["frequency"], theirs["frequency"])
        np.testing.assert_allclose(ours["recency"], theirs["recency"] * hours, rtol=1e-12)
        np.testing.assert_allclose(ours["T"], theirs["T"] * hours, rtol=1e-12)
        np.testing.assert_allclose(ours["monetary_value"], theirs["monetary_value"], atol=1e-9)


def test_cdnow_sample_gives_the_published_history_of_fader_hardie_lee_2005():
    snapshot = build_snapshot(load_cdnow(sample=True), "1997-10-01", behaviour=False)
    frame = snapshot.frame
    assert len(frame) == 2357
    assert (frame["frequency"] > 0).sum() == 946
    assert frame["T"].max() == pytest.approx(272 / 7)
    known = (frame["frequency"] == 2) & (frame["recency"].round(2) == 30.43)
    assert frame.loc[known, "T"].round(2).tolist() == [38.86]


def test_bg_nbd_on_the_snapshot_gives_the_parameters_of_fader_hardie_lee_2005():
    from crmml.models import BetaGeoModel

    model = BetaGeoModel().fit(
        build_snapshot(load_cdnow(sample=True), "1997-10-01", behaviour=False)
    )
    assert model.log_likelihood_ == pytest.approx(-9582.429, abs=5e-4)
    assert list(model.params_.values()) == pytest.approx(
        [0.242595, 4.413602, 0.792920, 2.425888], rel=2e-4
    )


def test_first_seen_in_the_last_period_has_the_history_of_a_new_customer():
    snapshot = build_snapshot(
        log(("a", "2024-01-01", 5), ("b", "2024-01-31 23:59", 7)), "2024-02-01"
    )
    frame = snapshot.frame.set_index("customer_id")
    assert frame.loc["b", ["frequency", "recency", "T"]].tolist() == [0, 0, 0]
    assert frame.loc["a", "T"] == 30 / 7
    Snapshot.from_frame(frame, cutoff="2024-02-01", time_unit="week")


def test_lines_of_one_day_are_one_purchase_and_the_cutoff_is_exclusive():
    lines = log(
        (1, "2024-01-01 09:00", 5),
        (1, "2024-01-01 18:00", 3),
        (1, "2024-01-09", 10),
        (1, "2024-02-01 00:00", 99),
    )
    row = build_snapshot(lines, "2024-02-01", time_unit="day", behaviour=False).frame.iloc[0]
    assert row[["frequency", "recency", "T", "monetary_value"]].tolist() == [1, 8, 30, 10]
    by_hour = build_snapshot(lines, "2024-02-01", grain="hour", behaviour=False).frame.iloc[0]
    assert by_hour["frequency"] == 2


def test_a_return_counts_with_the_purchase_before_it():
    lines = log(
        (1, "2024-01-01", 100),
        (1, "2024-01-03", -100),
        (1, "2024-01-10", 50),
        (1, "2024-01-20", 30),
        (1, "2024-01-25", -10),
    )
    for behaviour in (False, True):
        row = build_snapshot(lines, "2024-02-01", behaviour=behaviour).frame.iloc[0]
        assert row["frequency"] == 2
        assert row["monetary_value"] == pytest.approx((50 + 30 - 10) / 2)
    assert row["first_order_value"] == 0
    assert row["last_order_value"] == 20
    assert row["net_spend"] == 70
    assert row["returns_share"] == pytest.approx(110 / 180)


def test_large_money_is_that_many_times_the_small():
    # A household's basket is tens of millions of rials, a company's order some trillions.
    small = load_cdnow(sample=True).head(400).assign(amount=1.25, category="a", margin=0.5)
    times = 2.0**45
    large = small.assign(amount=1.25 * times, margin=0.5 * times)
    found = [build_snapshot(rows, "1997-10-01").frame for rows in (small, large)]
    money = ["net_spend", "monetary_value", "max_order"]
    money = [name for name in money if name in found[0]]
    pd.testing.assert_frame_equal(found[0][money] * times, found[1][money])
    same = ["frequency", "recency", "T", "category_concentration"]
    pd.testing.assert_frame_equal(found[0][same], found[1][same])


def test_amounts_too_large_for_an_exact_sum_are_refused():
    most = 10**14 - 1
    lines = pd.DataFrame({"customer_id": "a", "amount": most, "order_id": np.arange(930)})
    lines["timestamp"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(930), unit="h")
    whole = build_snapshot(lines.head(900), "2025-01-01").frame
    assert whole["net_spend"].tolist() == [float(900 * most)]
    with pytest.raises(DataError, match=r"add up to less than 92 quadrillion.* 'a'\)"):
        build_snapshot(lines, "2025-01-01")


def test_pieces_of_any_size_give_the_same_table(dated_tables, monkeypatch):
    whole = build_snapshot(dated_tables, dated_tables.last_timestamp.normalize())
    monkeypatch.setattr(in_order, "AT_A_TIME", 7)
    again = build_snapshot(dated_tables, dated_tables.last_timestamp.normalize())
    pd.testing.assert_frame_equal(again.frame, whole.frame, check_exact=True)
    for name in ("first", "at", "count"):
        one, other = (getattr(s.provenance["purchase_times"], name) for s in (whole, again))
        np.testing.assert_array_equal(one, other)


def test_who_only_returned_has_no_history_and_is_counted():
    lines = log((1, "2024-01-01", -5), (2, "2024-01-01", 5), (2, "2024-01-02", -9))
    snapshot = build_snapshot(lines, "2024-02-01")
    assert snapshot.frame["customer_id"].tolist() == [2]
    assert snapshot.frame["net_spend"].tolist() == [-4]
    assert snapshot.provenance["customers_without_purchase"] == 1


def to_bytes(snapshot: Snapshot) -> bytes:
    table = pa.Table.from_pandas(snapshot.frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def test_same_bytes_for_any_row_order_and_number_of_threads():
    world = simulate_world(3000, seed=11, weeks=80, tables=("customers",))
    results = set()
    for seed, threads in [(None, 1), (None, 2), (1, 2)]:
        lines = world.transactions
        if seed is not None:
            lines = lines.sample(frac=1, random_state=seed, ignore_index=True)
        tables = open_tables(lines, world.customers)
        tables.transactions.get_backend().raw_sql(f"SET threads = {threads}")
        results.add(to_bytes(build_snapshot(tables, "2023-04-03")))
    assert len(results) == 1


@pytest.fixture(scope="module")
def dated_tables(world_tables):
    """Without ``service_cost``: a sum without dates is known at the end of the data alone."""
    people = world_tables.customers.drop("service_cost").to_pandas()
    return open_tables(world_tables.transactions.to_pandas(), people)


def test_one_customer_alone_equals_the_batch(dated_tables):
    world_tables = dated_tables
    whole = build_snapshot(world_tables, "2022-11-07")
    chosen = whole.frame["customer_id"].iloc[17]
    lines = world_tables.transactions.filter(world_tables.transactions.customer_id == chosen)
    alone = build_snapshot(
        open_tables(lines.to_pandas(), world_tables.customers.to_pandas()),
        "2022-11-07",
        channels=whole.provenance["channels"],
        margins=whole.provenance["margins"],
    )
    expected = whole.frame.loc[whole.frame["customer_id"] == chosen].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.frame, expected, check_exact=True)


def test_rows_after_the_cutoff_change_nothing(dated_tables):
    world_tables = dated_tables
    cutoff = pd.Timestamp("2022-11-07")
    lines = world_tables.transactions
    past = open_tables(
        lines.filter(lines.timestamp < cutoff).to_pandas(), world_tables.customers.to_pandas()
    )
    pd.testing.assert_frame_equal(
        build_snapshot(world_tables, cutoff).frame, build_snapshot(past, cutoff).frame
    )


def test_text_ids_of_any_script_keep_their_type():
    lines = log(("🙂", "2024-01-01", 5), ("مریم", "2024-01-02", 5), ("🙂", "2024-01-09", 5))
    snapshot = build_snapshot(lines, "2024-02-01")
    assert set(snapshot.frame["customer_id"]) == {"🙂", "مریم"}
    numbers = build_snapshot(log((7, "2024-01-01", 5)), "2024-02-01").frame["customer_id"]
    assert numbers.dtype == np.int64


def test_provenance_counts_purchases_by_calendar_week(cdnow):
    snapshot = build_snapshot(cdnow, "1997-10-01")
    first_week, firsts, repeats = snapshot.provenance["purchase_times"].by_week()
    assert firsts.sum() == len(snapshot) == 23570
    assert repeats.sum() == snapshot.frame["frequency"].sum()
    assert week_edges(first_week, 0)[0] == (pd.Timestamp("1996-12-30") - pd.Timestamp(0)).days
    assert snapshot.provenance["cleaning"]["rows_read"] == 69659


@pytest.mark.parametrize(
    ("grain", "ages"), [("hour", {13: 1, 15: 1, 182: 1}), ("day", {1: 1, 8: 1}), ("week", {1: 1})]
)
def test_provenance_counts_repeat_purchases_by_age(grain, ages):
    lines = log(
        ("a", "2024-01-02 10:00", 5),
        ("a", "2024-01-02 23:00", 5),
        ("a", "2024-01-03 01:00", 5),
        ("a", "2024-01-10", 5),
        ("b", "2024-01-05", 5),
        ("b", "2024-01-09", -5),
    )
    found = build_snapshot(lines, "2024-02-01", grain=grain).provenance["purchase_times"]
    assert dict(zip(*(column.tolist() for column in found.by_age()), strict=True)) == ages
    assert found.repeats == sum(ages.values())


def test_ages_at_purchases_add_up(cdnow):
    snapshot = build_snapshot(cdnow, "1997-10-01")
    seen, counts = snapshot.provenance["purchase_times"].by_age()
    assert counts.sum() == snapshot.frame["frequency"].sum()
    assert seen[-1] == (snapshot.frame["recency"] * 7).max()
    ages = np.bincount(seen, weights=counts)
    first = (cdnow["timestamp"].dt.normalize() - pd.Timestamp("1970-01-01")).dt.days
    days = cdnow.assign(day=first)[["customer_id", "day"]].drop_duplicates()
    days = days[days["day"] < 10135]  # 1997-10-01
    age = days["day"] - days.groupby("customer_id")["day"].transform("min")
    assert ages[1:].tolist() == np.bincount(age)[1:].tolist()


def test_only_own_sales_count_in_a_panel():
    lines = log((1, "2024-01-01", 5), (1, "2024-01-09", 5), (2, "2024-01-09", 5))
    lines["seller"] = ["us", "them", "them"]
    with pytest.raises(ParameterError, match=r"own_seller must be one of the sellers"):
        build_snapshot(lines, "2024-02-01")
    frame = build_snapshot(lines, "2024-02-01", own_seller="us").frame
    assert frame["customer_id"].tolist() == [1]
    assert frame["frequency"].tolist() == [0]


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"cutoff": "2024-02-30"}, "cutoff must be a date like"),
        ({"cutoff": "2024-02-01T00:00+01:00"}, "without a time zone; got"),
        ({"grain": "year"}, "grain must be one of"),
        ({"time_unit": "period"}, "time_unit must be one of"),
        ({"own_seller": "us"}, "no column 'seller'"),
    ],
)
def test_refuses_settings_outside_their_range(settings_, message):
    arguments = {"cutoff": "2024-02-01", **settings_}
    with pytest.raises(ParameterError, match=message):
        build_snapshot(log((1, "2024-01-01", 5)), arguments.pop("cutoff"), **arguments)


@pytest.mark.parametrize("amount", [5, -5])
def test_refuses_a_cutoff_before_all_purchases(amount):
    cutoff = "2024-01-01" if amount > 0 else "2025-01-01"
    with pytest.raises(TooLittleDataError, match="nothing was bought before the cutoff"):
        build_snapshot(log((1, "2024-01-01", amount)), cutoff)


@settings(max_examples=6, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(0, 60 * 24),
            st.integers(-2000, 5000),
        ),
        min_size=1,
        max_size=25,
    ),
    grain=st.sampled_from(["day", "hour", "week"]),
)
def test_invariants_hold_for_any_log(rows, grain):
    frame = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    frame["timestamp"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["timestamp"], unit="h")
    frame["amount"] = frame["amount"] / 100
    cutoff = pd.Timestamp("2024-02-05")
    seen = frame[frame["timestamp"] < cutoff]
    buyers = set(seen.loc[seen["amount"] >= 0, "customer_id"])
    if not buyers:
        return
    snapshot = build_snapshot(frame, cutoff, grain=grain, time_unit="day")
    Snapshot.from_frame(snapshot.frame, cutoff=cutoff, grain=grain, time_unit="day")
    assert set(snapshot.frame["customer_id"]) == buyers
    spent = seen[seen["customer_id"].isin(buyers)]["amount"].sum()
    assert math.isclose(snapshot.frame["net_spend"].sum(), spent, abs_tol=1e-6)
    once = snapshot.frame["frequency"] == 0
    assert (snapshot.frame.loc[once, "monetary_value"] == 0).all()
    total = snapshot.frame["first_order_value"] + (
        snapshot.frame["frequency"] * snapshot.frame["monetary_value"]
    )
    np.testing.assert_allclose(total, snapshot.frame["net_spend"], atol=1e-9)


def test_the_time_unit_of_a_summary_table_is_never_guessed():
    frame = pd.DataFrame({"customer_id": [1], "frequency": [1], "recency": [2.0], "T": [3.0]})
    with pytest.raises(TypeError, match="time_unit"):
        Snapshot.from_frame(frame, cutoff="2024-01-01")
    assert Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="day").time_unit == "day"
