"""The action catalogue: what may be done, to whom, at what cost, with what assumed effect."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from crmml._typing import Duration
from crmml.actions.expressions import Expression, ExpressionError
from crmml.exceptions import CrmmlError
from crmml.safe_yaml import YamlError, line_of, read_small, read_yaml
from crmml.stats.discounting import in_units

NO_ACTION = "no_action"
"""Doing nothing: always a choice, and the control of every experiment."""

Purpose: TypeAlias = Literal["acquire", "enhance", "retain", "win_back", "recover", "reduce_cost"]


KEEPING: tuple[Purpose, ...] = ("acquire", "retain", "recover")
"""Purposes that keep customers who are active (``acquire`` keeps the newly won)."""


class CatalogueError(CrmmlError, ValueError):
    """An action catalogue breaks a rule."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SaveRate(_Strict):
    """What is believed of an action's effect before any experiment: a Beta distribution.

    Parameters
    ----------
    mean : float
        Between 0 and 1: the share of would-be leavers whom the action keeps (retain, win back,
        recover, acquire), the relative lift of the expected margin (enhance), or the share of
        buyers who adopt the cheaper way (reduce cost).
    sample_size : float
        How many observed customers the belief is worth; the larger, the narrower the intervals.
    """

    mean: float = Field(gt=0, lt=1)
    sample_size: float = Field(gt=0)

    @property
    def alpha(self) -> float:
        """First parameter of the Beta distribution."""
        return self.mean * self.sample_size

    @property
    def beta(self) -> float:
        """Second parameter of the Beta distribution."""
        return (1 - self.mean) * self.sample_size


class Option(NamedTuple):
    """One way to carry out an action: what the allocation chooses among."""

    action: str
    channel: str
    contact_cost: float
    save_rate: SaveRate


_MOST_BYTES = 100
"""Of the name of an action or a channel: two of them go into the name of a list."""


def _check_name(name: str) -> None:
    """Refuse what cannot be part of the name of a file: each action and channel has a list."""
    plain = name.replace("\u200c", "")  # joins no letters in Persian words
    legal = plain.isprintable() and plain.strip() == plain and not set("/\\") & set(plain)
    if not plain or not legal or plain[0] == "." or len(name.encode()) > _MOST_BYTES:
        raise ValueError(
            f"{name!r:.60} cannot be part of the name of a list: actions and channels have names "
            f"of at most {_MOST_BYTES} bytes, without slashes, control signs and a leading dot"
        )


class Action(_Strict):
    """One action of the catalogue.

    Parameters
    ----------
    name : str
        Unique.
    purpose : str
        ``acquire`` (the second purchase), ``enhance``, ``retain``, ``win_back``, ``recover`` or
        ``reduce_cost``; decides the formula of the effect, see :mod:`crmml.actions.economics`.
    channels : tuple of str
        Each channel is an option of its own.
    contact_cost : float or mapping of channel to float
        Cost of one contact, >= 0, in the currency of the data.
    save_rate : SaveRate or mapping of channel to SaveRate
        The assumed effect.
    horizon : str
        Duration over which the effect counts, like ``"26W"``.
    eligible : str
        A condition over score columns; see :mod:`crmml.actions.expressions`.
    incentive_cost : float
        Cost of the incentive for one who uses it.
    redemption : float
        Share of those who buy within ``valid_for`` that use the incentive.
    valid_for : str, optional
        How long the incentive can be redeemed; the outcome horizon by default.
    win_back_rate : float
        Only where the purpose keeps customers: share of those already lost whom the action brings
        back all the same, from 0 to 1.
    saving : float
        Only for ``reduce_cost``: cost saved over the horizon for one who adopts.
    capacity : int, optional
        Most customers who can get the action in one cycle.
    cool_down : str, optional
        Duration for which a customer who got the action is left alone with it.
    lead_time, contact_within : str
        Earliest and latest contact, counted from the cutoff.
    description : str
        For the reader of the list.
    """

    name: str = Field(min_length=1)
    purpose: Purpose
    channels: tuple[str, ...] = Field(min_length=1)
    contact_cost: float | dict[str, float]
    save_rate: SaveRate | dict[str, SaveRate]
    horizon: str
    eligible: str = "True"
    incentive_cost: float = Field(default=0.0, ge=0)
    redemption: float = Field(default=1.0, gt=0, le=1)
    valid_for: str | None = None
    win_back_rate: float = Field(default=0.0, ge=0, le=1)
    saving: float = Field(default=0.0, ge=0)
    capacity: int | None = Field(default=None, ge=0)
    cool_down: str | None = None
    lead_time: str = "1D"
    contact_within: str = "28D"
    description: str = ""

    @field_validator("horizon", "cool_down", "lead_time", "contact_within", "valid_for")
    @classmethod
    def _a_duration(cls, text: str | None) -> str | None:
        return None if text is None else str(Duration.parse(text))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == NO_ACTION:
            raise ValueError(f"{NO_ACTION!r} is always a choice and is not listed")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("channels must be unique")
        for name in (self.name, *self.channels):
            _check_name(name)
        for field in ("contact_cost", "save_rate"):
            value = getattr(self, field)
            if isinstance(value, dict) and set(value) != set(self.channels):
                raise ValueError(
                    f"{field} must name exactly the channels {list(self.channels)}; "
                    f"got {list(value)}"
                )
        if min(option.contact_cost for option in self.options) < 0:
            raise ValueError("contact_cost must be >= 0")
        early, late = (in_units(text, "day") for text in (self.lead_time, self.contact_within))
        if late < early:
            raise ValueError(
                f"contact_within ({self.contact_within}) must not be below lead_time "
                f"({self.lead_time}): the latest contact would come before the earliest"
            )
        if (self.purpose == "reduce_cost") != (self.saving > 0):
            raise ValueError("saving must be > 0 for purpose reduce_cost, and only there")
        if self.win_back_rate > 0 and self.purpose not in KEEPING:
            raise ValueError(f"win_back_rate is only for the purposes {', '.join(KEEPING)}")
        _ = self.condition
        return self

    @cached_property
    def condition(self) -> Expression:
        """The parsed ``eligible``."""
        return Expression(self.eligible, owner=f"action {self.name!r}")

    @property
    def options(self) -> tuple[Option, ...]:
        """The action by each of its channels."""

        def at(value: Any, channel: str) -> Any:
            return value[channel] if isinstance(value, dict) else value

        return tuple(
            Option(self.name, c, float(at(self.contact_cost, c)), at(self.save_rate, c))
            for c in self.channels
        )


class ActionCatalogue(_Strict):
    """A list of actions; ``no_action`` is always a choice and is not listed.

    Examples
    --------
    >>> catalogue = ActionCatalogue.default()
    >>> catalogue.names[0]
    'no_action'
    >>> ActionCatalogue.from_dict(catalogue.to_dict()) == catalogue
    True
    """

    actions: tuple[Action, ...] = Field(min_length=1)
    version: str = "1"

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [action.name for action in self.actions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"action names must be unique; twice: {twice}")
        return self

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Build the catalogue from plain values.

        Raises
        ------
        CatalogueError
            With the action, the field and the rule.
        ExpressionError
            If a condition cannot be read.
        """
        return cls._validated(stored, "the catalogue")

    @classmethod
    def from_yaml(cls, path: str | Path, kinds: Mapping[str, str] | None = None) -> Self:
        """Read a catalogue file.

        Parameters
        ----------
        path : str or Path
        kinds : mapping of str to str, optional
            Types of columns; a condition that compares one with what it can never hold is refused.

        Raises
        ------
        CatalogueError
            If the file is missing, is not YAML, or breaks a rule; with the line.
        """
        try:
            text = read_small(Path(path))
        except OSError as error:
            raise CatalogueError(
                f"cannot read the catalogue {str(path)!r}: {error.strerror}"
            ) from None
        catalogue = cls.from_text(text, str(path))
        for number, action in enumerate(catalogue.actions):
            try:
                action.condition.check_kinds(kinds or {})
            except ExpressionError as error:
                line = line_of(text, ("actions", number, "eligible"))
                raise CatalogueError(f"{path}, line {line}: {error}") from None
        return catalogue

    @classmethod
    def from_text(cls, text: str | bytes, source: str = "the catalogue") -> Self:
        """Read a catalogue from YAML text; ``source`` names it in messages."""
        try:
            content = read_yaml(text)
        except YamlError as error:
            raise CatalogueError(f"{source} is not valid YAML: {error}") from None
        if not isinstance(content, dict):
            raise CatalogueError(f"{source} must hold a mapping with the key 'actions'")
        return cls._validated(content, source, text)

    @classmethod
    def default(cls, kind: str = "transactions") -> Self:
        """Return a catalogue that comes with the package: assumptions, to be replaced.

        Parameters
        ----------
        kind : {"transactions", "contracts"}
            Of the base: contracts alone have actions of their own.
        """
        file = "contract_catalogue" if kind == "contracts" else "default_catalogue"
        return cls.from_text(
            resources.files("crmml.actions").joinpath(f"{file}.yaml").read_text("utf-8"),
            f"the {file.replace('_', ' ')}",
        )

    @classmethod
    def _validated(
        cls, content: Mapping[str, Any], source: str, text: str | bytes | None = None
    ) -> Self:
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            first = error.errors()[0]
            if text is not None:
                source = f"{source}, line {line_of(text, first['loc'])}"
            # a mistake that has its own sentence keeps it
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, CrmmlError):
                raise CatalogueError(f"{source}: {cause}") from None
            place = _place(first["loc"], content)
            rule = str(cause) if cause else first["msg"].lower()
            got = "" if cause else f"; got {first['input']!r:.200}"
            raise CatalogueError(f"{source}{place}: {rule}{got}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"version": self.version}

    def __getitem__(self, name: str) -> Action:
        return next(action for action in self.actions if action.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the choices, ``no_action`` first."""
        return (NO_ACTION, *(action.name for action in self.actions))

    @property
    def options(self) -> tuple[Option, ...]:
        """Every (action, channel) pair, in the order of the catalogue."""
        return tuple(option for action in self.actions for option in action.options)

    @property
    def horizons(self) -> tuple[str, ...]:
        """Horizons over which the expected margin must be known, sorted."""
        return tuple(sorted({a.horizon for a in self.actions if a.purpose != "reduce_cost"}))

    def windows(self, outcome_horizon: str) -> tuple[str, ...]:
        """Durations within which P(buys) must be known, sorted.

        Parameters
        ----------
        outcome_horizon : str
            How long an incentive is valid where the action does not say.
        """
        valid = {a.valid_for or outcome_horizon for a in self.actions if a.incentive_cost > 0}
        saved = {a.horizon for a in self.actions if a.purpose == "reduce_cost"}
        return tuple(sorted(str(Duration.parse(text)) for text in valid | saved))

    @property
    def columns(self) -> tuple[str, ...]:
        """Score columns that the conditions read, sorted."""
        return tuple(sorted({name for a in self.actions for name in a.condition.columns}))


def _place(loc: tuple[int | str, ...], content: Mapping[str, Any]) -> str:
    words = []
    for depth, step in enumerate(loc):
        if isinstance(step, int) and depth == 1 and loc[0] == "actions":
            entry = content["actions"][step]
            name = entry.get("name") if isinstance(entry, Mapping) else None
            words.append(f"action {name!r}" if name else f"action number {step + 1}")
        elif step != "actions" or len(loc) == 1:
            words.append(f"field {step!r}")
    return ", " + ", ".join(words) if words else ""
