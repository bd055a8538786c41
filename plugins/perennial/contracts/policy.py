"""The models of config/policy.yml, and the parts of a campaign card that the policy judges by."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from perennial.core.settings import Frozen, known_zone

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Channel = Literal["email", "sms", "call", "account_manager"]
Nature = Literal["informational", "bonus", "emotional"]
NATURES: tuple[Nature, ...] = ("informational", "bonus", "emotional")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Zone = Annotated[str, AfterValidator(known_zone)]
# Text: YAML reads 21:00 without quotes as a number.
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Arms of a campaign that are not a card's to name.
_MONTH_AND_DAY = 5  # characters
CONTROL, HOLD_OUT = "control", "hold_out"


class ChannelPolicy(Frozen):
    """One channel: what a contact costs, whether consent is needed and how old it must be, what address it needs.

    `capacity_per_day`: contacts that the channel can carry in a day, such as the calls of a call centre.
    """

    cost: Money
    consent: Literal["required", "not_required"] = "required"
    address: Literal["email", "phone", "none"]
    min_consent_days: Count = 0  # full days since it was given, not broken by a withdrawal
    capacity_per_day: Count | None = None


class Cap(Frozen):
    """At most `contacts` in any `days` consecutive days, today included, by anyone (L10).

    It counts all contacts, or those of one channel, nature or purpose; what others sent has no nature or purpose that
    we know, and counts in each. With `segment` it holds for that segment's clients alone, such as those who no longer
    open e-mail.
    """

    contacts: Count
    days: Annotated[int, Field(ge=1, le=730)]
    channel: Channel | None = None  # None: all channels together
    nature: Nature | None = None
    purpose: Slug | None = None
    segment: Slug | None = None


class Gap(Frozen):
    """So many days must lie between a contact by `after` and one by `before`: each a campaign's id or a nature."""

    after: Slug
    before: Slug
    days: Annotated[int, Field(ge=1, le=730)]


class QuietHours(Frozen):
    """The hours of the client's own clock in which nobody is contacted; they may run over midnight."""

    starts: Clock
    ends: Clock

    @model_validator(mode="after")
    def _leaves_some(self) -> QuietHours:
        if self.starts == self.ends:
            raise ValueError("the quiet hours are the whole day; write two different times")
        return self


class Holiday(Frozen):
    """A day on which nobody is contacted: a date, or the day of every year as MM-DD; in these countries, or all."""

    on: date | str
    name: str
    countries: tuple[Country, ...] = ()

    @model_validator(mode="after")
    def _is_a_day(self) -> Holiday:
        if isinstance(self.on, str):
            try:
                date.fromisoformat(self.on if len(self.on) > _MONTH_AND_DAY else f"2000-{self.on}")
            except ValueError:
                raise ValueError(f"{self.on!r} is no day; write it as 12-25 or 2017-12-25") from None
        return self

    def falls_on(self, day: date) -> bool:
        """Whether the holiday is on that day."""
        return str(self.on) in (day.isoformat(), day.strftime("%m-%d"))


class Quiet(Frozen):
    """When nobody is contacted, by the client's own calendar and clock: her country's zone, else the company's.

    `channels` empty: all that need an address. Essential purposes are quiet only in the hours.
    """

    weekdays: tuple[Weekday, ...] = ()
    holidays: tuple[Holiday, ...] = ()
    hours: QuietHours | None = None
    zones: dict[Country, Zone] = Field(default_factory=dict)
    channels: tuple[Channel, ...] = ()


class OpenCase(Frozen):
    """No contact while the client has an open case: an interaction of `kinds` that none of `closed_by` followed.

    Cases older than `forget_days` are no longer open, for not every source reports an end.
    """

    rule: Slug
    kinds: Annotated[tuple[str, ...], Field(min_length=1)]
    closed_by: tuple[str, ...] = ()
    forget_days: Annotated[int, Field(ge=1, le=3660)] = 30


OPEN_CASES = (
    OpenCase(
        rule="open_complaint",
        kinds=("complaint",),
        closed_by=("complaint_closed", "complaint_resolved", "resolved"),
        forget_days=90,
    ),
    OpenCase(rule="open_ticket", kinds=("ticket",), closed_by=("ticket_closed", "ticket_resolved", "resolved")),
)


class Accounts(Frozen):
    """Of the contact persons of one company one is contacted within so many days, the first by role.

    `roles`: in order of preference; a role that is not named comes last.
    """

    days: Annotated[int, Field(ge=1, le=730)]
    roles: tuple[str, ...] = ()


class Essential(Frozen):
    """Purposes that nobody is to be starved of, such as service: they get contacts and budgets before all others.

    `first`: they count in the caps like any contact. `exempt`: caps that do not name their purpose neither hold them
    back nor count them; gaps, minimum values, quiet days and hold-outs do not hold them back either way.
    """

    purposes: tuple[Slug, ...] = ()
    treatment: Literal["first", "exempt"] = "first"


class DayBudget(Frozen):
    """What a day may cost in all, in the company's currency and in contacts."""

    money: Money | None = None
    contacts: Count | None = None


class HoldOut(Frozen):
    """The share of clients who get no campaign at all, so that the whole of marketing can be measured.

    Drawn by salted hash (L8), anew for another `since`; a draw that was made stays while `since` does.
    """

    share: Annotated[float, Field(gt=0, lt=0.5)]
    since: date


class PolicyFile(Frozen):
    """config/policy.yml."""

    version: Literal[1]
    channels: dict[Channel, ChannelPolicy]
    caps: tuple[Cap, ...]
    gaps: tuple[Gap, ...] = ()
    quiet: Quiet = Quiet()
    open_cases: tuple[OpenCase, ...] = OPEN_CASES
    accounts: Accounts | None = None
    min_age_years: Annotated[int, Field(ge=1, le=99)] | None = None  # a known lower age refuses
    essential: Essential = Essential()
    day_budget: DayBudget = DayBudget()
    hold_out: HoldOut | None = None
    minimum_expected_value: float = 0.0
    max_list_growth: Annotated[float, Field(gt=0)] = 3.0  # L11: times the list of the campaign's last day
    growth_counts_from: Count = 20  # a smaller last list counts as so many: 1, then 4 is chance
    max_list_shrink: Share = 0.7  # L11: share by which an audience may shrink in a day

    def is_essential(self, purpose: str) -> bool:
        """Whether clients must not be starved of messages of the purpose."""
        return purpose in self.essential.purposes

    def is_exempt(self, purpose: str) -> bool:
        """Whether messages of the purpose are outside the caps that do not name it."""
        return self.is_essential(purpose) and self.essential.treatment == "exempt"


class Budget(Frozen):
    """What a campaign may cost over its whole term and in a day, and how many contacts it has over the term.

    In the company's currency; a contact costs its channel's cost and the offer's cost times the expected effect.
    """

    money: Money | None = None
    money_per_day: Money | None = None
    contacts: Count | None = None


class Arm(Frozen):
    """One of several versions of a campaign; `share` is of those who are not in the control group."""

    id: Slug
    share: Annotated[float, Field(gt=0, le=1)]
    message: str | None = None  # another than the card's


class Pilot(Frozen):
    """The campaign begins with a share of its clients; the others wait for the verdict of the gate.

    The gate rolls out once the whole interval of the measured effect (margin per client against control) is at or
    above `minimum_effect`, stops once it is below, and goes on otherwise, at the longest `max_days` (then it stops).
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    minimum_effect: float = 0.0
    max_days: Annotated[int, Field(ge=1, le=730)] = 56


class Exclusivity(Frozen):
    """Of the campaigns of one group a client gets one within so many days, such as one price offer a fortnight."""

    group: Slug
    days: Annotated[int, Field(ge=1, le=730)]
