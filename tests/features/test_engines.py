"""The same figures on every engine: each expression of the features on DuckDB and on PostgreSQL."""

from __future__ import annotations

import ast
import cProfile
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import crmml.features
from crmml.data.settings import Policies
from crmml.data.tables import Tables, open_tables
from crmml.features.answers import (
    follow_actions,
    follow_complaints,
    list_acquisition_costs,
    sum_purchases,
)
from crmml.features.batches import in_batches
from crmml.features.breakdowns import measure_parts
from crmml.features.categories import count_categories, count_in_pieces, gather_categories
from crmml.features.category_wallets import iterate_wallets, name_categories
from crmml.features.cohorts import measure_cohorts, name_cohorts
from crmml.features.contracts import (
    build_contract_outcomes,
    build_contracts,
    build_person_periods,
)
from crmml.features.experience import count_touches, name_dimensions, read_zones
from crmml.features.horizons import compare_horizons, refuse_short_horizon
from crmml.features.labels import build_labelled, build_outcomes, check_no_future
from crmml.features.merits import gather_merits
from crmml.features.periods import grouped, measure_periods
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.purchases import fetch
from crmml.features.sequences import gather_occasions
from crmml.features.snapshot import build_snapshot
from crmml.features.tracking import count_repeat_purchases, count_weekly_purchases
from crmml.features.wallet import build_wallet, choose_window, find_signals, rolling_wallets
from crmml.features.windows import Window

CUTOFF = pd.Timestamp("2023-07-03 00:00")
FEATURES = Path(crmml.features.__file__).parent
TEXT_IDS = ["a", "B", "ä", "Z", "10", "9", "-1", "a b", "a-b", "ab", "É", "مشتری"]

# --- worlds --------------------------------------------------------------------------------------


def draw(ids: list[Any], *, returns: bool, seed: int) -> pd.DataFrame:
    """Draw lines with ties in time, nulls, zero amounts and fractions of a second."""
    rng = np.random.default_rng(seed)
    n = 14 * len(ids)
    days = rng.integers(0, 300, n) * 86_400_000_000
    clock = rng.choice([0, 1, 3_599_999_999, 43_200_500_000, 86_399_999_999], n)
    cents = rng.choice([0, 1, 999, 1000, 123_456, 99_999_999], n, p=[0.1, 0.1, 0.3, 0.3, 0.1, 0.1])
    if returns:
        cents = np.where(rng.random(n) < 0.2, -cents // 3, cents)
    some = {
        "product_id": rng.integers(1, 9, n),
        "quantity": rng.integers(0, 5, n) / 4,
        "discount": rng.integers(0, 300, n) / 100,
        "margin": rng.integers(-500, 500, n) / 100,
        "cost": rng.integers(0, 500, n) / 100,
    }
    lines = pd.DataFrame(
        {
            "customer_id": rng.choice(np.array(ids, dtype=object), n),
            "timestamp": pd.Timestamp("2022-12-30") + pd.to_timedelta(days + clock, unit="us"),
            "amount": cents / 100,
            **some,
            "category": rng.choice(np.array(["tea", "Tea", "ö", None], dtype=object), n),
            "channel": rng.choice(np.array(["web", "Shop", "fax", None], dtype=object), n),
            "seller": rng.choice(np.array(["us", "Rival", "other"], dtype=object), n),
        }
    )
    for name in ("quantity", "discount", "margin"):
        lines.loc[rng.random(n) < 0.1, name] = np.nan
    return lines


def edge_cases(ids: list[Any]) -> pd.DataFrame:
    """Write the returns by hand: before the first purchase, before the second, after the last."""
    told = [
        (0, "2023-01-02", 10), (0, "2023-01-05", -4), (0, "2023-01-09", 20), (0, "2023-06-01", -5),
        (1, "2023-01-02", -7), (1, "2023-01-03", 9), (1, "2023-01-04", -2),
        (2, "2023-02-01", -1), (2, "2023-03-01", -1),
        (3, "2023-02-01 10:00", 0), (3, "2023-02-01 10:00", 0), (3, "2023-02-01 11:00", -3),
        (4, "2023-07-02 23:59:59.999999", 5), (4, "2023-07-03", 5), (4, "2023-05-06", 2.5),
        (5, "1969-12-27 12:00", 8), (5, "1969-12-29 00:30", 8), (5, "2023-07-01", 8),
    ]  # fmt: skip
    who, when, amount = zip(*told, strict=True)
    return pd.DataFrame(
        {
            "customer_id": pd.Series([ids[i] for i in who], dtype=object),
            "timestamp": pd.to_datetime(pd.Series(when), format="ISO8601"),
            "amount": np.array(amount, dtype=float),
            "seller": "us",
            "category": "tea",
        }
    )


BARE = ["customer_id", "timestamp", "amount"]
SHOP = [*BARE, "quantity", "discount", "margin", "category", "channel"]
WORLDS: dict[str, tuple[list[Any], list[str], bool]] = {
    "text ids and margin": (TEXT_IDS, SHOP, True),
    "whole ids and cost": ([3, 10, 9, 200, -5, 0, 7], [*BARE, "product_id", "cost"], True),
    "panel of sellers": (TEXT_IDS, [*BARE, "category", "seller"], True),
    "no returns": (TEXT_IDS[:6], [*BARE, "channel", "margin"], False),
}


@cache
def embedded(world: str) -> Tables:
    """Open a world on DuckDB."""
    ids, columns, returns = WORLDS[world]
    lines = draw(ids, returns=returns, seed=len(world))
    if returns:
        new = [f"x{i}" if isinstance(ids[0], str) else 1000 + i for i in range(6)]
        lines = pd.concat([lines, edge_cases(new)], ignore_index=True)
        ids = [*ids, *new]
    lines = lines[columns].astype({"customer_id": "str" if isinstance(ids[0], str) else "int64"})
    people = pd.DataFrame({"customer_id": ids, "acquisition_cost": np.arange(len(ids)) + 0.25})
    people.loc[1, "acquisition_cost"] = np.nan
    people["service_cost"] = people["acquisition_cost"] * 2
    days = pd.Timestamp("2023-02-01 09:30") + pd.to_timedelta(np.arange(len(ids)) * 20, unit="D")
    events = pd.DataFrame({"customer_id": ids, "timestamp": days, "cost": 0.35})
    given = {
        "transactions": lines,
        "customers": people,
        "interactions": touches(events),
        "treatments": events.assign(action="call"),
        "subscriptions": periods_of(ids),
    }
    return open_tables(given, policies=Policies(unlikely_dates="keep"))


def touches(events: pd.DataFrame) -> pd.DataFrame:
    """Write touch points: a survey, a complaint at the same moment, a referral, a suggestion."""
    place = np.arange(len(events))
    said = events.assign(kind="survey", score=place % 11, cost=0.0, with_competitor=place % 2 == 0)
    settled = (events["timestamp"] + pd.Timedelta(days=3)).mask(place % 3 == 0)
    complaint = events.assign(kind="complaint", resolved_at=settled, cost=0.0)
    friend = np.roll(events["customer_id"].to_numpy(dtype=object), 1)
    early = events["timestamp"] - pd.Timedelta(days=400)
    friends = {"timestamp": early, "referred_customer_id": friend, "cost": 0.0}
    referral = events.assign(kind="referral", **friends)
    idea = events.assign(kind="suggestion", led_to_change=place % 2 == 0, cost=0.0)
    rows = [events.assign(kind="contact"), said, complaint[place % 2 == 0], referral, idea]
    table = pd.concat(rows, ignore_index=True)
    names = ("led_to_change", "with_competitor")
    flags = {name: pd.array(table[name], dtype="boolean") for name in names}
    dimension = np.array(["price", "Größe", None], dtype=object)[np.arange(len(table)) % 3]
    return table.assign(**flags, dimension=dimension)


def periods_of(ids: list[Any]) -> pd.DataFrame:
    """Write contracts: one that ends, one renewed late under another plan, one that goes on."""
    rows = []
    for place, who in enumerate(ids):
        begins = pd.Timestamp("2022-11-01") + pd.Timedelta(days=9 * place)
        ends = begins + pd.Timedelta(days=60 + 31 * (place % 3))
        rows.append((who, begins, ends, "light", 9.5, "voluntary" if place % 2 else "competitor"))
        if place % 3 == 0:
            rows.append((who, ends + pd.Timedelta(days=4), pd.NaT, "large", 19.0, None))
    columns = ["customer_id", "started_at", "ended_at", "plan", "fee", "end_reason"]
    return pd.DataFrame(rows, columns=columns)


def move(table: ibis.Table, con: Any) -> ibis.Table:
    """Load a table of one engine into another, in the same types."""
    name = ibis.util.gen_name("moved")
    con.create_table(name, schema=table.schema(), temp=True)
    rows = table.to_pyarrow().to_pylist()
    marks = ", ".join(["%s"] * len(table.columns))
    with con.con.cursor() as cursor:
        cursor.executemany(f'INSERT INTO "{name}" VALUES ({marks})', [[*r.values()] for r in rows])
    return con.table(name)


@pytest.fixture(scope="session")
def on_postgres(postgres: Any) -> Callable[[str], Tables]:
    @cache
    def opened(world: str) -> Tables:
        here = embedded(world)
        moved = {name: here.facts(name)._replace(table=move(here[name], postgres)) for name in here}
        return Tables(moved, here.policies)

    return opened


# --- the matrix ----------------------------------------------------------------------------------


def seller(tables: Tables) -> str | None:
    return "us" if "seller" in tables.transactions.columns else None


def snapshot(tables: Tables, **settings: Any) -> dict[str, Any]:
    found = build_snapshot(tables, CUTOFF, own_seller=seller(tables), **settings)
    return {"frame": found.frame, "provenance": dict(found.provenance)}


def batched(tables: Tables, **settings: Any) -> dict[str, Any]:
    how = {**settings, "channels": None, "own_seller": seller(tables)}
    with in_batches(tables, CUTOFF, size=3, lengths=["9W"], **how) as found:
        assert found.count > 1
        pieces = [found.snapshot(k).frame for k in range(found.count)]
        wallets = [found.wallet(k, "9W", None).frame for k in range(found.count)]
    whole = pd.concat(pieces).sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(whole, snapshot(tables, **settings)["frame"], check_exact=True)
    return {"frame": whole, "wallets": pd.concat(wallets).sort_index()}


def labelled(tables: Tables, **settings: Any) -> dict[str, Any]:
    window = Window("2023-05-01 06:30", "9W", gap="1W")
    found = build_labelled(tables, window, own_seller=seller(tables), **settings)
    check_no_future(found.snapshot, tables)
    return {"outcomes": found.outcomes, "frame": found.snapshot.frame}


def outcomes(tables: Tables, **settings: Any) -> pd.DataFrame:
    return build_outcomes(tables, Window(CUTOFF, "13W"), own_seller=seller(tables), **settings)


def wallets(tables: Tables, **settings: Any) -> list[dict[str, Any]]:
    alone = {name: value for name, value in settings.items() if name != "step"}
    found = [
        build_wallet(tables, CUTOFF, length="13W", own_seller=seller(tables), **alone),
        *rolling_wallets(tables, CUTOFF, length="6W", own_seller=seller(tables), **settings),
    ]
    assert len(found) > 3
    return [{"frame": one.frame, "peers": one.peers} for one in found]


def repeats(tables: Tables, **settings: Any) -> pd.DataFrame:
    counts = count_repeat_purchases(
        tables, acquired_before="2023-04-01", own_seller=seller(tables), **settings
    )
    return counts.to_frame()


def weekly(tables: Tables, **settings: Any) -> pd.DataFrame:
    everyone = pd.Index(tables.transactions.customer_id.execute().unique()).sort_values()[1:]
    window = Window("2023-05-01 06:30", "60D", gap="2D")
    counts = count_weekly_purchases(tables, window, everyone, own_seller=seller(tables), **settings)
    return pd.DataFrame(counts, index=everyone)


def contracts(tables: Tables, **settings: Any) -> dict[str, Any]:
    found = build_contracts(tables, CUTOFF, **settings)
    past = build_contracts(tables, "2023-03-01", **settings)
    told = build_contract_outcomes(tables, past, "30D")
    return {"frame": found.frame, "waiting": found.in_grace.tolist(), "outcomes": told}


def at_risk(tables: Tables, **settings: Any) -> pd.DataFrame:
    return build_person_periods(tables, CUTOFF, **settings).frame


def experience(tables: Tables) -> dict[str, Any]:
    dimensions = name_dimensions(tables, CUTOFF)
    zones = read_zones(tables, CUTOFF, dimensions=dimensions)
    assert zones["experience_zone"].nunique() == 3
    return {"dimensions": dimensions, "zones": zones, "counts": count_touches(tables, CUTOFF)}


def categories(tables: Tables) -> pd.DataFrame:
    return gather_categories(tables, CUTOFF, seller(tables))


def counts_of_categories(tables: Tables, **settings: Any) -> pd.DataFrame:
    return count_categories(tables, CUTOFF, seller(tables), **settings)


def merits(tables: Tables) -> dict[str, Any]:
    found = gather_merits(tables, CUTOFF, seller(tables))
    assert found["referrals_won"].sum() > 0
    return {name: one.to_frame() for name, one in found.items()}


def cohorts(tables: Tables) -> dict[str, Any]:
    how = {"by": "acquisition_cost", "own_seller": seller(tables)}
    found = measure_cohorts(tables, CUTOFF, **how)
    return {"who": name_cohorts(tables, CUTOFF, **how), "found": found.reset_index()}


def by_month(tables: Tables) -> pd.DataFrame:
    ids = sorted(tables.transactions.customer_id.execute().unique())
    groups = pd.Series([str(place % 2) for place in range(len(ids))], index=ids)
    return measure_periods(tables, CUTOFF, groups, own_seller=seller(tables)).reset_index()


def by_part(tables: Tables) -> dict[str, Any]:
    there = {*tables.transactions.columns, *tables["interactions"].columns}
    return {
        by: measure_parts(tables, CUTOFF, by, own_seller=seller(tables)).reset_index()
        for by in ("category", "dimension")
        if by in there
    }


def answers(tables: Tables) -> dict[str, Any]:
    how = {"own_seller": seller(tables), "horizon": "8W"}
    spent = sum_purchases(tables, CUTOFF - pd.Timedelta("90D"), CUTOFF, own_seller=seller(tables))
    return {
        "acts": follow_actions(tables, CUTOFF, lapse="8W", **how),
        "told": follow_complaints(tables, CUTOFF, **how),
        "spent": spent.reset_index(),
        "won": list_acquisition_costs(tables).reset_index(),
    }


def lapses(tables: Tables) -> dict[str, Any]:
    refuse_short_horizon(tables, CUTOFF, "104W", own_seller=seller(tables))
    return {"table": compare_horizons(tables, CUTOFF, own_seller=seller(tables)).reset_index()}


def loyalty_detail(tables: Tables) -> dict[str, Any]:
    house, how = seller(tables), {"length": "13W"}
    names = name_categories(tables, CUTOFF, house)[:2]
    how["categories"] = names
    found: dict[str, Any] = {
        name: wallet.frame
        for name, wallet in iterate_wallets(tables, CUTOFF, own_seller=house, **how)
    }
    choice = choose_window(tables, CUTOFF, step="6W", own_seller=house)
    return found | {"names": list(names), "window": choice.reason}


def sellers_visited(tables: Tables) -> pd.DataFrame:
    if seller(tables) is None:
        return pd.DataFrame()
    return gather_occasions(tables, CUTOFF, "13W")


def signals(tables: Tables) -> dict[str, Any]:
    return {"said": sorted(find_signals(tables, CUTOFF, "52W"))}


ROWS: dict[Callable[..., Any], tuple[Callable[..., Any], list[dict[str, Any]]]] = {
    build_snapshot: (
        snapshot,
        [
            {"grain": "day", "time_unit": "week"},
            {"grain": "hour", "time_unit": "day"},
            {"grain": "week", "time_unit": "hour"},
            {"grain": "day", "behaviour": False},
            {"grain": "hour", "behaviour": False},
        ],
    ),
    in_batches: (batched, [{"grain": "day", "time_unit": "week"}]),
    build_labelled: (labelled, [{"grain": "day"}]),
    check_no_future: (labelled, [{"grain": "hour", "behaviour": False}]),
    build_outcomes: (outcomes, [{"grain": "hour"}, {"grain": "week"}]),
    build_wallet: (wallets, [{"grain": "hour"}, {"grain": "week"}]),
    rolling_wallets: (wallets, [{"by_category": True}, {"step": "3W"}]),
    choose_window: (loyalty_detail, [{}]),
    iterate_wallets: (loyalty_detail, []),
    name_categories: (loyalty_detail, []),
    gather_occasions: (sellers_visited, [{}]),
    count_repeat_purchases: (
        repeats,
        [{"grain": "hour", "time_unit": "day"}, {"grain": "week"}],
    ),
    build_contracts: (contracts, [{}, {"grace": "5D", "trailing": "30D"}]),
    build_contract_outcomes: (contracts, [{"period": "28D"}]),
    build_person_periods: (at_risk, [{}, {"grace": "5D", "since": "2022-12-01"}]),
    count_touches: (experience, [{}]),
    name_dimensions: (experience, []),
    read_zones: (experience, []),
    measure_cohorts: (cohorts, [{}]),
    name_cohorts: (cohorts, []),
    gather_categories: (categories, [{}]),
    count_categories: (counts_of_categories, [{}, {"names": ["ö", "none"]}]),
    count_in_pieces: (counts_of_categories, []),
    gather_merits: (merits, [{}]),
    measure_periods: (by_month, [{}]),
    measure_parts: (by_part, [{}]),
    grouped: (by_month, []),
    follow_actions: (answers, [{}]),
    follow_complaints: (answers, []),
    sum_purchases: (answers, []),
    list_acquisition_costs: (answers, []),
    compare_horizons: (lapses, [{}]),
    refuse_short_horizon: (lapses, []),
    find_signals: (signals, [{}]),
    count_weekly_purchases: (weekly, [{"grain": "hour"}, {"grain": "week"}]),
}
CASES = [(measure, settings) for measure, many in ROWS.values() for settings in many]


def assert_same(here: Any, there: Any, where: str = "") -> None:
    """Whole numbers, text and missing values equal; floats to 1e-12."""
    assert type(here) is type(there), where
    if isinstance(here, pd.DataFrame):
        assert list(here.columns) == list(there.columns), where
        pd.testing.assert_index_equal(here.index, there.index)
        for name in here.columns:
            assert here[name].dtype == there[name].dtype, (where, name)
            if here[name].dtype.kind == "f":
                np.testing.assert_allclose(
                    there[name], here[name], rtol=1e-12, atol=1e-12, err_msg=f"{where} {name}"
                )
            else:
                assert here[name].tolist() == there[name].tolist(), (where, name)
    elif isinstance(here, dict):
        assert here.keys() == there.keys(), where
        for key in here:
            assert_same(here[key], there[key], f"{where} {key}")
    elif isinstance(here, list):
        assert len(here) == len(there), where
        for i, (one, other) in enumerate(zip(here, there, strict=True)):
            assert_same(one, other, f"{where} {i}")
    elif isinstance(here, PurchaseTimes):
        assert_same(vars(here), vars(there), where)
    elif isinstance(here, np.ndarray):
        assert here.tolist() == there.tolist(), where
    else:
        assert here == there, where


WATCHED = {CASES.index((measure, many[0])) for measure, many in ROWS.values() if many}
"""One row of each measure: to watch its functions takes as long again as to measure."""


@cache
def measured(world: str, case: int) -> tuple[Any, set[str]]:
    """Measure a case on DuckDB; name the functions that it reached, as `functions` does."""
    measure, settings = CASES[case]
    tables = embedded(world)
    if world != FULL or case not in WATCHED:
        return measure(tables, **settings), set()
    with cProfile.Profile(builtins=False) as profile:
        found = measure(tables, **settings)
    codes = [entry.code for entry in profile.getstats() if not isinstance(entry.code, str)]
    return found, {f"{Path(code.co_filename).name}:{code.co_firstlineno}" for code in codes}


FULL = "text ids and margin"
"""The world in which `make test` tries every row; of the other worlds it tries `BRIEF`."""

BRIEF = [ROWS[function] for function in (build_snapshot, build_outcomes, count_weekly_purchases)]
BRIEF_CASES = [(measure, many[0]) for measure, many in BRIEF]
LONG_CASES = [
    (snapshot, {"grain": "week", "time_unit": "hour"}),
    *[(measure, {}) for measure in (contracts, at_risk)],
]
"""Even of that world: their like is tried with more settings."""


@pytest.mark.parametrize(
    ("world", "case"),
    [
        pytest.param(
            world,
            case,
            id=f"{world}-{measure.__name__}-{case}",
            marks=[]
            if (world == FULL and (measure, settings) not in LONG_CASES)
            or (measure, settings) in BRIEF_CASES
            else [pytest.mark.torture],
        )
        for world, (_, columns, _) in WORLDS.items()
        for case, (measure, settings) in enumerate(CASES)
        if "category" in columns
        or not (
            settings.get("by_category")
            or measure in (categories, counts_of_categories, loyalty_detail)
        )
        # contracts do not look at the log, in which the worlds differ
        if measure not in (contracts, at_risk, experience, signals) or world == FULL
    ],
)
def test_postgres_gives_the_figures_of_duckdb(on_postgres, world, case):
    here, _ = measured(world, case)
    measure, settings = CASES[case]
    assert_same(here, measure(on_postgres(world), **settings))


def test_nothing_is_left_behind(postgres, on_postgres):
    tables = on_postgres(FULL)
    before = set(postgres.list_tables())
    snapshot(tables)
    wallets(tables)
    assert set(postgres.list_tables()) == before


# --- nothing without a row -----------------------------------------------------------------------


def functions() -> dict[str, ast.FunctionDef]:
    """Return every function of the features, by file and line."""
    return {
        # a decorated function begins, for the profiler, with its first decorator
        f"{path.name}:{min([node.lineno, *(d.lineno for d in node.decorator_list)])}": node
        for path in sorted(FEATURES.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def annotations(node: ast.FunctionDef) -> str:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given = [argument.annotation for argument in arguments] + [node.returns]
    return " ".join(ast.unparse(one) for one in given if one is not None)


def test_every_function_on_tables_has_a_row():
    on_tables = {
        node.name
        for node in functions().values()
        if any(argument.arg == "tables" for argument in node.args.args)
        and not node.name.startswith("_")
    }
    within = {
        *("of", "at", "rebuild", "read_customers", "keep_customers"),
        *("attach_profit", "attach_touches", "find_unknown_costs", "columns_beside"),
        *("contract_span", "count_next_days", "least_grace"),
        *("gather_purchases", "span_categories", "whole_periods"),
    }
    assert on_tables - within == {function.__name__ for function in ROWS}


def test_every_expression_is_run():
    """A function that takes or gives Ibis is reached by some row of the matrix."""
    wanted = {name for name, node in functions().items() if "ir." in annotations(node)}
    assert len(wanted) > 20
    reached = set().union(*(measured(FULL, case)[1] for case in WATCHED))
    assert wanted - reached == set()


def test_features_name_no_engine():
    for path in sorted(FEATURES.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert "duckdb" not in text.lower(), path.name
        names = {n.attr for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)}
        assert names.isdisjoint({"udf", "memtable", "raw_sql", "sql"}), path.name


def test_rows_leave_the_engine_in_one_function_only():
    """Tables are taken out by `fetch`; a few facts about a log as scalars or short lists."""
    taken = {
        (path.name, node.func.attr)
        for path in sorted(FEATURES.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"execute", "to_pandas", "to_polars", "to_pyarrow_batches"}
    }  # fmt: skip
    # ids are taken with their pieces, and labels show the table of their snapshot
    ids = {("batches.py", "to_pandas"), ("customers.py", "to_pandas")}
    assert taken <= {("purchases.py", "to_pandas"), ("labels.py", "to_pandas")} | ids


def test_text_is_sorted_by_its_bytes():
    table = ibis.memtable(pa.table({"customer_id": TEXT_IDS, "x": range(len(TEXT_IDS))}))
    ids = fetch(table)["customer_id"].tolist()
    assert ids == sorted(TEXT_IDS, key=lambda text: text.encode())
    assert inspect.signature(fetch).parameters["by"].default == ("customer_id",)
