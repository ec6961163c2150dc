"""Contact memory: who was contacted when, so that nobody is contacted twice within a cool-down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration
from crmml.actions.catalogue import NO_ACTION, Action
from crmml.exceptions import MissingColumnsError, ParameterError
from crmml.stats.discounting import in_units

_COLUMNS = ("customer_id", "timestamp", "action")


@dataclass(frozen=True)
class ContactLimit:
    """At most so many contacts of one customer within a time, whatever the action.

    Attributes
    ----------
    most : int
        >= 1.
    within : str
        A duration, like ``"30D"``.

    Examples
    --------
    >>> ContactLimit(2, "30D").within
    '30D'
    """

    most: int
    within: str

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ParameterError("contact limit", "at least 1 contact", self.most)
        object.__setattr__(self, "within", str(Duration.parse(self.within)))


@dataclass(frozen=True, eq=False)
class ContactMemory:
    """Contacts before a cutoff.

    Attributes
    ----------
    contacts : DataFrame
        ``customer_id``, ``timestamp`` and ``action``, one row per contact; control rows
        (``no_action``) are left out.
    cutoff : Timestamp
        What is remembered lies before it.
    sources : tuple of str
        Where the contacts come from: ``treatments``, ``plans``.
    """

    contacts: pd.DataFrame
    cutoff: pd.Timestamp
    sources: tuple[str, ...]

    @classmethod
    def gather(cls, cutoff: str | pd.Timestamp, sources: Mapping[str, pd.DataFrame]) -> Self:
        """Gather contacts from tables; a contact that two of them hold counts once.

        Parameters
        ----------
        cutoff : str or Timestamp
            Later contacts are not seen.
        sources : mapping of name to DataFrame
            With ``customer_id``, ``timestamp`` and ``action``. What was planned and what was
            then recorded as treatment on the same day is one contact.

        Raises
        ------
        MissingColumnsError
            If a column is missing.

        Examples
        --------
        >>> table = pd.DataFrame({"customer_id": ["a", "a"], "action": ["call", "no_action"],
        ...                       "timestamp": pd.to_datetime(["2026-01-02", "2026-01-03"])})
        >>> len(ContactMemory.gather("2026-02-01", {"treatments": table, "plans": table}).contacts)
        1
        """
        moment = pd.Timestamp(cutoff)
        parts = []
        for name, table in sources.items():
            missing = [column for column in _COLUMNS if column not in table.columns]
            if missing:
                raise MissingColumnsError(missing, map(str, table.columns), table=name)
            at = pd.to_datetime(table["timestamp"])
            seen = (at < moment) & (table["action"] != NO_ACTION)
            if seen.any():
                parts.append(table[list(_COLUMNS)].assign(timestamp=at)[seen.to_numpy()])
        nobody = pd.DataFrame(columns=_COLUMNS).astype({"timestamp": "datetime64[us]"})
        contacts = pd.concat(parts, ignore_index=True) if parts else nobody
        day = contacts["timestamp"].dt.normalize()
        same = contacts.assign(timestamp=day).duplicated()
        return cls(contacts[~same].reset_index(drop=True), moment, tuple(sources))

    def rested(self, action: Action, ids: pd.Index[Any]) -> BoolArray:
        """Who did not get an action within its cool-down, shape (n,)."""
        if action.cool_down is None:
            return np.ones(len(ids), dtype=bool)
        since = self.cutoff - timedelta(action.cool_down)
        mine = self.contacts["action"] == action.name
        lately = self.contacts[mine & (self.contacts["timestamp"] > since)]
        return np.asarray(~ids.isin(lately["customer_id"]))

    def below(self, limit: ContactLimit, ids: pd.Index[Any]) -> BoolArray:
        """Who had fewer contacts than the limit allows, shape (n,)."""
        since = self.cutoff - timedelta(limit.within)
        lately = self.contacts[self.contacts["timestamp"] > since]
        number = lately["customer_id"].value_counts().reindex(ids, fill_value=0)
        return np.asarray(number.to_numpy() < limit.most)


def timedelta(duration: str) -> pd.Timedelta:
    """Return a duration of the catalogue as a pandas time span.

    Examples
    --------
    >>> timedelta("2W")
    Timedelta('14 days 00:00:00')
    """
    return pd.Timedelta(days=in_units(duration, "day"))
