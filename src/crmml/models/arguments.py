"""What estimators are given: anything else is refused, with what makes the one of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crmml.card import listed
from crmml.exceptions import WrongArgumentError
from crmml.features.snapshot import CORE_COLUMNS, Snapshot

_WINDOWS = (
    "crmml.features.labels.build_labelled(tables, window) makes one for each window of "
    "crmml.features.windows.rolling_windows(...)"
)


def check_snapshot(value: object, who: object) -> None:
    """Refuse what is no snapshot.

    Parameters
    ----------
    value : object
        The argument.
    who : object
        The estimator; its class is named.

    Raises
    ------
    WrongArgumentError
        Which says what makes a snapshot of what was given.
    """
    if not isinstance(value, Snapshot):
        raise WrongArgumentError(_name(who), "a Snapshot", describe(value), _to_snapshot(value))


def check_history(value: object, who: object) -> None:
    """Refuse what is no sequence of labelled snapshots; an empty one passes.

    Raises
    ------
    WrongArgumentError
        Which says what makes one of what was given.
    """
    from crmml.features.labels import LabelledSnapshot  # loads the engine

    needed = "a list of labelled snapshots, one for each window of the past"
    if isinstance(value, LabelledSnapshot):
        raise WrongArgumentError(_name(who), needed, describe(value), "put it into a list")
    _check_all(value, LabelledSnapshot, who, needed, _WINDOWS)


def check_wallets(value: object, who: object) -> None:
    """Refuse what is no sequence of wallets; an empty one passes.

    Raises
    ------
    WrongArgumentError
        Which says what makes one.
    """
    from crmml.features.wallet import Wallet  # loads the engine

    remedy = "crmml.features.wallet.rolling_wallets(tables, cutoff, length='13W') makes them"
    _check_all(value, Wallet, who, "a list of wallets, one for each window of the past", remedy)


def check_wallet(value: object, who: object) -> None:
    """Refuse what is no wallet.

    Raises
    ------
    WrongArgumentError
        Which says what makes one.
    """
    from crmml.features.wallet import Wallet  # loads the engine

    remedy = "crmml.features.wallet.build_wallet(tables, cutoff, ...) makes one"
    _check_one(value, Wallet, who, "a Wallet", remedy)


def check_contracts(value: object, who: object) -> None:
    """Refuse what is no table of contracts.

    Raises
    ------
    WrongArgumentError
        Which says which columns the table has.
    """
    if not isinstance(value, pd.DataFrame):
        needed = "a DataFrame of contracts"
        remedy = "its columns are customer_id, renewals and ended"
        raise WrongArgumentError(_name(who), needed, describe(value), remedy)


def check_periods(value: object, who: object) -> None:
    """Refuse what is no table of the periods at risk of contracts.

    Raises
    ------
    WrongArgumentError
        Which says what makes one.
    """
    from crmml.features.contracts import Contracts, PersonPeriods  # loads the engine

    remedy = "crmml.features.contracts.build_person_periods(tables) makes them"
    if isinstance(value, Contracts):
        remedy = f"it does not know how its contracts went on; {remedy}"
    _check_one(value, PersonPeriods, who, "PersonPeriods", remedy)


def check_active_contracts(value: object, who: object) -> None:
    """Refuse what is no set of contracts active at a cutoff.

    Raises
    ------
    WrongArgumentError
        Which says what makes one.
    """
    from crmml.features.contracts import Contracts  # loads the engine

    remedy = "crmml.features.contracts.build_contracts(tables, cutoff) makes them"
    _check_one(value, Contracts, who, "Contracts", remedy)


def check_rows(value: object, who: object) -> None:
    """Refuse what is no table of customers.

    Raises
    ------
    WrongArgumentError
        Which says what the table holds.
    """
    if not isinstance(value, pd.DataFrame):
        needed = "a DataFrame with one row per customer"
        remedy = "its columns are those of the training; pandas.read_csv(path, dtype=str) reads one"
        raise WrongArgumentError(_name(who), needed, describe(value), remedy)


def _check_one(value: object, kind: type, who: object, needed: str, remedy: str) -> None:
    if not isinstance(value, kind):
        raise WrongArgumentError(_name(who), needed, describe(value), remedy)


def _check_all(value: object, kind: type, who: object, needed: str, remedy: str) -> None:
    good = isinstance(value, Sequence) and not isinstance(value, str)
    if good and all(isinstance(part, kind) for part in value):  # type: ignore[attr-defined]
        return
    if isinstance(value, Snapshot):
        remedy = f"it does not know what its customers did later; {remedy}"
    raise WrongArgumentError(_name(who), needed, describe(value), remedy)


def _name(who: object) -> str:
    return who if isinstance(who, str) else type(who).__name__


def describe(value: Any) -> str:
    """Say what was given, without values of the data.

    Examples
    --------
    >>> describe(["a.csv"]), describe(pd.DataFrame({"amount": [1.0]}))
    ('a list of 1 str', 'a DataFrame with the columns amount')
    """
    if isinstance(value, pd.DataFrame):
        return f"a DataFrame with the columns {listed(value.columns)}"
    if isinstance(value, (str, Path)):
        return f"the text or path {str(value)[:80]!r}"
    if isinstance(value, (list, tuple)):
        inside = f" of {len(value):,} {type(value[0]).__name__}" if value else ", empty"
        return f"a {type(value).__name__}{inside}"
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _to_snapshot(value: Any) -> str:
    if isinstance(getattr(value, "snapshot", None), Snapshot):
        return "give its .snapshot"
    if isinstance(value, (list, tuple)) and value and hasattr(value[-1], "snapshot"):
        return "give the .snapshot of one of them"
    if isinstance(value, (list, tuple)) and value and isinstance(value[-1], Snapshot):
        return "give one of them"
    if isinstance(value, pd.DataFrame) and set(CORE_COLUMNS[1:]) <= set(map(str, value.columns)):
        return "crmml.Snapshot.from_frame(table, cutoff=..., time_unit=...) makes one of this table"
    if isinstance(value, (pd.DataFrame, str, Path, Mapping)):
        return "crmml.build_snapshot(log, cutoff) makes one of a log of purchases"
    return "crmml.build_snapshot(log, cutoff) makes one"
