"""Windows, rolling cutoffs, and folds that never look ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmml.exceptions import (
    CensoredWindowError,
    CrmmlError,
    DurationError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.windows import (
    Window,
    customer_folds,
    embargoed_folds,
    end_of_observation,
    rolling_windows,
)


def test_window_lies_after_cutoff_and_gap():
    window = Window("2024-01-01", "4W", "36H")
    assert window.opens == pd.Timestamp("2024-01-02 12:00")
    assert window.closes == pd.Timestamp("2024-01-30 12:00")
    assert Window("2024-01-01", "4W") == Window(pd.Timestamp("2024-01-01"), "4W")


def test_cdnow_windows_are_the_published_39_weeks():
    (window,) = rolling_windows("1997-01-01", "1998-06-30", horizon="39W", min_history="39W")
    assert window.cutoff == pd.Timestamp("1997-10-01")
    assert window.closes == pd.Timestamp("1998-07-01")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Window("soon", "4W"), ParameterError, "cutoff must be a date"),
        (lambda: Window("2024-01-01", "1 year"), DurationError, "years have no"),
        (lambda: Window("2024-01-01", "1.5M"), ParameterError, "whole number of months"),
        (lambda: Window("2024-01-01", "3P"), CrmmlError, "no length in calendar time"),
        (
            lambda: rolling_windows("2024-01-01", "2024-03-01", horizon="13W"),
            TooLittleDataError,
            "the data span 61 days",
        ),
        (lambda: customer_folds(pd.Index([1]), 1), ParameterError, "n_folds must be at least 2"),
    ],
)
def test_refuses_impossible_times(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_window_that_outlives_the_data_is_censored():
    Window("2024-01-01", "7D").check_observed("2024-01-07 01:00")
    with pytest.raises(CensoredWindowError, match="censored, not lost"):
        Window("2024-01-01", "7D").check_observed("2024-01-06 23:59")


@settings(max_examples=15, deadline=None)
@given(
    days=st.integers(120, 500),
    horizon=st.integers(7, 60),
    gap=st.integers(1, 20),
    step=st.integers(5, 60),
)
def test_folds_learn_only_from_windows_that_had_closed(days, horizon, gap, step):
    first = pd.Timestamp("2020-01-01")
    last = first + pd.Timedelta(days=days)
    windows = rolling_windows(
        first, last, horizon=f"{horizon}D", gap=f"{gap}D", step=f"{step}D", min_history="30D"
    )
    assert windows == sorted(windows, key=lambda window: window.cutoff)
    assert windows[-1].closes == end_of_observation(last)
    assert all(window.cutoff >= first + pd.Timedelta(days=30) for window in windows)
    for fold in embargoed_folds(windows):
        assert fold.train
        assert all(window.closes <= fold.test.cutoff for window in fold.train)
        unused = [w for w in windows if w not in fold.train and w.cutoff < fold.test.cutoff]
        assert all(window.closes > fold.test.cutoff for window in unused)


def test_customers_stay_in_their_fold_whoever_is_in_the_batch():
    ids = pd.Index([f"c{i}" for i in range(5000)] + ["🙂", "مریم"])
    folds = customer_folds(ids, 5)
    order = np.random.default_rng(1).permutation(len(ids))
    np.testing.assert_array_equal(customer_folds(ids[order], 5), folds[order])
    np.testing.assert_array_equal(customer_folds(ids[:1], 5), folds[:1])
    assert np.bincount(folds, minlength=5).min() > 900
    other = customer_folds(ids, 5, seed=1)
    assert 0.1 < (folds == other).mean() < 0.3
    numbers = customer_folds(pd.RangeIndex(5000), 5)
    np.testing.assert_array_equal(customer_folds(pd.RangeIndex(5000).astype(str), 5), numbers)
    assert np.bincount(numbers, minlength=5).min() > 900
