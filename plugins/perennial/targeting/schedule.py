"""Is a card due on a day, and between which moments may it be sent: term, week days, cron, sending times."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from perennial.contracts.targeting import Campaign
from perennial.targeting.cron import first_time

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def not_due(card: Campaign, as_of: date) -> str | None:
    """Why the card picks nobody on this day (`not scheduled on mon`, `ended on ...`), or None if it is due."""
    if card.starts_on and as_of < card.starts_on:
        return f"starts on {card.starts_on}"
    if card.ends_on and as_of > card.ends_on:
        return f"ended on {card.ends_on}"
    weekday = _WEEKDAYS[as_of.weekday()]
    if card.schedule.weekdays is not None and weekday not in card.schedule.weekdays:
        return f"not scheduled on {weekday}"
    if card.schedule.cron is not None and first_time(card.schedule.cron, as_of) is None:
        return f"not scheduled on {as_of} ({card.schedule.cron})"
    return None


def cool_down_days(card: Campaign) -> int:
    """The card's cool-down; never shorter than the window of its occasion, in which a client is reached once.

    A series has none: its steps keep their own distance.
    """
    if card.series is not None:
        return 0
    window = card.schedule.event.within_days if card.schedule.event else card.schedule.window_days
    return max(card.cool_down_days, window + 1 if card.schedule.has_occasion else 0)


def sending_times(card: Campaign, as_of: date, zone: str) -> tuple[datetime | None, datetime | None]:
    """The moments (UTC, without a zone) before and after which nothing of the card's day is sent (L17).

    Of a wall clock that shows twice (L25) the first moment begins the time and the last one ends it.
    """
    begins, ends = card.schedule.send_from, card.schedule.send_not_after
    first = first_time(card.schedule.cron, as_of) if card.schedule.cron else None
    if begins is not None:
        first = time.fromisoformat(begins)
    last = time.fromisoformat(ends) if ends is not None else None
    return (
        min(_moments(as_of, first, zone)) if first is not None else None,
        max(_moments(as_of, last, zone)) if last is not None else None,
    )


def _moments(day: date, clock: time, zone: str) -> list[datetime]:
    local = datetime.combine(day, clock, ZoneInfo(zone))
    return [local.replace(fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1)]
