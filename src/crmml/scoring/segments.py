"""Predictors of segments beside value: experience, strategic roles, taste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from crmml.exceptions import TooLittleDataError
from crmml.features.categories import count_categories
from crmml.features.experience import DISSATISFIED, WINDOW, count_touches, read_zones
from crmml.features.merits import gather_merits
from crmml.features.periods import SATISFIED
from crmml.features.snapshot import Snapshot
from crmml.scoring.predictors import Moment, Output
from crmml.segments.roles import StrategicRoles, join_roles
from crmml.segments.taste import TasteSegments

if TYPE_CHECKING:
    from crmml.data.tables import Tables

_NOTHING: frozenset[str] = frozenset()
_ZONES = "negative, neutral, positive or unknown"


@dataclass(frozen=True)
class ExperienceZone:
    """What surveys and complaints say of a customer's experience, overall and by dimension.

    Attributes
    ----------
    window : str
        How far back they are read.
    satisfied_from, dissatisfied_to : float
        Scores of surveys; see :func:`crmml.features.experience.read_zones`.
    dimensions : mapping of str to str, or None
        Dimensions that the training knew, with their columns. None, of bundles before 0.4: only
        the zone is given.
    """

    window: str = WINDOW
    satisfied_from: float = SATISFIED
    dissatisfied_to: float = DISSATISFIED
    dimensions: Mapping[str, str] | None = None

    name: ClassVar[str] = "experience_zone"
    tables: ClassVar[frozenset[str]] = frozenset({"interactions"})
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The zones, and what they rest on."""
        far = self.window
        zone = Output(
            "experience_zone", "text", "", f"{_ZONES}, by surveys and complaints of the last {far}"
        )
        if self.dimensions is None:
            return (zone,)
        return (
            zone,
            *(
                Output(column, "text", "", f"{_ZONES}: the experience of {dimension}")
                for dimension, column in self.dimensions.items()
            ),
            Output("contacts", "number", "touch points", f"of any kind in the last {far}"),
            Output("open_complaints", "number", "complaints", f"of the last {far}, not settled"),
            Output("last_score", "number", "0 to 10", f"latest survey in the last {far}"),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Read the touch points, once for all customers."""
        known = moment.table("interactions").columns
        dimensions = dict(self.dimensions or {})
        needs = {"open_complaints": "resolved_at", "last_score": "score"}
        needs |= dict.fromkeys(dimensions.values(), "dimension")
        for name in [output.name for output in self.outputs]:
            if needs.get(name, "kind") not in known:
                column = f"`{needs[name]}` of the table `interactions`"
                moment.leave_out(name, f"needs the column {column}")
        dimensions = dimensions if "dimension" in known else {}

        def read() -> tuple[pd.DataFrame, pd.DataFrame]:
            cutoff = moment.base.cutoff
            zones = read_zones(
                moment.tables,
                cutoff,
                window=self.window,
                satisfied_from=self.satisfied_from,
                dissatisfied_to=self.dissatisfied_to,
                dimensions=dimensions,
            )
            return zones, count_touches(moment.tables, cutoff, self.window)

        zones, touches = moment.shared((self.name, moment.base.cutoff), read)
        ids = moment.base.customer_id
        table = zones.reindex(ids, fill_value="unknown").join(touches.reindex(ids))
        counts = ["contacts", *(["open_complaints"] if "resolved_at" in known else [])]
        table[counts] = table[counts].fillna(0.0)
        return table


@dataclass(frozen=True)
class Roles:
    """Customers who matter beyond what they spend now, with the evidence.

    Attributes
    ----------
    segments : StrategicRoles or None
        With its cut points. None, of bundles before 0.4: only the top tier is named.
    """

    segments: StrategicRoles | None = None

    name: ClassVar[str] = "roles"
    tables: ClassVar[frozenset[str]] = _NOTHING
    reads: ClassVar[frozenset[str]] = frozenset({"value_tier", "tier_by_value"})
    optional: ClassVar[frozenset[str]] = frozenset({"tier_by_value"})

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The roles, and what they rest on."""
        if self.segments is None:
            only = "high_lifetime_value for tier A; null for others"
            return (Output("strategic_role", "text", "", only),)
        return (
            Output("strategic_role", "text", "", "roles beside value, parted by commas; or null"),
            Output("referrals_won", "number", "customers", "referrals that became customers"),
            Output(
                "referral_value",
                "number",
                "currency",
                "net spend to date of those, or fees a period",
            ),
            Output("suggestions_taken", "number", "suggestions", "that led to a change"),
            Output("volume_52w", "number", "currency", "net spend of the last 52 weeks"),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Name the top tier by lifetime value, and who reaches the cut points."""
        tier = so_far["tier_by_value" if "tier_by_value" in so_far else "value_tier"]
        held = pd.DataFrame({"high_lifetime_value": tier == "A"})
        if self.segments is None:
            return join_roles(held).to_frame()
        evidence = evidence_of(moment, so_far.index)
        needs = {"referrals_won": "referred_customer_id", "referral_value": "referred_customer_id"}
        needs["suggestions_taken"] = "led_to_change"
        for name, column in needs.items():
            if name not in evidence:
                moment.leave_out(name, f"needs the column `{column}` of the table `interactions`")
        if "volume_52w" not in evidence:
            moment.leave_out("volume_52w", "needs the purchases of the last 52 weeks")
        return evidence.assign(strategic_role=join_roles(held.join(self.segments.assign(evidence))))


def evidence_of(moment: Moment, ids: pd.Index) -> pd.DataFrame:
    """Gather what strategic roles are read from, as far as the data have it.

    Parameters
    ----------
    moment : Moment
        Of all customers, or a batch of them.
    ids : Index
        The customers.
    """
    own_seller = None
    if isinstance(moment.base, Snapshot):
        own_seller = moment.base.provenance.get("own_seller")
    key = ("merits", moment.base.cutoff)
    merits = moment.shared(
        key, lambda: gather_merits(moment.tables, moment.base.cutoff, own_seller)
    )
    table = pd.DataFrame(index=ids).assign(
        **{name: found.reindex(ids, fill_value=0.0) for name, found in merits.items()}
    )
    if not isinstance(moment.base, Snapshot):
        return table
    frame = moment.base.frame.set_index("customer_id")
    if "net_spend_52w" in frame:
        table["volume_52w"] = frame["net_spend_52w"]
    if "margin_weight" in frame:
        table["margin_ratio"] = frame["expected_margin_ratio"].where(frame["margin_weight"] > 0)
    return table


@dataclass(frozen=True)
class TasteSegment:
    """Customers who buy alike.

    Attributes
    ----------
    segments : TasteSegments or None
        With its loadings; None where the training found no tastes.
    why : str
        Why it found none.
    """

    segments: TasteSegments | None = None
    why: str = "categories were not clustered when the bundle was trained"

    name: ClassVar[str] = "taste_segment"
    tables: ClassVar[frozenset[str]] = frozenset({"transactions"})
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("taste_segment", "text", "", "customers who buy alike, by what sets them apart"),
    )

    def describe(self) -> str:
        """Say how many tastes were found and how stable they are, or why there are none."""
        found = self.segments
        if found is None:
            return f"no tastes are told apart: {self.why}"
        number = len(found.names_)
        agree = found.stability_.get(number, max(found.stability_.values()))
        tried = ", ".join(f"{k}: {value:.2f}" for k, value in sorted(found.stability_.items()))
        return (
            f"{number} tastes are told apart ({'; '.join(found.names_)}): on halves of the "
            f"customers they agree to {agree:.2f} (adjusted "
            f"Rand index by their number: {tried}); shares of categories vary "
            f"{found.dispersion_:.2f} times as much as by chance"
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Weigh the tastes in each customer's lines."""
        ids, found = moment.base.customer_id, self.segments
        why = None if found is not None else self.why
        if "category" not in moment.table("transactions").columns:
            why = NO_CATEGORY
        if found is None or why is not None:
            moment.leave_out("taste_segment", str(why))
            return pd.DataFrame(index=ids)
        tastes = moment.assign_by_lines(self.name, found.categories_, found.assign)
        return tastes.reindex(ids).to_frame("taste_segment")


NO_CATEGORY = "needs the column `category` of the table `transactions`"


def learn_tastes(tables: Tables, cutoff: pd.Timestamp, own_seller: str | None) -> TasteSegment:
    """Learn the tastes of the customers before a cutoff, or say why there are none.

    Parameters
    ----------
    tables : Tables
        With ``transactions``.
    cutoff : Timestamp
        Exclusive.
    own_seller : str or None
        See :func:`crmml.features.snapshot.build_snapshot`.
    """
    if "category" not in tables.transactions.columns:
        return TasteSegment(None, NO_CATEGORY)
    try:
        lines = count_categories(tables, cutoff, own_seller)
        return TasteSegment(TasteSegments().fit(lines), "")
    except TooLittleDataError as reason:
        return TasteSegment(None, str(reason))
