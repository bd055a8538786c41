"""The models of config/segments and config/campaigns."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from perennial.contracts.policy import Arm, Budget, Channel, Clock, Exclusivity, Money, Nature, Pilot, Share, Slug
from perennial.contracts.schedules import Approval, MergeDefaults, Offer, Schedule, Series
from perennial.core.settings import Frozen

__all__ = [
    "Campaign",
    "ExpectedValue",
    "Offer",
    "Outcome",
    "Schedule",
    "Segment",
    "SegmentsFile",
    "Series",
]
Outcome = Literal["target", "control", "refused"]


class Segment(Frozen):
    """A readable rule over published metrics, scores and other segments."""

    id: Slug
    description: str
    where: str


class SegmentsFile(Frozen):
    """config/segments/*.yml."""

    version: Literal[1]
    segments: tuple[Segment, ...]


class ExpectedValue(Frozen):
    """Expected margin of one contact = basis x effect x margin_share - contact cost - offer cost x effect.

    Without randomised history the effect is a prior, and the card says so (`prior_source`); with it the effect is the
    client's own score `response_<campaign>`: the difference that a contact makes to the probability of success.
    """

    basis: Literal["value_90d", "churn_risk_x_value_90d", "revenue_365d_daily_x_90", "amount"]
    amount: Money | None = None  # what a success is worth, for clients of whom no score is known yet, such as leads
    prior_effect: Share
    prior_source: str
    margin_share: Share = 0.25
    use_measured: bool = True  # the score response_<campaign>, where the day has it, in the prior's place

    @model_validator(mode="after")
    def _amount_goes_with_its_basis(self) -> ExpectedValue:
        if (self.basis == "amount") != (self.amount is not None):
            raise ValueError("basis: amount and amount go together; write both, or neither")
        return self


class Campaign(Frozen):
    """A campaign card: goal, audience, offer, message, channel, schedule, budget and how success is judged."""

    version: Literal[1]
    id: Slug
    name: str
    owner: str
    goal: str
    kind: Literal["acquisition", "development", "retention", "win_back"]
    nature: Nature
    audience: str  # a rule in the segments' language; usually one segment's name
    list_type: Literal["send", "audience"] = "send"
    purpose: Slug = "marketing"
    channels: tuple[Channel, ...]  # in order of preference: the first that the client may be reached by
    message: str
    merge_fields: tuple[str, ...] = ()  # published metrics and `first_name`, `next_product`, `offer_code`
    # What is proposed: the best of a kind of client_next_products, or a department. Without the day's table cross_sell
    # falls back to the department.
    next_product: Literal["none", "department_not_yet_bought", "repeat", "cross_sell", "up_sell"] = "none"
    never_propose: tuple[str, ...] = ()  # departments that are not offered as the next product
    merge_defaults: MergeDefaults = Field(default_factory=dict)  # for a merge field that the client has no value of
    offer: Offer
    schedule: Schedule = Schedule()
    series: Series | None = None
    re_entry_days: Annotated[int, Field(ge=1, le=3660)] | None = None  # after a series ended; without it never again
    starts_on: date | None = None
    ends_on: date | None = None
    priority: Annotated[int, Field(ge=1, le=100)] = 50  # 1 is first, among equal expected values
    cool_down_days: Annotated[int, Field(ge=0)] = 0  # not again from this campaign within so many days
    max_contacts_per_day: Annotated[int, Field(ge=0)] | None = None
    budget: Budget = Budget()
    exclusivity: Exclusivity | None = None
    control_share: Share = 0.1
    arms: tuple[Arm, ...] = ()  # versions of the campaign among those who are not in control; their shares add up to 1
    pilot: Pilot | None = None
    approval: Approval = "over_limits"  # whether a person lets the list go: never, always, or beyond the limits (L11)
    expected_value: ExpectedValue
    success_metric: str
    success_window_days: Annotated[int, Field(ge=1)]

    @property
    def send_not_after(self) -> Clock | None:
        """The time of the business day after which nothing of the card is sent (L17)."""
        return self.schedule.send_not_after

    @field_validator("ends_on")
    @classmethod
    def _term_is_in_order(cls, ends_on: date | None, info: ValidationInfo) -> date | None:
        starts_on = info.data.get("starts_on")
        if starts_on and ends_on and ends_on < starts_on:
            raise ValueError(f"ends_on {ends_on} is before starts_on {starts_on}; correct one of the two")
        return ends_on

    @field_validator("channels")
    @classmethod
    def _has_a_channel(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if not channels:
            raise ValueError("the card has no channel; name at least one channel, as in [email]")
        return channels
