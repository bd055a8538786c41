"""Is a card due on a day, and for whom: term, week days, anniversaries (29 February included)."""

from __future__ import annotations

from datetime import date, timedelta

from perennial.contracts.targeting import Campaign
from perennial.core.sqltext import identifier
from perennial.targeting.session import Binder

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
    return None


def anniversary_sql(card: Campaign, as_of: date, binder: Binder) -> str | None:
    """A condition on the client's date: its anniversary is today, or was in the card's window. None for other cards.

    The date itself is no anniversary. 29 February falls on 28 February in common years.
    """
    column = card.schedule.anniversary_of
    if column is None:
        return None
    name = identifier(column)
    days = (as_of - timedelta(days=back) for back in range(card.schedule.window_days + 1))
    terms = []
    for day in days:
        month_days = [day.month * 100 + day.day, *([229] if _stands_for_leap_day(day) else [])]
        choices = ", ".join(binder.bind(month_day, "bigint") for month_day in month_days)
        year = binder.bind(day.year, "bigint")
        terms.append(
            f"((extract(month from {name}) * 100 + extract(day from {name})) in ({choices}) "
            f"and extract(year from {name}) < {year})"
        )
    return "(" + " or ".join(terms) + ")"


def cool_down_days(card: Campaign) -> int:
    """The card's cool-down; never shorter than the window of its anniversary, which is one occasion."""
    return max(card.cool_down_days, card.schedule.window_days + 1 if card.schedule.anniversary_of else 0)


def _stands_for_leap_day(day: date) -> bool:
    leap = day.year % 4 == 0 and (day.year % 100 != 0 or day.year % 400 == 0)
    return (day.month, day.day) == (2, 28) and not leap
