"""What a card's schedule, series and merge fields must hold beyond the shape of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from perennial.contracts.schedules import Series
from perennial.contracts.targeting import Campaign
from perennial.core.errors import Problem
from perennial.targeting.catalogue import Catalogue, nearest
from perennial.targeting.cron import mistake_in

Where = Callable[..., str]


def schedule_problems(card: Campaign, where: Where) -> Iterator[Problem]:
    """Days without a date that they count from, and cron expressions that never fire."""
    schedule = card.schedule
    if schedule.anniversary_of is None:
        for name in ("window_days", "days_before"):
            if getattr(schedule, name):
                message, fix = "without an anniversary", f"add anniversary_of, or remove {name}"
                what = "a window" if name == "window_days" else "days before"
                yield Problem(where("schedule", name), f"{what} {message}", fix)
    if schedule.cron is not None:
        mistake = mistake_in(schedule.cron)
        if mistake:
            fix = "write minute, hour, day, month and week day, as in '0 10 1 * *'"
            yield Problem(where("schedule", "cron"), mistake, fix)


def series_problems(card: Campaign, where: Where) -> Iterator[Problem]:
    """A series beside what cannot be together with one, and steps in channels that the card has not."""
    if card.series is None:
        if card.re_entry_days is not None:
            fix = "use cool_down_days, or add a series"
            yield Problem(where("re_entry_days"), "the card has no series to come in to again", fix)
        return
    if card.list_type == "audience":
        yield Problem(where("series"), "an audience list has no steps", "use list_type: send")
    if card.cool_down_days:
        fix = "remove it: after_days keeps the steps apart, re_entry_days one pass from the next"
        yield Problem(where("cool_down_days"), "a cool-down would hold back the next step of the series", fix)
    for index, arm in enumerate(card.arms):
        if arm.message is not None:
            fix = "remove the arm's message, or make a card with a series for each"
            yield Problem(where("arms", index, "message"), "each step of the series has a message already", fix)
    yield from _channel_problems(card, card.series, where)


def _channel_problems(card: Campaign, series: Series, where: Where) -> Iterator[Problem]:
    for place, step in enumerate(series.steps):
        for index, channel in enumerate(step.channels or ()):
            if channel not in card.channels:
                fix = f"add it to the card's channels, or use one of {', '.join(card.channels)}"
                at = where("series", "steps", place, "channels", index)
                yield Problem(at, f"the card has no channel {channel!r}", fix)


def default_problems(card: Campaign, where: Where, catalogue: Catalogue | None) -> Iterator[Problem]:
    """Defaults of fields that the card does not merge, or of another kind than the field."""
    for name, value in card.merge_defaults.items():
        place = where("merge_defaults", name)
        if name not in card.merge_fields:
            fix = nearest(name, card.merge_fields) or "add it to merge_fields, or remove the default"
            yield Problem(place, f"the card has no merge field {name!r}", fix)
        elif catalogue is not None and name in catalogue:
            is_number = not isinstance(value, str)
            kind = catalogue[name].kind
            if kind not in ("number", "text"):
                yield Problem(place, f"{name} is a {kind}, and only texts and numbers have defaults", "remove it")
            elif is_number != (kind == "number"):
                fix = "write a number without quotes" if kind == "number" else "write it in quotes"
                yield Problem(place, f"{name} is a {kind}, but its default is {value!r}", fix)
