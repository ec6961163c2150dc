"""What a stored file may hold: plain values in the ranges that models take, checked first.

Models take their numbers as they are, so a file that was edited and signed anew is looked at
before any model is built from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from crmml._typing import Duration
from crmml.exceptions import BundleError, DurationError
from crmml.stats.discounting import in_units

_DEEPEST, _LISTS = 40, 8
"""Levels of a file, and of lists in lists; eight and two are in use."""


def read_stored(content: bytes, what: str) -> Any:
    """Read JSON that models are built from.

    Parameters
    ----------
    content : bytes
        The file.
    what : str
        What it is, for the message.

    Raises
    ------
    BundleError
        If it is no JSON, names a key twice, nests too deeply, or holds a number that no model
        takes.
    """
    value = parse_stored(content, what)
    refuse_broken(value, what)
    return value


def parse_stored(content: bytes, what: str) -> Any:
    """Read the JSON alone; what it holds is looked at by :func:`refuse_broken`."""
    try:
        value = json.loads(content, object_pairs_hook=_once)
        _check_depth(value, 0, 0)
    except RecursionError:
        raise BundleError(f"{what} nests too deeply") from None
    except ValueError as error:
        raise BundleError(f"{what} cannot be read: {error!s:.200}") from None
    return value


def refuse_broken(value: Any, what: str) -> None:
    """Raise a BundleError that names the first number which no model takes, and its place."""
    for place, rule in _broken(value, ()):
        raise BundleError(f"{what}: {'.'.join(place)} must be {rule}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(k for k, _ in pairs if sum(k == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r:.60} stands twice")
    return found


def _check_depth(value: Any, depth: int, lists: int) -> None:
    if depth > _DEEPEST or lists > _LISTS:
        raise RecursionError
    if isinstance(value, dict):
        for one in value.values():
            _check_depth(one, depth + 1, lists)
    elif isinstance(value, list):
        for one in value:
            _check_depth(one, depth + 1, lists + 1)


# ------------------------------------------------------------------------------- ranges


def _numbers(value: Any) -> list[float]:
    """Return the numbers of a value, a list or a mapping; raise at what is none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return [float(value)]


def _within(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: all(low <= number <= high for number in _numbers(value))


def _rising(value: Any) -> bool:
    numbers = _numbers(value)
    return all(map(math.isfinite, numbers)) and numbers == sorted(numbers)


def _falling(value: Any) -> bool:
    return _rising(value[::-1])


def _duration(value: Any) -> bool:
    given = value if isinstance(value, list) else [value]
    return all(in_units(one, "hour") > 0 or Duration.parse(one).unit == "period" for one in given)


def _window(value: Any) -> bool:
    if isinstance(value, list):  # of customers who are older than the data
        return len(value) == 2 and _rising(value)
    return _duration(value)


def _margin(value: Any) -> bool:
    if isinstance(value, str):  # that of the data's start is a time
        return value in ("expected_margin_ratio", "auto", "half") or _duration(value)
    return _within(_TINY, _MOST)(value)


def _chances(value: Any) -> bool:
    if isinstance(value, dict) and not {"settings", "state"} <= set(value):
        return False
    rows = value["state"]["matrix_"] if isinstance(value, dict) else value
    sums = [sum(_numbers(row)) for row in rows]
    return min(_numbers(rows)) >= 0 and all(abs(one - 1.0) < 1e-6 for one in sums)


def _cuts(value: Any) -> bool:
    names = {"referral_value", "suggestions_taken", "volume_52w", "margin_ratio"}
    known = [one for one in value.values() if one is not None]
    plain = not any(isinstance(one, (list, dict)) for one in known)
    return set(value) == names and plain and _within(0.0, _MOST)(known)


def _score(value: Any) -> bool:
    return not isinstance(value, (list, dict)) and _within(0.0, 10.0)(value)


def _tastes(value: dict[str, Any]) -> bool:
    names, categories, loadings = (value[n] for n in ("names", "categories", "loadings"))
    texts = all(isinstance(one, str) for one in [*names, *categories])
    rows = [_numbers(row) for row in loadings]
    whole = all(len(row) == len(categories) and sum(row) > 0 for row in rows)
    distinct = len(set(names)) == len(names) and len(set(categories)) == len(categories)
    return texts and whole and distinct and 0 < len(rows) == len(names)


def _curve(value: Any) -> bool:
    scores, chances = value["scores"], value["probabilities"]
    return (
        isinstance(scores, list) and isinstance(chances, list) and 0 < len(scores) == len(chances)
    )


def _peers(value: Any) -> bool:
    numbers = all(isinstance(value[name], (int, float)) for name in ("peak", "peak_occasions"))
    rates = value["goes_on" if "goes_on" in value else "continuation_rate"]
    flat = isinstance(rates, list) and not any(isinstance(one, (list, dict)) for one in rates)
    return numbers and flat and len(rates) > 0


_TINY, _MOST = 1e-300, 1e15
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("params_", "first_", "half_life_", "scale_", "k_", "dispersion_", "weekly", "dated"),
        (_within(_TINY, _MOST), "positive numbers"),
    ),
    **dict.fromkeys(
        (
            "budget",
            "capacities",
            "annual_discount_rate",
            "holdout_least",
            "candidate_horizons",
            "strength",
            "new_until",
            "established_after",
            "peak",
            "peak_occasions",
            "typical_gap_",
            "per_time",
            "per_purchase",
            "spread",
            "loadings",
            "noise",
        ),
        (_within(0.0, _MOST), "numbers from 0"),
    ),
    **dict.fromkeys(
        (
            "probabilities",
            "continuation_rate",
            "goes_on",  # its name in earlier versions
            "lowest",
            "highest",
            "holdout_share",
            "lapsed_at",
            "at_risk_at",
            "gini",
        ),
        (_within(0.0, 1.0), "numbers from 0 to 1"),
    ),
    **dict.fromkeys(
        ("clock_estimates_", "log_mean", "level_", "drift_"),
        (_within(-1e300, 1e300), "finite numbers"),
    ),
    **dict.fromkeys(("scores", "risk_cuts", "value_cuts", "level"), (_rising, "rising numbers")),
    "pareto_shares": (
        lambda v: isinstance(v, list) and len(v) > 0 and _within(0.0, 1.0)(v),
        "numbers from 0 to 1, and some",
    ),
    "pareto_values": (
        lambda v: isinstance(v, list) and len(v) > 0 and _rising(v),
        "rising numbers, and some",
    ),
    **dict.fromkeys(
        ("horizon", "value_horizon", "gap", "windows", "margin_horizons"),
        (_duration, "durations like '13W'"),
    ),
    "window": (_window, "a duration like '13W', or its begin and end in days"),
    "calibration_": (_curve, "a curve: as many scores as probabilities, and some"),
    "peers_": (_peers, "what peers do: peak, peak_occasions and continuation_rate"),
    "n_posterior_draws": (_within(1, 1e6), "a number from 1"),
    "reference": (
        lambda v: len(v) == 3 and all(0.0 <= one < 1e9 for one in _numbers(v)),
        "three numbers from 0",
    ),
    "margin": (
        _margin,
        "a positive number, the column of each customer's own ratio, or a duration",
    ),
    "cut_points": (
        lambda v: len(v) == 4 and all(map(math.isfinite, _numbers(v))) and _falling(v),
        "four falling numbers",
    ),
    "seed": (lambda v: type(v) is int and 0 <= v < 2**32, "a whole number from 0 to 2^32 - 1"),
    "matrix_": (_chances, "rows of chances that add up to 1"),
    "role_cuts": (_cuts, "the four cut points, numbers from 0 or null"),
    **dict.fromkeys(("satisfied_from", "dissatisfied_to"), (_score, "a score from 0 to 10")),
}
"""What stands under a name, wherever in a file it does."""

_ALIKE = (("scores", "probabilities"), ("pareto_values", "pareto_shares"), ("level", "low", "high"))
"""Lists that belong together, entry by entry."""


def _broken(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the places that break a rule, with the rule."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            if isinstance(one, (dict, list)):
                yield from _broken(one, (*place, str(number)))
    if not isinstance(value, dict):
        return
    for name, one in value.items():
        here = (*place, str(name)[:60])
        check, rule = _RULES.get(name, (None, ""))
        if check is not None and one is not None and not _keeps(check, one):
            yield here, rule
        yield from _broken(one, here)
    for names in _ALIKE:
        lists = [value[name] for name in names if isinstance(value.get(name), list)]
        flat = not any(isinstance(one, (list, dict)) for entries in lists for one in entries)
        alike = len(set(map(len, lists))) == 1 and flat and lists[0]
        if len(lists) == len(names) and not alike:
            yield (*place, names[0]), f"as many as {' and '.join(names[1:])}, and some"
    if {"names", "categories", "loadings"} <= value.keys() and not _keeps(_tastes, value):
        yield (*place, "loadings"), "a row of shares for each name, one per category"
    if {"draws", "log_mean", "log_covariance", "names"} <= value.keys() and not _keeps(
        _is_posterior, value
    ):
        yield (*place, "draws"), "finite, one column per name, positive but for coefficients"


def _keeps(check: Callable[[Any], bool], value: Any) -> bool:
    try:
        return check(value)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, DurationError):
        return False


def _is_posterior(stored: dict[str, Any]) -> bool:
    names: Sequence[str] = stored["names"]
    draws = np.asarray(stored["draws"], dtype=np.float64)
    spread = np.asarray(stored["log_covariance"], dtype=np.float64)
    free = np.isin(names, stored.get("coefficients", []))
    n = len(names)
    return bool(
        draws.ndim == 2
        and len(draws)
        and draws.shape[1] == len(stored["log_mean"]) == n
        and spread.shape == (n, n)
        and np.isfinite(draws).all()
        and np.isfinite(spread).all()
        and (draws[:, ~free] > 0).all()
    )
