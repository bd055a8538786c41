"""When a campaign card picks clients, and the series of messages that it may send them: `schedule` and `series`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from perennial.contracts.policy import Channel, Clock, Money, Slug, Weekday
from perennial.core.settings import Frozen

Days = Annotated[int, Field(ge=0, le=3660)]
Cron = Annotated[str, Field(pattern=r"^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$", max_length=120)]
_MAX_STEPS = 20


class Offer(Frozen):
    """What the client is offered.

    `kind` says what it is, so that clashes are seen: two prices in one week, a contest beside a contest; left out, a
    bonus that costs something is a price. `cost` is the company's cost of one redemption and `value` what one is worth
    to the client, in the company's currency; `product` is what it is for. It ends `valid_days` after the day of the
    list.
    """

    text: str
    kind: Literal["none", "price", "gift", "points", "contest", "event"] | None = None
    cost: Money = 0.0
    value: Money | None = None
    product: str | None = None
    code: str | None = None
    code_scheme: Literal["fixed", "personal"] = "fixed"
    valid_days: Annotated[int, Field(ge=1)] | None = None

    @field_validator("code_scheme")
    @classmethod
    def _is_fixed(cls, scheme: str) -> str:
        if scheme == "personal":
            raise ValueError("codes of one's own for each client are not made yet; use fixed, with one code for all")
        return scheme


class Event(Frozen):
    """What must have happened to a client (or be ahead of her) on the day.

    `name`: a date of the client in the catalogue (`first_order_on`), a stage of life that she came into (`at_risk`), or
    a segment that she entered. Due `delay_days` after it, or `days_before` it for a date that is ahead, and within so
    many days more for those whose day the campaign or the client was not free on.
    """

    name: Slug
    delay_days: Days = 0
    within_days: Annotated[int, Field(ge=0, le=365)] = 0
    days_before: Annotated[int, Field(ge=1, le=3660)] | None = None

    @model_validator(mode="after")
    def _looks_one_way(self) -> Event:
        if self.days_before is not None and self.delay_days:
            raise ValueError("delay_days looks back and days_before looks ahead; keep one of the two")
        if self.days_before is not None and self.within_days > self.days_before:
            raise ValueError("within_days reaches past the day of the event; make it days_before at most")
        return self


class Schedule(Frozen):
    """When the campaign may pick clients; the day is the company's business date, the times are its zone's.

    `weekdays`: on these alone. `cron`: five fields; on days on which the expression fires, and from its first time of
    the day on. `anniversary_of`: a date of the client in the catalogue; on its anniversary, or `days_before` it, and
    `window_days` more; 29 February falls on 28 February in common years. `event`: so long after or before something.
    Nothing is sent before `send_from` or after `send_not_after` of the day (L17).
    """

    weekdays: tuple[Weekday, ...] | None = None
    cron: Cron | None = None
    anniversary_of: Slug | None = None
    window_days: Annotated[int, Field(ge=0, le=31)] = 0
    days_before: Annotated[int, Field(ge=0, le=180)] = 0
    event: Event | None = None
    send_from: Clock | None = None
    send_not_after: Clock | None = None

    @model_validator(mode="after")
    def _says_it_once(self) -> Schedule:
        if self.weekdays == ():
            raise ValueError("no day is named, so the card would never be due; name one, or remove weekdays")
        if self.weekdays is not None and self.cron is not None:
            raise ValueError("weekdays and cron both say on which days; keep one: '0 10 * * mon' is 10:00 on Mondays")
        if self.anniversary_of is not None and self.event is not None:
            raise ValueError("anniversary_of and event are two occasions; make two cards of them")
        if self.cron is not None and self.send_from is not None:
            raise ValueError("cron has the time of day already; remove send_from")
        if self.send_from is not None and self.send_not_after is not None and self.send_from >= self.send_not_after:
            raise ValueError(f"nothing can be sent from {self.send_from} and not after {self.send_not_after}")
        return self

    @property
    def has_occasion(self) -> bool:
        """Whether it depends on the client on which day she is picked."""
        return self.anniversary_of is not None or self.event is not None


class Step(Frozen):
    """One message of a series: `after_days` after the former step was sent (of control: was planned).

    `offer` and `channels` in the card's place (its channels at most). A client whom `when` does not hold for waits at
    this step until it does.
    """

    id: Slug
    after_days: Days = 0
    message: str
    offer: Offer | None = None
    channels: tuple[Channel, ...] | None = None
    when: str | None = None


class Series(Frozen):
    """Several messages to one client, one after the other. She comes in by the card's audience and occasion.

    She leaves for good when `exit_when` (a rule in the segments' language) holds on a day on which the card is planned,
    when she withdraws consent, after the last step, or when a step could not be sent within `lapse_days` after it was
    due. The card's `re_entry_days` says when she may come in again.
    """

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=_MAX_STEPS)]
    exit_when: str | None = None
    lapse_days: Annotated[int, Field(ge=1, le=730)] = 60

    @field_validator("steps")
    @classmethod
    def _are_distinct(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        names = [step.id for step in steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the step {twice[0]!r} stands twice; give it another id")
        silent = next((step.id for step in steps if step.channels == ()), None)
        if silent:
            raise ValueError(f"the step {silent!r} has no channel; name one, or remove its channels")
        if steps[0].after_days:
            raise ValueError("the first step has no former one; use schedule.event.delay_days, or after_days: 0")
        if any(step.after_days == 0 for step in steps[1:]):
            raise ValueError("a further step needs after_days of 1 or more")
        return steps


Approval = Literal["none", "required", "over_limits"]
DefaultValue = str | int | float
MergeDefaults = dict[str, DefaultValue]
