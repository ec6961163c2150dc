"""Settings of a training or scoring job: strict, frozen, read from YAML.

Every key has a default except the transactions; a key that is not known is an error that names
the nearest known one. ``--set a.b=c`` on the command line overrides any of them.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from crmml._typing import MONTHS, UNITS_OF, Duration, Grain
from crmml.data.schema import TABLES
from crmml.data.settings import Policies, ReadSettings
from crmml.exceptions import CrmmlError
from crmml.safe_yaml import YamlError, read_small, read_yaml


class ConfigError(CrmmlError, ValueError):
    """A configuration file or override is wrong; the text names the key."""


def _duration(text: str) -> str:
    return str(Duration.parse(text))


def _dates_as_text(value: Any) -> Any:
    # YAML reads an unquoted 1998-07-01 as a date.
    return str(value) if isinstance(value, datetime.date) else value


def _moment(text: str | None) -> str | None:
    """Refuse what is no moment before any data are read."""
    if text is not None:
        from crmml.features.windows import read_moment  # with the engine, which most need not

        read_moment(text, "cutoff")
    return text


DurationText = Annotated[str, AfterValidator(_duration)]


_LENGTHS = {
    "outcome.horizon": 3,
    "value.horizon": 12,
    "backtest.min_history": 6,
    "outcome.gap": None,
    "backtest.step": None,
    "loyalty.window": None,
}
"""Durations that are whole months or quarters where the grain is, and their defaults in months."""


def _by_calendar(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fill in the defaults of a log that is dated by months or quarters."""
    section = raw.get("snapshot")
    grain = section.get("grain") if isinstance(section, Mapping) else None
    if not isinstance(grain, str) or grain not in MONTHS:
        return raw
    defaults: dict[str, Any] = {"snapshot.time_unit": grain}
    for name, months in _LENGTHS.items():
        if months is not None:
            defaults[name] = f"{months // MONTHS[grain]}{grain[0].upper()}"
    filled = dict(raw)
    for name, value in defaults.items():
        part, _, key = name.partition(".")
        known = filled.get(part, {})
        if isinstance(known, Mapping):
            filled[part] = {key: value, **known}
    return filled


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class TableSource(ReadSettings):
    """Where a table comes from and how to read it.

    Attributes
    ----------
    path : Path, optional
        A Parquet file or folder, a CSV or a DuckDB file.
    dataset : str, optional
        Instead of a path: a public data set that comes with a package.
    table, columns, delimiter, header, encoding, date_format, decimal, timezone
        How to read it; see :class:`crmml.data.settings.ReadSettings`.
    """

    path: Path | None = None
    dataset: (
        Literal["cdnow", "cdnow_sample", "complete_journey", "complete_journey_brands"] | None
    ) = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.dataset is None) == (self.path is None):
            raise ValueError("give exactly one of `path` and `dataset`")


class DataSection(_Section):
    """The input tables: each a path, or a mapping with ``path`` and how to read it."""

    transactions: TableSource | None = None
    customers: TableSource | None = None
    interactions: TableSource | None = None
    treatments: TableSource | None = None
    subscriptions: TableSource | None = None
    schedules: TableSource | None = None
    labelled: TableSource | None = None
    own_seller: str | None = Field(
        None, description="the own house, where a column `seller` holds rivals' sales too"
    )
    policies: Policies = Policies()
    few_repeats: Literal["error", "keep"] = Field(
        "error", description="a log in which hardly any customer bought twice: refuse it or go on"
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_paths(cls, given: Any) -> Any:
        """Read a plain text in the place of a table as its path."""
        if not isinstance(given, dict):
            return given
        names = {schema.name for schema in TABLES}
        return {
            name: {"path": value} if name in names and isinstance(value, (str, Path)) else value
            for name, value in given.items()
        }

    @property
    def tables(self) -> dict[str, TableSource]:
        """The tables that are named, in the order of their contracts."""
        named = {schema.name: getattr(self, schema.name) for schema in TABLES}
        return {name: source for name, source in named.items() if source is not None}


class SnapshotSection(_Section):
    """How histories become one row per customer."""

    grain: Grain = Field("day", description="what counts as one purchase")
    time_unit: Literal["hour", "day", "week", "month", "quarter"] = Field(
        "week", description="unit of recency and T (default: of months and quarters, themselves)"
    )

    @model_validator(mode="after")
    def _fits(self) -> SnapshotSection:
        if self.time_unit not in UNITS_OF[self.grain]:
            units = " or ".join(UNITS_OF[self.grain])
            raise ValueError(
                f"with the grain {self.grain} the time_unit is {units}; got {self.time_unit}"
            )
        return self


class OutcomeSection(_Section):
    """What is forecast, and which period counts as churned."""

    horizon: DurationText = Field("13W", description="length of the outcome window")
    gap: DurationText | None = Field(
        None, description="time needed to act, left out before the window opens"
    )


class ValueSection(_Section):
    """Lifetime value."""

    horizon: DurationText = Field("52W", description="how far customer lifetime value looks ahead")
    annual_discount_rate: float = Field(0.10, ge=0, le=10, description="effective rate per year")
    margin: float = Field(
        0.30, gt=0, le=1, description="margin per unit of revenue where the data have none"
    )
    per_purchase: float | None = Field(
        None, gt=0, lt=1e12, description="revenue of a purchase, where the log has no amounts"
    )


class ContractSection(_Section):
    """Contracts, where there is a table of subscriptions."""

    period: DurationText = Field("30D", description="time between two renewal dates")
    grace: DurationText | None = Field(
        None, description="a contract renewed within it has not ended (default: none)"
    )
    trailing: DurationText = Field(
        "90D", description="window in which touch points and purchases are counted"
    )
    max_windows: int = Field(3, ge=1, le=60, description="test cutoffs, at most this many")


class ContactSection(_Section):
    """What a contact costs and saves, where a labelled table stands in the place of a log."""

    customer_value: float = Field(
        200.0, gt=0, lt=1e12, description="money that a customer who is kept brings"
    )
    save_rate: float = Field(
        0.3, gt=0, lt=1, description="share of those who would leave that a contact keeps"
    )
    incentive: float = Field(10.0, ge=0, description="cost of the offer to who takes it")
    cost: float = Field(1.0, ge=0, description="cost of a contact")

    @model_validator(mode="after")
    def _pays(self) -> ContactSection:
        gain = self.save_rate * (self.customer_value - self.incentive)
        if not gain > self.cost:
            raise ValueError(
                f"a contact must be able to pay: save_rate x (customer_value - incentive) is "
                f"{gain:g}, the contact costs {self.cost:g}"
            )
        return self


class LoyaltySection(_Section):
    """Loyalty classes."""

    window: DurationText | None = Field(
        None,
        description="how far loyalty looks back (default: the fewest whole horizons in which most "
        "active customers have three occasions)",
    )


class BacktestSection(_Section):
    """How models are evaluated before one is chosen."""

    min_history: DurationText = Field("26W", description="history before the first cutoff")
    step: DurationText | None = Field(
        None, description="distance of cutoffs (default: the horizon)"
    )
    max_windows: int = Field(6, ge=1, le=60, description="at most this many, the latest")
    candidates: tuple[str, ...] = Field(
        (
            "bg_nbd",
            "mbg_nbd",
            "pareto_nbd",
            "lifetimes_bg_nbd",
            "heuristic",
        ),
        description="models that compete (default: regular too, where gaps are alike)",
    )
    bootstrap: int = Field(200, ge=20, le=10_000, description="resamples behind each interval")


class TierSection(_Section):
    """Value tiers A to E."""

    shares: tuple[float, float, float, float, float] = (0.10, 0.15, 0.35, 0.20, 0.20)
    by: Literal["clv", "profit"] = Field(
        "clv", description="lifetime value less cost to serve, or profit to date"
    )

    @model_validator(mode="after")
    def _whole(self) -> TierSection:
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares must be positive and add up to 1; got {self.shares}")
        return self


class SegmentSection(_Section):
    """Segments beside value: experience, and the group of each customer."""

    experience_window: DurationText = Field(
        "26W", description="how far back surveys and complaints are read"
    )
    satisfied_from: float = Field(
        7, ge=0, le=10, description="score of a survey from which the experience is positive"
    )
    dissatisfied_to: float = Field(
        4, ge=0, le=10, description="score up to which it is negative; neutral between the two"
    )
    group: str = Field(
        "industry", min_length=1, description="column of the customers that is served as group"
    )

    @model_validator(mode="after")
    def _apart(self) -> SegmentSection:
        if not self.dissatisfied_to < self.satisfied_from:
            raise ValueError(
                "dissatisfied_to must be below satisfied_from; got "
                f"{self.dissatisfied_to:g} and {self.satisfied_from:g}"
            )
        return self


class ContactLimitSection(_Section):
    """At most so many contacts of one customer within a time, whatever the action."""

    most: int = Field(ge=1, description="contacts")
    within: DurationText = Field(description="like 30D")


class ActionSection(_Section):
    """Recommended actions under a limited budget."""

    catalogue: Path | None = Field(None, description="YAML of actions (default: the built-in one)")
    budget: float = Field(1000.0, ge=0, description="money for one round of actions")
    capacities: dict[str, int] = Field(
        default_factory=dict, description="channel -> most contacts in one round"
    )
    holdout_share: float = Field(
        0.05, ge=0, le=0.5, description="share left alone at random, to measure the effect"
    )
    holdout_least: int = Field(
        0,
        ge=0,
        description="customers whom each stratum of risk and value should hold out, at most half",
    )
    experiment: str = Field(
        "1", min_length=1, description="names the control group; a new name draws a new one"
    )
    consent: Literal["assumed", "required"] = Field(
        "assumed", description="what an unknown consent to be contacted counts as"
    )
    contact_limit: ContactLimitSection | None = Field(
        None, description="most contacts of one customer within a time (default: no limit)"
    )


class ReportSection(_Section):
    """What the report shows beside what is computed."""

    targets: dict[str, float] = Field(
        default_factory=dict,
        description="figure of the scorecard -> what it should be, such as retention: 0.6",
    )
    assessment: Path | None = Field(
        None, description="YAML of an assessment that was filled in by hand (default: none shown)"
    )


class TrackingSection(_Section):
    """Where runs and models are kept."""

    uri: str | None = Field(
        None,
        description="MLflow tracking URI (default: $MLFLOW_TRACKING_URI or sqlite:///mlflow.db)",
    )
    experiment: str = "crmml"


class Config(_Section):
    """All settings of a job."""

    name: str = Field(
        "crmml", pattern=r"^[A-Za-z0-9_-]+$", max_length=100, description="name in the registry"
    )
    seed: int = Field(1, ge=0, lt=2**32, description="source of all randomness")
    cutoff: Annotated[str | None, BeforeValidator(_dates_as_text), AfterValidator(_moment)] = Field(
        None, description="train on what lies before this date (default: after the last row)"
    )
    data: DataSection = DataSection()
    snapshot: SnapshotSection = SnapshotSection()
    outcome: OutcomeSection = OutcomeSection()
    value: ValueSection = ValueSection()
    contracts: ContractSection = ContractSection()
    contact: ContactSection = ContactSection()
    loyalty: LoyaltySection = LoyaltySection()
    backtest: BacktestSection = BacktestSection()
    tiers: TierSection = TierSection()
    segments: SegmentSection = SegmentSection()
    actions: ActionSection = ActionSection()
    report: ReportSection = ReportSection()
    tracking: TrackingSection = TrackingSection()

    @model_validator(mode="wrap")
    @classmethod
    def _remember_given(cls, raw: Any, handler: ModelWrapValidatorHandler[Config]) -> Config:
        config = handler(_by_calendar(raw) if isinstance(raw, Mapping) else raw)
        if isinstance(raw, Mapping):
            # where a cached property keeps its value; what stands there is no setting
            config.__dict__["given"] = frozenset(n for n in setting_names() if _stands(raw, n))
        return config

    @model_validator(mode="after")
    def _by_one_calendar(self) -> Config:
        grain = self.snapshot.grain
        for name in _LENGTHS:
            text = self.setting(name)
            length = None if text is None else Duration.parse(text)
            if length is None:
                continue
            if grain not in MONTHS and length.unit in MONTHS:
                raise ValueError(
                    f"{name} is {text}: months and quarters go with the grains of these names; "
                    f"with the grain {grain} write weeks or days"
                )
            months = length.number * MONTHS.get(length.unit, 0)
            if grain in MONTHS and (not months or months % MONTHS[grain]):
                raise ValueError(
                    f"{name} is {text}: with the grain {grain} it is a whole number of {grain}s, "
                    f"like 4{grain[0].upper()}"
                )
        return self

    @cached_property
    def given(self) -> frozenset[str]:
        """The settings of :func:`setting_names` that were written down, defaults or not."""
        return frozenset()

    def setting(self, name: str) -> Any:
        """Return a setting by its dotted name.

        Examples
        --------
        >>> config = parse_config({"actions": {"budget": 5}})
        >>> sorted(config.given), config.setting("actions.budget")
        (['actions.budget'], 5.0)
        """
        value: Any = self
        for part in name.split("."):
            value = getattr(value, part)
        return value

    def shareable(self) -> dict[str, Any]:
        """Return what may be logged: no server's address, of the test customers their number.

        Examples
        --------
        >>> config = parse_config({"data": {"policies": {"test_customers": ["till 7"]}}})
        >>> config.shareable()["data"]["policies"]["test_customers"]
        1
        """
        plain = self.model_dump(mode="json", exclude={"tracking"})
        policies = plain["data"]["policies"]
        policies["test_customers"] = len(policies["test_customers"])
        return plain


def setting_names() -> tuple[str, ...]:
    """Return the dotted names of all settings; a table of the data counts as one.

    Examples
    --------
    >>> [name for name in setting_names() if name.startswith("snapshot")]
    ['snapshot.grain', 'snapshot.time_unit']
    """

    def below(section: Any, prefix: str) -> Iterator[str]:
        for name, kind in _settings_of(section).items():
            if _settings_of(kind):
                yield from below(kind, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    return tuple(below(Config, ""))


def _stands(raw: Any, name: str) -> bool:
    """Whether a dotted name leads to a value of nested mappings."""
    for part in name.split("."):
        if not isinstance(raw, Mapping) or part not in raw:
            return False
        raw = raw[part]
    return True


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply ``a.b=c`` overrides, and check every key.

    Relative paths inside the file are taken from the file's own folder.

    Parameters
    ----------
    path : str or Path
        The YAML file.
    overrides : iterable of str
        Each ``dotted.key=value``; the value is read as YAML.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no YAML mapping, or a key or value is not allowed.
    """
    path = Path(path)
    try:
        raw = read_yaml(read_small(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {str(path)!r}: {error.strerror}"
        ) from None
    except YamlError as error:
        raise ConfigError(f"the configuration {str(path)!r} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"the configuration {str(path)!r} must be a mapping of keys to values")
    for override in overrides:
        _override(raw, override)
    config = parse_config(raw, origin=str(path))
    return _anchored(config, path.resolve().parent)


def parse_config(raw: Mapping[str, Any], origin: str = "the configuration") -> Config:
    """Check a mapping of settings and return the frozen :class:`Config`."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            near = _nearest(first["loc"])
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigError(f"{origin}: unknown key {key!r}{hint}{more}") from None
        message = first["msg"].removeprefix("Value error, ")
        got = (
            "" if first["type"] in {"missing", "value_error"} else f"; got {first['input']!r:.200}"
        )
        where = f"{origin}: {key}" if key else origin  # a rule between sections names its own
        raise ConfigError(f"{where}: {message}{got}{more}") from None


def _override(raw: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes key=value, like actions.budget=500; got {text!r}")
    *parents, last = key.strip().split(".")
    node = raw
    for parent in parents:
        child = node.get(parent)
        if child is None:
            child = node[parent] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"--set {text!r}: {parent!r} is not a section")
        node = child
    try:
        node[last] = read_yaml(value)
    except YamlError as error:
        raise ConfigError(f"--set {text!r:.200}: the value is not valid YAML: {error}") from None


def _nearest(location: tuple[int | str, ...]) -> str | None:
    section: Any = Config
    for part in location[:-1]:
        annotation = _settings_of(section).get(str(part))
        options = [annotation, *getattr(annotation, "__args__", ())]
        section = next((option for option in options if _settings_of(option)), None)
    close = difflib.get_close_matches(str(location[-1]), _settings_of(section), n=1)
    return close[0] if close else None


def _settings_of(section: Any) -> dict[str, Any]:
    """Return name -> type of the settings of a section; nothing of what is no section."""
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {name: field.annotation for name, field in section.model_fields.items()}
    if is_dataclass(section):
        return {field.name: field.type for field in fields(section)}
    return {}


def _anchored(config: Config, folder: Path) -> Config:
    anchored = {
        name: replace(source, path=folder / source.path)
        for name, source in config.data.tables.items()
        if source.path is not None
    }
    data = config.data.model_copy(update=anchored)
    catalogue = config.actions.catalogue
    actions = config.actions.model_copy(
        update={"catalogue": folder / catalogue if catalogue else None}
    )
    sheet = config.report.assessment
    report = config.report.model_copy(update={"assessment": folder / sheet if sheet else None})
    return config.model_copy(update={"data": data, "actions": actions, "report": report})
