"""What the coming days are foreseen from: who could be addressed by each card, and when last they were, as arrays.

All cards are judged as if each were due today and none had been sent, by the plan's own statements, so that value, cost
and channel are those that a plan would find. Of many clients every n-th is taken, and sums are multiplied by n (L26).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from perennial.contracts.schedules import Schedule
from perennial.contracts.targeting import Campaign
from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import LIFECYCLE_STAGES, STAGES, Catalogue, Tables
from perennial.targeting.config import Targeting
from perennial.targeting.facts import DayFacts
from perennial.targeting.history import OUTCOMES_TABLE
from perennial.targeting.needs import MEMBERS
from perennial.targeting.planning import decide
from perennial.targeting.scan import Known, known_of
from perennial.targeting.session import Binder, Session, count

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
SAMPLE_CLIENTS = 20_000
# What refuses for one day only, or because of who was contacted before: in the coming days it may not.
_PASSING = "rule in ('cool_down', 'quiet_day', 'quiet_hours', 'step_not_due') or step in ('allocated', 'assigned')"
_BEGINS = ("cap_", "gap_", "exclusive_")
_STEPS = pa.schema([("campaign_id", pa.string()), ("step_id", pa.string()), ("place", pa.int32())])


@dataclass(frozen=True)
class Pairs:
    """Client and card for each who may be addressed, with what a contact is worth and costs, and its channel.

    `step`: the place of the series' next step, 0 for other cards.
    """

    client: Ints
    card: Ints
    channel: Ints
    step: Ints
    value: Floats
    cost: Floats


@dataclass(frozen=True)
class Outlook:
    """The coming days as arrays. Clients are numbered from 0, days from 0, which is `start`.

    `audience`, `reachable`: by card, of all clients. `occasions`: for a card with a date or an event, the clients of
    each day. `contacts`: (client, card or -1, channel or -1, day below 0) of those who were contacted before. Each
    client stands for `every` of them.
    """

    start: date
    cards: tuple[Campaign, ...]
    clients: int
    every: int
    audience: dict[str, int]
    reachable: dict[str, int]
    pairs: Pairs
    occasions: dict[int, tuple[Ints, ...]]
    contacts: npt.NDArray[np.int32]
    channels: tuple[str, ...]


def look_ahead(
    session: Session, targeting: Targeting, tables: Tables, facts: DayFacts, *, start: date, days: int
) -> Outlook:
    """Everything that `days` days from `start` on are foreseen from. Makes the temporary tables of a plan anew.

    `start` is the facts' day, of which nothing was planned yet, or the day after it, which counts what was.
    """
    always = tuple(_always(card) for card in targeting.campaigns)
    rules = {name: replace(rules, occasion=None) for name, rules in targeting.card_rules.items()}
    today = replace(targeting, campaigns=always, card_rules=rules)
    decide(session, today, tables, replace(facts, kept=facts.kept.slice(0, 0)))
    everyone = count(session, "t_people")
    every = max(1, -(-everyone // SAMPLE_CLIENTS))
    channels = tuple(sorted(targeting.policy.channels))
    sizes = _sizes(session)
    known = known_of(session, tables, facts.as_of, targeting)
    return Outlook(
        start=start,
        cards=targeting.campaigns,
        clients=-(-everyone // every),
        every=every,
        audience={card.id: sizes.get(card.id, (0, 0))[0] for card in targeting.campaigns},
        reachable={card.id: sizes.get(card.id, (0, 0))[1] for card in targeting.campaigns},
        pairs=_pairs(session, targeting.campaigns, channels, every),
        occasions={
            number: _occasions(session, card, known, start=start, days=days, every=every)
            for number, card in enumerate(targeting.campaigns)
            if card.schedule.has_occasion
        },
        contacts=_contacts(session, known, start, every),
        channels=channels,
    )


def _always(card: Campaign) -> Campaign:
    """The card as if it were due today for all of its audience, whatever its limits."""
    free = {"schedule": Schedule(), "starts_on": None, "ends_on": None, "max_contacts_per_day": None, "pilot": None}
    return card.model_copy(update=free)


def _may_be_addressed() -> str:
    begins = " or ".join(f"substr(rule, 1, {len(word)}) = '{word}'" for word in _BEGINS)
    return f"(({_PASSING} or {begins}) and rule <> 'already_in_list')"


def _sizes(session: Session) -> dict[str, tuple[int, int]]:
    """By campaign everyone in the audience, and those who may be addressed."""
    rows = session.query(
        f"select campaign_id, count(*) as n, count(*) filter (where {_may_be_addressed()}) as open "
        "from t_outcomes group by campaign_id"
    ).to_pylist()
    return {row["campaign_id"]: (row["n"], row["open"]) for row in rows}


def _pairs(session: Session, cards: Sequence[Campaign], channels: Sequence[str], every: int) -> Pairs:
    names = pa.array([card.id for card in cards], pa.string())
    numbered = pa.table({"campaign_id": names, "card": pa.array(range(len(cards)), pa.int32())})
    session.register("f_cards", numbered)
    session.register("f_channels", pa.table({"name": list(channels), "no": pa.array(range(len(channels)), pa.int32())}))
    session.register("f_steps", pa.Table.from_pylist(list(_steps(cards)), schema=_STEPS))
    rows = session.query(
        f"select cast(p.client_no / {every} as integer) as client, f.card, h.no as channel, o.value, o.cost, "
        "coalesce(s.place, 0) as step from t_outcomes as o inner join t_people as p on p.client_id = o.client_id "
        "inner join f_cards as f on f.campaign_id = o.campaign_id inner join f_channels as h on h.name = o.channel "
        "left join f_steps as s on s.campaign_id = o.campaign_id and s.step_id = o.series_step "
        f"where mod(p.client_no, {every}) = 0 and o.value is not null and {_may_be_addressed()} order by 1, 2"
    )
    ints = [rows.column(name).to_numpy().astype(np.int32) for name in ("client", "card", "channel", "step")]
    return Pairs(*ints, *(rows.column(name).to_numpy().astype(np.float64) for name in ("value", "cost")))


def _steps(cards: Sequence[Campaign]) -> Iterator[dict[str, object]]:
    for card in cards:
        for place, step in enumerate(card.series.steps if card.series else ()):
            yield {"campaign_id": card.id, "step_id": step.id, "place": place}


def _contacts(session: Session, known: Known, start: date, every: int) -> npt.NDArray[np.int32]:
    """Rows of (client, card or -1, channel or -1, day) of the history that caps and cool-downs look at."""
    past = "select client_id, campaign_id, channel, contacted_on from t_contacts"
    params: dict[str, object] = {}
    if start > known.as_of and OUTCOMES_TABLE in known.tables:
        params["as_of"] = known.as_of
        past += (
            f" union all select client_id, campaign_id, channel, as_of_date from {OUTCOMES_TABLE} where as_of_date = "
            "cast($as_of as date) and outcome <> 'refused' and rule <> 'already_in_list'"
        )
    rows = session.query(
        f"select cast(p.client_no / {every} as integer) as client, coalesce(f.card, -1) as card, "
        f"coalesce(h.no, -1) as channel, c.contacted_on from ({past}) as c "
        "inner join t_people as p on p.client_id = c.client_id "
        "left join f_cards as f on f.campaign_id = c.campaign_id left join f_channels as h on h.name = c.channel "
        f"where mod(p.client_no, {every}) = 0 order by 1, 4, 2, 3",
        params,
    )
    day = rows.column("contacted_on").cast(pa.int32()).to_numpy() - (start - date(1970, 1, 1)).days
    columns = [rows.column(name).to_numpy() for name in ("client", "card", "channel")]
    return np.column_stack([*columns, day]).astype(np.int32).reshape(-1, 4)


def _occasions(
    session: Session, card: Campaign, known: Known, *, start: date, days: int, every: int
) -> tuple[Ints, ...]:
    """The clients of each coming day whom the card's date or event falls on.

    What has not happened yet is not known: for an event that is looked back on, the last days stand for the next.
    """
    binder = Binder("ahead")
    parts = []
    for number in range(days):
        source, condition = _occasion(card, known, start + timedelta(days=number), binder)
        parts.append(f"select {number} as day, client_no from ({source}) as x where {condition}")
    rows = session.query(
        f"select day, cast(client_no / {every} as integer) as client from ({' union all '.join(parts)}) as u "
        f"where mod(client_no, {every}) = 0 order by 1, 2",
        binder.values,
    )
    day, client = rows.column("day").to_numpy(), rows.column("client").to_numpy().astype(np.int32)
    return tuple(client[day == number] for number in range(days))


def _occasion(card: Campaign, known: Known, day: date, binder: Binder) -> tuple[str, str]:
    """Where the client's date stands, and the condition that the occasion begins for her on the day."""
    schedule, catalogue = card.schedule, known.catalogue
    event = schedule.event
    if event is None:
        name = str(schedule.anniversary_of)
        on = binder.bind(day + timedelta(days=schedule.days_before), "date")
        years = f"cast(extract(year from {on}) - extract(year from {identifier(name)}) as integer)"
        turned = f"cast({identifier(name)} + {years} * interval '1 year' as date)"
        return _dated(name, catalogue), f"{years} > 0 and {turned} = {on}"
    if event.days_before is not None:
        on = binder.bind(day + timedelta(days=event.days_before), "date")
        return _dated(event.name, catalogue), f"{identifier(event.name)} = {on}"
    happened = day - timedelta(days=event.delay_days)
    if happened > known.as_of:
        happened = known.as_of - (happened - known.as_of)
    on = binder.bind(happened, "date")
    if event.name in catalogue:
        return _dated(event.name, catalogue), f"{identifier(event.name)} = {on}"
    return _became(event.name, known, on, binder)


def _became(name: str, known: Known, on: str, binder: Binder) -> tuple[str, str]:
    """Who came into a stage of life, or into a segment, on a day."""
    people, what = "inner join t_people as p on p.client_id = e.client_id", binder.bind(name, "varchar")
    if name in LIFECYCLE_STAGES:
        source = f"select p.client_no, e.stage, e.changed_on from {STAGES} as e {people}"
        return source, f"stage = {what} and changed_on = {on}"
    if MEMBERS not in known.tables:
        return "select client_no from t_people", "false"
    source = f"select distinct p.client_no, e.segment, e.entered_at from {MEMBERS} as e {people}"
    return source, f"segment = {what} and entered_at = {on}"


def _dated(column: str, catalogue: Catalogue) -> str:
    name = identifier(column)
    table = catalogue[column].table
    return f"select p.client_no, d.{name} from {table} as d inner join t_people as p on p.client_id = d.client_id"
