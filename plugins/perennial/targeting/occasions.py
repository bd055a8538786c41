"""What a card asks of a client beside its audience, as rules: her occasion, the end of a series, what a step waits for.

An occasion (anniversary, event) is written in the segments' language or beside it as a rule of its own, so that the
scan reads its columns, `explain` can test it, and it means the same on both engines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from perennial.contracts.schedules import Event, Schedule
from perennial.contracts.targeting import Campaign
from perennial.core.errors import ConfigError, Problem
from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import LIFECYCLE_STAGES, Catalogue, nearest
from perennial.targeting.rules import Rule, compile_rule
from perennial.targeting.session import Binder
from perennial.targeting.terms import AS_OF

Where = Callable[..., str]


@dataclass(frozen=True)
class CardRules:
    """The compiled rules of a card beside its audience; `whens` by the id of the step."""

    occasion: Rule | None = None
    exit_when: Rule | None = None
    whens: Mapping[str, Rule] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Rule]:
        yield from (rule for rule in (self.occasion, self.exit_when) if rule is not None)
        yield from self.whens.values()


@dataclass(frozen=True)
class Names:
    """What the rules of cards may name, and where mistakes go."""

    catalogue: Catalogue | None
    segments: Collection[str]
    problems: list[Problem]

    def compiled(self, text: str | None, where: str, prefix: str) -> Rule | None:
        """The rule, or None when there is none or it is wrong."""
        if text is None:
            return None
        try:
            return compile_rule(text, catalogue=self.catalogue, segments=self.segments, where=where, prefix=prefix)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None


def card_rules(card: Campaign, where: Where, names: Names, number: int) -> CardRules:
    """Compile what the card's schedule and series say; `where(*keys)` is file:line:field, `number` the card's own."""
    series = card.series
    whens = {}
    for place, step in enumerate(series.steps if series else ()):
        rule = names.compiled(step.when, where("series", "steps", place, "when"), f"w{number}s{place}")
        if rule is not None:
            whens[step.id] = rule
    exit_when = series.exit_when if series else None
    return CardRules(
        _occasion(card.schedule, where, names, f"o{number}"),
        names.compiled(exit_when, where("series", "exit_when"), f"x{number}"),
        whens,
    )


def _occasion(schedule: Schedule, where: Where, names: Names, prefix: str) -> Rule | None:
    if schedule.anniversary_of is not None:
        mistake = _no_date(schedule.anniversary_of, names.catalogue)
        if mistake is None:
            return anniversary(schedule, prefix)
        names.problems.append(Problem(where("schedule", "anniversary_of"), *mistake))
    if schedule.event is not None:
        try:
            text = event_text(schedule.event, names)
        except ValueError as error:
            names.problems.append(Problem(where("schedule", "event", "name"), *error.args))
            return None
        return names.compiled(text, where("schedule", "event"), prefix)
    return None


def _no_date(name: str, catalogue: Catalogue | None) -> tuple[str, str] | None:
    if catalogue is None or (name in catalogue and catalogue[name].kind == "date"):
        return None
    dates = sorted(known for known, column in catalogue.items() if column.kind == "date")
    fix = nearest(name, dates) or f"name one of {', '.join(dates)}"
    return (
        f"{name!r} is a {catalogue[name].kind}, no date" if name in catalogue else f"no date is called {name!r}"
    ), fix


def anniversary(schedule: Schedule, prefix: str) -> Rule:
    """Whether an anniversary lies `days_before` days ahead, or up to `window_days` days before that.

    The date itself is no anniversary. An interval of years brings 29 February to the 28th in common years, on both
    engines.
    """
    name = str(schedule.anniversary_of)
    binder = Binder(prefix)
    column = identifier(name)
    ahead = binder.bind(schedule.days_before, "integer")
    day = f"({AS_OF} + {ahead})"
    years = f"cast(extract(year from {day}) - extract(year from {column}) as integer)"
    this, former = (f"cast({column} + {count} * interval '1 year' as date)" for count in (years, f"({years} - 1)"))
    last = f"case when {this} <= {day} then {this} else {former} end"
    within = binder.bind(schedule.window_days, "integer")
    sql = f"(({last}) > {column} and {day} - ({last}) <= {within})"
    text = f"anniversary of {name}"
    return Rule(text, sql, dict(binder.values), frozenset({name}), frozenset(), meaning=text)


def event_text(event: Event, names: Names) -> str:
    """The event as a rule of the segments' language. Raises ValueError(message, fix) for a name that is none."""
    first, last = event.delay_days, event.delay_days + event.within_days
    is_stage, is_segment = event.name in LIFECYCLE_STAGES, event.name in names.segments
    if event.days_before is not None and (is_stage or is_segment):
        raise ValueError(f"nobody knows when a client will be {event.name}", "use delay_days, or name a date")
    if event.days_before is not None:
        first, last = event.days_before - event.within_days, event.days_before
    if is_stage or is_segment:
        call = f"became('{event.name}', %d)" if is_stage else f"entered({event.name}, %d)"
        return call % (last + 1) + (f" and not coalesce({call % first}, false)" if first else "")
    mistake = _no_date(event.name, names.catalogue)
    if mistake:
        known = [*LIFECYCLE_STAGES, *names.segments]
        fix = nearest(event.name, known) or f"{mistake[1]}; or a stage of life ({', '.join(LIFECYCLE_STAGES)})"
        raise ValueError(mistake[0] + ", and no stage of life or segment either", fix)
    function = "days_until" if event.days_before is not None else "days_since"
    return f"{function}({event.name}) between {first} and {last}"
