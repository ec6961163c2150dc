"""Pictures draw the table they were given, on the axes they were given, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("Agg")

from matplotlib import pyplot as plt

import crmml
import crmml.plots
from crmml import plots
from crmml.models.purchase.next_purchase import NextPurchase
from crmml.plots.gallery import training_figures
from crmml.plots.style import model_label
from crmml.segments import ValueTiers
from crmml.segments.pyramids import compute_pyramids
from crmml.segments.value_tier import compute_pareto_curve

WEEKS = pd.RangeIndex(1, 7, name="week")


def matrix() -> pd.DataFrame:
    table = pd.DataFrame(np.outer([0.5, 2.0, 9.0], [1.0, 2.0, 3.0, 7.0]))
    table.index.name = "frequency"
    table.columns = pd.Index([0.0, 5.0, 10.0, 15.0], name="weeks")
    table.iloc[0, 1:] = np.nan
    return table


def tracking() -> pd.DataFrame:
    return pd.DataFrame(
        {"actual": [3.0, 1, 4, 1, 5, 9], "bg_nbd": [2.0] * 6, "my model": [4.0] * 6}, index=WEEKS
    )


def by_frequency() -> pd.DataFrame:
    index = pd.Index(["0", "1", "2+"], name="frequency")
    columns = {"actual": [0.1, 0.7, 3.0], "mbg_nbd": [0.2, 0.6, 2.0], "customers": [1000, 90, 8]}
    return pd.DataFrame(columns, index=index)


def latent() -> pd.DataFrame:
    value = np.linspace(0.01, 0.3, 20)
    part = {"unit": "per week", "value": value, "density": 1 / value, "share_below": value * 3}
    return pd.DataFrame({"quantity": "purchase rate", **part})


def path() -> pd.DataFrame:
    table = pd.DataFrame(
        {"time": [1.0, 2, 2, 3], "probability_alive": [0.9, 0.7, 0.95, 0.9],
         "purchase": [False, False, True, False]}
    )  # fmt: skip
    table.index.name = "weeks"
    return table


def life() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=5, freq="D")
    return pd.DataFrame({"date": days, "probability_alive": [0.9, 0.8, 0.95, 0.9, 0.85]})


BOUGHT = pd.DataFrame(
    {"date": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]),
     "purchase": [True, False, True], "amount": [10.0, -4.0, 40.0]}
)  # fmt: skip
NEXT = NextPurchase(
    0.85, 0.15, pd.Timestamp("2024-01-20"), pd.Timestamp("2024-01-08"), None, "beyond"
)


def flows() -> pd.DataFrame:
    names = pd.Index(["A", "B"], name="before")
    return pd.DataFrame([[90, 10], [0, 5]], names, pd.Index(["A", "B"], name="after"))


def calendar() -> pd.DataFrame:
    return pd.DataFrame({"factor": [1.0, 0.5, 1.5]}, index=pd.RangeIndex(1, 4, name="week"))


def effect() -> pd.DataFrame:
    index = pd.Index([0.0, 4.0, 8.0], name="weeks")
    columns = {"rate": [2.0, 1.5, 1.25], "lower": [1.8, 1.4, 1.1], "upper": [2.2, 1.6, 1.4]}
    return pd.DataFrame(columns, index=index)


def deciles() -> pd.DataFrame:
    index = pd.RangeIndex(1, 5, name="decile")
    return pd.DataFrame({"predicted_mean": [4.0, 2, 1, 0], "actual_mean": [5.0, 1, 1, 0]}, index)


def reliability() -> pd.DataFrame:
    return pd.DataFrame(
        {"n": [50, 50], "predicted": [0.2, 0.8], "observed": [0.3, 0.7], "low": [0.2, 0.6],
         "high": [0.4, 0.8]}
    )  # fmt: skip


def pit() -> pd.DataFrame:
    return pd.DataFrame(
        {"lower": [0.0, 0.5], "upper": [0.5, 1.0], "customers": [3, 7], "density": [0.6, 1.4]}
    )


def importance() -> pd.DataFrame:
    names = pd.Index(["silence", "age"], name="family")
    columns = {"importance": [0.9, 0.2], "lower": [0.8, 0.1], "upper": [1.0, 0.3]}
    return pd.DataFrame(columns, index=names)


def board() -> pd.DataFrame:
    rows = [("bg_nbd", 0.8), ("mbg_nbd", 0.7), ("lifetimes_bg_nbd", 0.9)]
    return pd.DataFrame(
        [
            {"candidate": name, "metric": metric, "value": v, "lower": v - 0.1, "upper": v + 0.1}
            for name, v in rows
            for metric in ("purchases_rmse", "spend_spearman")
        ]
    )


def pareto() -> pd.DataFrame:
    return compute_pareto_curve([9.0, 3.0, 1.0, 1.0])


def tiers() -> pd.DataFrame:
    values = pd.Series(np.geomspace(1, 100, 40), index=pd.RangeIndex(40, name="customer_id"))
    return ValueTiers().fit(values).profile(values)


def budget() -> pd.DataFrame:
    return pd.DataFrame({"budget": [0.0, 10, 20], "value": [0.0, 30, 40], "price": [9.0, 2, 0.5]})


def periods() -> pd.DataFrame:
    ends = pd.to_datetime(["2024-04-01", "2024-07-01"])
    index = pd.MultiIndex.from_product([["2023Q1", "2023Q2"], ends], names=["cohort", "ends"])
    money = {"expected": [4.0, 3, 2, 1], 0.1: [3.0, 2, 1, 0], 0.9: [5.0, 4, 3, 2]}
    return pd.DataFrame({"customers": 10, "active": [9.0, 7, 8, 6], **money}, index=index)


def newcomers() -> pd.DataFrame:
    columns = {"value": [30.0, 20], "value_lower": [25.0, 12], "value_upper": [35.0, 28]}
    costs = {"acquisition_cost": [np.nan, 9.0], "value_to_cost": [np.nan, 2.2]}
    return pd.DataFrame({**columns, **costs}, index=["organic", "paid"])


def pyramids() -> pd.DataFrame:
    profit = pd.Series(np.linspace(-5, 60, 40), index=pd.RangeIndex(40, name="customer_id"))
    return compute_pyramids(profit.abs() + 1, profit)


def earned() -> pd.DataFrame:
    at = pd.Index([0.0, 0.5, 1.0], name="contacted")
    columns = {"found": [0.0, 0.8, 1.0], "profit": [0.0, 4.0, -1.0]}
    return pd.DataFrame({**columns, "own_value_profit": [0.0, 2.0, 1.0]}, index=at)


def cohorts() -> pd.DataFrame:
    starts = pd.to_datetime(["2024-01-01", "2024-02-01"])
    index = pd.MultiIndex.from_product([starts, [0, 1]], names=["cohort", "age"])
    retention = [1.0, 0.4, 1.0, np.nan]
    columns = {"customers": [5, 5, 4, 4], "expected_retention": [1.0, 0.5] * 2}
    return pd.DataFrame({"retention": retention, **columns}, index=index)


def charted() -> pd.DataFrame:
    periods = pd.date_range("2024-01-01", periods=4, freq="MS")
    columns = {"value": [1.0, 1.2, 1.1, 3.0], "centre": 1.1, "lower": 0.5, "upper": 2.0}
    told = {"baseline": [True, True, True, False], "signal": ["", "", "", "beyond the limits"]}
    return pd.DataFrame({**columns, **told}, index=periods)


def worth() -> pd.DataFrame:
    columns = {"expected": [90.0, 20.0, 110.0], "at_stake": [10.0, 5.0, 15.0]}
    return pd.DataFrame({**columns, "one_point": [1.0, 0.25, 1.25]}, index=["A", "B", "all"])


def monitored() -> pd.DataFrame:
    rows = [
        {"cutoff": cutoff, "by": by, "measure": "churn", "predicted": p, "realised": p + 0.05,
         "gap": 0.05, "relative": 0.1, "error": 0.02, "beyond": beyond}
        for cutoff in pd.to_datetime(["2024-01-01", "2024-02-01"])
        for by, p, beyond in (("bucket", 0.2, False), ("bucket", 0.7, True), ("all", 0.5, False))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def class_flows() -> pd.DataFrame:
    from crmml.storage.class_flows import flows as follow

    return follow(
        [
            pd.DataFrame({"customer_id": range(6), "value_tier": list(tiers), "cutoff": at})
            for tiers, at in (("AABBCC", "2024-01-01"), ("AABCCB", "2024-04-01"))
        ]
    ).to_pandas()


def links() -> pd.DataFrame:
    rows = [
        ("voucher", "retention", "experiment", 0.1, 0.05, 0.15, True),
        ("voucher", "profit", "experiment", -1.0, -2.0, -0.5, True),
        ("experience", "retention", "association", 0.01, -0.1, 0.1, False),
        ("retention", "profit", "association", 4.0, 3.0, 5.0, True),
        ("loyalty", "retention", "", np.nan, np.nan, np.nan, False),
    ]
    names = ["source", "target", "evidence", "effect", "lower", "upper", "beyond_chance"]
    return pd.DataFrame(rows, columns=names)


def parts() -> pd.DataFrame:
    rows = [("tier", "B", -0.1, -0.15, -0.05, True), ("tier", "A", 0.0, -0.1, 0.1, False)]
    names = ["by", "part", "change", "lower", "upper", "driver"]
    return pd.DataFrame(rows, columns=names).set_index(["by", "part"])


def costs() -> pd.DataFrame:
    known = {"low": 3.0, "high": 30.0, "here": 4.0, "lower": 3.0, "upper": 5.0, "needs": ""}
    rows = {"acquire_over_keep": known, "win_back_over_keep": {**known, "needs": "a table"}}
    return pd.DataFrame.from_dict(rows, orient="index")


def sensitivity() -> pd.DataFrame:
    return pd.DataFrame({"base": 10.0, "low": [8.0], "high": [12.0]}, index=["share_active"])


def contract() -> pd.DataFrame:
    dates = pd.to_datetime(["2024-01-06", "2024-02-05", "2024-03-06"])
    chances = {"probability_active": [1.0, 0.9, 0.8], "ended_voluntary": [0.0, 0.1, 0.2]}
    return pd.DataFrame({"date": dates, **chances})


DRAWN: dict[str, tuple[Callable[[], pd.DataFrame], dict]] = {
    "plot_active": (periods, {}),
    "plot_alive_path": (path, {}),
    "plot_buckets": (monitored, {}),
    "plot_budget_curve": (budget, {"budget": 10.0}),
    "plot_calendar_profile": (calendar, {}),
    "plot_calibration": (deciles, {}),
    "plot_class_flows": (class_flows, {}),
    "plot_cohort_retention": (cohorts, {}),
    "plot_control_chart": (charted, {"share": False}),
    "plot_contract": (contract, {}),
    "plot_customer": (
        life,
        {"purchases": BOUGHT, "cutoff": pd.Timestamp("2024-01-06"), "next_purchase": NEXT},
    ),
    "plot_flows": (flows, {"causes": {"model": 10}}),
    "plot_gain_curve": (earned, {}),
    "plot_gaps": (monitored, {}),
    "plot_heterogeneity": (latent, {"quantity": "purchase rate"}),
    "plot_holdout_by_frequency": (by_frequency, {}),
    "plot_iso_value": (matrix, {"currency": "EUR"}),
    "plot_importance": (importance, {}),
    "plot_leaderboard": (board, {"metric": "purchases_rmse", "chosen": "mbg_nbd"}),
    "plot_matrix": (matrix, {"highest": 70.0}),
    "plot_new_customers": (newcomers, {}),
    "plot_pareto_curve": (pareto, {"gini": 0.5}),
    "plot_parts": (parts, {"title": "What drove retention"}),
    "plot_pit_histogram": (pit, {}),
    "plot_profit_curve": (earned, {}),
    "plot_pyramids": (pyramids, {}),
    "plot_reliability": (reliability, {}),
    "plot_newcomer_effect": (effect, {}),
    "plot_retention_costs": (costs, {}),
    "plot_retention_worth": (worth, {}),
    "plot_sensitivity": (sensitivity, {}),
    "plot_strategy_map": (links, {}),
    "plot_tier_profile": (tiers, {}),
    "plot_tracking": (tracking, {"cutoff": 4}),
    "plot_value_by_period": (periods, {}),
}


@pytest.fixture(autouse=True)
def no_open_figures():
    plt.close("all")
    yield
    plt.close("all")


def axes() -> Axes:
    return Figure(figsize=(7.0, 4.4), layout="constrained").subplots()


def draw(name: str, **more) -> Axes:
    table, settings = DRAWN[name]
    return getattr(plots, name)(table(), **{**settings, "ax": axes(), **more})


def curve(ax: Axes, i: int = 0) -> tuple[list[float], list[float]]:
    line = ax.lines[i]
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


# -- what holds for all ------------------------------------------------------------------------


def test_every_plot_is_tested_here() -> None:
    assert set(DRAWN) == set(crmml.plots.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_draws_on_the_given_axes_and_returns_them(name) -> None:
    ax = axes()
    assert draw(name, ax=ax) is ax
    assert ax.get_title(loc="left")
    assert ax.has_data()
    ax.figure.canvas.draw()
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", DRAWN)
def test_makes_one_figure_without_axes(name) -> None:
    draw(name, ax=None)
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("name", DRAWN)
def test_leaves_the_table_alone(name) -> None:
    table, settings = DRAWN[name]
    given = table()
    getattr(plots, name)(given, **settings, ax=axes())
    pd.testing.assert_frame_equal(given, table())


@pytest.mark.parametrize("name", DRAWN)
def test_settings_are_keywords(name) -> None:
    _, *settings = inspect.signature(getattr(plots, name)).parameters.values()
    assert {p.kind for p in settings} == {inspect.Parameter.KEYWORD_ONLY}


# -- what is drawn is what stands in the table -------------------------------------------------


def test_budget_curve_draws_value_and_price() -> None:
    ax = draw("plot_budget_curve")
    assert curve(ax) == ([0, 10, 20], [0, 30, 40])
    right = ax.figure.axes[1]
    assert curve(right) == ([10, 20], [2, 0.5])  # the first unit would flatten the rest
    assert ax.lines[1].get_xdata()[0] == 10.0


def test_calibration_draws_both_means() -> None:
    ax = draw("plot_calibration")
    assert curve(ax)[1] == [4, 2, 1, 0]
    assert [bar.get_height() for bar in ax.patches] == [5, 1, 1, 0]


def test_reliability_draws_rates_with_their_intervals() -> None:
    ax = draw("plot_reliability")
    points, _, (bars,) = ax.containers[0]
    assert points.get_xydata().tolist() == [[0.2, 0.3], [0.8, 0.7]]
    np.testing.assert_allclose(bars.get_segments()[0], [[0.2, 0.2], [0.2, 0.4]])


def test_profit_is_drawn_relative_to_the_best_share() -> None:
    ax = draw("plot_profit_curve")
    assert curve(ax) == ([0, 0.5, 1], [0, 1, -0.25])
    assert words(ax) == ["one value for all: best at 50%", "each customer's own value: best at 50%"]


def test_pit_histogram_draws_densities_between_their_edges() -> None:
    ax = draw("plot_pit_histogram")
    bars = [(b.get_x(), b.get_width(), b.get_height()) for b in ax.patches]
    assert bars == [(0.0, 0.5, 0.6), (0.5, 0.5, 1.4)]


def test_leaderboard_has_the_best_on_top_in_plain_words() -> None:
    ax = draw("plot_leaderboard")
    assert ax.get_xlabel() == "root mean squared error of purchases"
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["BG/NBD (lifetimes)", "BG/NBD", "MBG/NBD\n(chosen)"]
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [0.9, 0.8, 0.7]


@pytest.mark.parametrize("metric", ["purchases_deviance", "crps", "spend_mae"])
def test_leaderboard_knows_where_less_is_better(metric) -> None:
    table = board().replace({"metric": {"purchases_rmse": metric}})
    ax = plots.plot_leaderboard(table, metric=metric, ax=axes())
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [0.9, 0.8, 0.7]


@pytest.mark.parametrize(("far", "text"), [(9.0, "9 \N{RIGHTWARDS ARROW}"),
                                           (-9.0, "\N{LEFTWARDS ARROW} -9")])  # fmt: skip
def test_leaderboard_writes_down_who_is_off_the_scale(far, text) -> None:
    metric = "purchases_deviance" if far > 0 else "spend_gini"
    table = board().replace({"metric": {"spend_spearman": metric}})
    last = {"candidate": "heuristic", "metric": metric, "value": far}
    more = pd.DataFrame([{**last, "lower": far - 1, "upper": far + 1}])
    ax = plots.plot_leaderboard(pd.concat([table, more]), metric=metric, ax=axes())
    assert [shown.get_text() for shown in ax.texts] == [text]
    assert len(ax.get_yticklabels()) == 4
    assert ax.get_xlim()[0] > -0.1
    assert ax.get_xlim()[1] < 1.2


def test_leaderboard_knows_where_more_is_better() -> None:
    ax = draw("plot_leaderboard", metric="spend_spearman", chosen=None)
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [0.7, 0.8, 0.9]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [("purchases_bias", [-0.3, 0.1, 0.2], 0.1), ("coverage_80", [0.7, 0.79, 0.9], 0.79)],
)
def test_leaderboard_puts_the_nearest_to_the_target_on_top(metric, values, best) -> None:
    table = pd.DataFrame(
        {"candidate": ["a", "b", "c"], "metric": metric, "value": values, "lower": values,
         "upper": values}
    )  # fmt: skip
    ax = plots.plot_leaderboard(table, metric=metric, ax=axes())
    assert ax.collections[-1].get_offsets()[-1, 0] == best


def test_matrix_draws_the_table_and_hides_what_cannot_exist() -> None:
    ax = draw("plot_matrix")
    (mesh,) = ax.collections
    drawn = np.ma.filled(mesh.get_array().reshape(3, 4), np.nan)
    np.testing.assert_array_equal(drawn, matrix().to_numpy())
    assert mesh.get_clim() == (0.0, 70.0)
    assert "weeks" in ax.get_xlabel()


def test_iso_value_levels_are_round_and_inside_the_table() -> None:
    ax = draw("plot_iso_value")
    levels = ax.collections[0].levels.tolist()
    assert levels == [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
    assert "50 EUR" in {text.get_text() for text in ax.texts}


def test_tracking_draws_periods_or_their_running_sum() -> None:
    by_week = draw("plot_tracking", cumulative=False)
    assert curve(by_week) == (list(range(1, 7)), [3, 1, 4, 1, 5, 9])
    assert curve(by_week, 1)[1] == [2] * 6
    so_far = draw("plot_tracking")
    assert curve(so_far)[1] == [3, 4, 8, 9, 14, 23]
    assert words(so_far) == ["what happened", "BG/NBD", "my model"]
    assert [text.get_text() for text in so_far.texts] == ["holdout"]


def test_models_differ_by_line_style_and_not_only_by_colour() -> None:
    names = ["bg_nbd", "mbg_nbd", "pareto_nbd", "regular", "tweedie", "hurdle", "hybrid"]
    table = pd.DataFrame({"actual": [1.0, 2.0], **{n: [1.0, 2.0] for n in names}}, index=[1, 2])
    ax = plots.plot_tracking(table, ax=axes())
    looks = [(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in ax.lines]
    assert len(set(looks[:7])) == 7


def test_holdout_by_frequency_draws_means_and_writes_group_sizes() -> None:
    ax = draw("plot_holdout_by_frequency")
    assert curve(ax)[1] == [0.1, 0.7, 3.0]
    assert curve(ax, 1)[1] == [0.2, 0.6, 2.0]
    assert words(ax) == ["what happened", "MBG/NBD"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0\n(1,000)", "1\n(90)", "2+\n(8)"]


def test_heterogeneity_draws_density_and_share() -> None:
    ax = draw("plot_heterogeneity")
    assert curve(ax) == (latent()["value"].tolist(), latent()["density"].tolist())
    assert curve(ax.figure.axes[1])[1] == latent()["share_below"].tolist()
    assert ax.get_xlabel() == "purchase rate per week"


def test_alive_path_draws_the_path_and_marks_purchases() -> None:
    ax = draw("plot_alive_path")
    assert curve(ax) == ([1, 2, 2, 3], [0.9, 0.7, 0.95, 0.9])
    assert curve(ax, 1) == ([2], [0.95])


def test_calendar_profile_draws_the_factors() -> None:
    ax = draw("plot_calendar_profile")
    assert curve(ax) == ([1, 2, 3], [1.0, 0.5, 1.5])


def test_settling_draws_the_rate_and_its_interval() -> None:
    ax = draw("plot_newcomer_effect")
    assert curve(ax) == ([0, 4, 8], [2.0, 1.5, 1.25])
    (band,) = ax.collections
    drawn = band.get_paths()[0].vertices
    assert {(0.0, 1.8), (4.0, 1.6), (8.0, 1.1)} <= set(map(tuple, drawn.tolist()))
    assert ax.get_title(loc="left") == "Newcomers buy faster at first"
    assert ax.get_xlabel() == "weeks since the first purchase"
    assert words(ax) == ["90 % interval", "estimate"]


@pytest.mark.parametrize(
    ("factor", "title"), [(0.2, "more slowly at first"), (0.5, "as they will")]
)
def test_settling_says_which_way_and_needs_no_interval(factor, title) -> None:
    table = (factor * effect()).assign(lower=np.nan, upper=np.nan)
    ax = plots.plot_newcomer_effect(table, ax=axes())
    ax.figure.canvas.draw()
    assert title in ax.get_title(loc="left")
    assert ax.get_legend() is None


def test_pareto_curve_reads_off_the_best_fifth() -> None:
    ax = draw("plot_pareto_curve")
    assert curve(ax)[1] == pareto()["share_of_value"].tolist()
    share = np.interp(0.2, pareto()["share_of_customers"], pareto()["share_of_value"])
    assert f"bring {share:.0%}" in ax.texts[0].get_text()
    assert "Gini 0.50" in ax.texts[0].get_text()


def test_tier_profile_draws_three_shares_per_tier() -> None:
    ax = draw("plot_tier_profile")
    heights = [[bar.get_height() for bar in group] for group in ax.containers]
    names = ("share_of_customers", "share_of_value", "reference_share_of_value")
    assert heights == [tiers()[name].tolist() for name in names]


# -- little or nothing to draw -----------------------------------------------------------------


def test_tiers_without_a_total_leave_the_share_of_value_out() -> None:
    profile = tiers().assign(share_of_value=np.nan)
    ax = plots.plot_tier_profile(profile, ax=axes())
    ax.figure.canvas.draw()
    assert [len(group) for group in ax.containers] == [5, 0, 5]


def test_one_customer_in_one_tier_is_drawn() -> None:
    values = pd.Series([5.0], index=pd.Index(["a"], name="customer_id"))
    fitted = ValueTiers().fit(values)
    plots.plot_tier_profile(fitted.profile(values), ax=axes()).figure.canvas.draw()
    plots.plot_pareto_curve(compute_pareto_curve(values), ax=axes()).figure.canvas.draw()


@pytest.mark.parametrize(
    ("name", "table", "text"),
    [
        ("plot_tracking", tracking().iloc[:0], "one whole week"),
        ("plot_holdout_by_frequency", by_frequency().iloc[:0], "no customers"),
        ("plot_heterogeneity", latent().iloc[:0], "no spread of the purchase rate"),
        ("plot_leaderboard", board().iloc[:0], "no candidate has the metric"),
        ("plot_matrix", matrix() * np.nan, "no history can exist"),
        ("plot_iso_value", matrix() * 0.0, "worth the same"),
        ("plot_calendar_profile", calendar().iloc[:0], "no weeks"),
        ("plot_newcomer_effect", effect().iloc[:0], "no ages"),
    ],
)
def test_an_empty_table_says_so(name, table, text) -> None:
    ax = getattr(plots, name)(table, **{**DRAWN[name][1], "ax": axes()})
    ax.figure.canvas.draw()
    assert any(text in shown.get_text() for shown in ax.texts)


def test_a_path_without_purchases_and_a_curve_of_nothing_are_drawn() -> None:
    quiet = path().assign(purchase=False)
    assert plots.plot_alive_path(quiet, ax=axes()).get_legend() is None
    nothing = pd.DataFrame({"budget": [0.0], "value": [0.0], "price": [0.0]})
    plots.plot_budget_curve(nothing, budget=0.0, ax=axes()).figure.canvas.draw()


# -- plain words -------------------------------------------------------------------------------


def test_the_usual_candidates_have_plain_words() -> None:
    from crmml.config import Config

    written = {name: model_label(name) for name in Config().backtest.candidates}
    assert [name for name, label in written.items() if label == name] == []
    assert len(set(written.values())) == len(written)


def test_what_a_cohort_has_not_lived_through_is_grey_and_never_0() -> None:
    ax = crmml.plots.plot_cohort_retention(cohorts())
    drawn = ax.images[0].get_array()
    assert drawn.mask.tolist() == [[False, False], [False, True], [False, False]]
    assert ax.get_yticklabels()[0].get_text() == "2024-01-01  (5)"
    assert sorted(text.get_text() for text in ax.texts) == ["100%", "100%", "100%", "40%", "50%"]


# -- the gallery -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    settings = {
        "data": {"transactions": {"dataset": "cdnow_sample"}},
        "backtest": {"bootstrap": 20, "max_windows": 1, "candidates": ["mbg_nbd", "heuristic"]},
        "actions": {"budget": 100},
    }
    return crmml.train(settings)


@pytest.fixture(scope="module")
def figures(result):
    return training_figures(result)


def test_gallery_draws_a_training_without_pyplot(figures) -> None:
    assert set(figures) >= {
        "pareto_curve", "tier_profile", "calibration", "pit_histogram", "holdout_by_frequency",
        "tracking", "tracking_by_period", "matrix_expected_purchases", "matrix_probability_alive",
        "leaderboard", "churn_reliability", "budget_curve",
    }  # fmt: skip
    for figure in figures.values():
        figure.canvas.draw()
        assert figure.axes[0].has_data()
    assert plt.get_fignums() == []


def test_gallery_marks_the_cutoff_where_the_holdout_begins(result, figures) -> None:
    ax = figures["tracking"].axes[0]
    window = result.backtest.windows[-1].labelled.window
    weeks = (window.cutoff - pd.Timestamp("1997-01-01")) / pd.Timedelta(weeks=1)
    assert ax.lines[-1].get_xdata()[0] == weeks


def test_customer_shows_path_purchases_returns_and_the_next_purchase() -> None:
    ax = draw("plot_customer")
    assert curve(ax)[1] == [0.9, 0.8, 0.95, 0.9, 0.85]
    assert words(ax) == [
        "P(alive)",
        "purchase (area: amount)",
        "return",
        "next purchase, if active (80 %), runs on",
        "half of the time by 2024-01-20",
    ]
    bought, returned = (c for c in ax.collections if c.get_label().startswith(("purch", "return")))
    assert bought.get_offsets()[:, 1].tolist() == [0.9, 0.95]
    assert bought.get_sizes()[1] > bought.get_sizes()[0]
    assert returned.get_offsets()[:, 1].tolist() == [0.8]


def test_a_contract_is_active_or_ended_at_every_date() -> None:
    ax = draw("plot_contract")
    assert words(ax) == ["active", "ended: voluntary"]
    tops = [area.get_datalim(ax.transData).y1 for area in ax.collections]
    np.testing.assert_allclose(tops, [1.0, 1.0])


def test_flows_say_how_many_changed_and_why() -> None:
    ax = draw("plot_flows")
    assert ax.get_title(loc="left") == "Tier: 10 of 105 customers changed"
    assert sorted(text.get_text() for text in ax.texts) == ["10", "5", "90"]
    assert "10 model" in ax.get_xlabel()
