"""Where each client stands in a series: told by what was sent and planned before, never by a counter.

A step was taken on the day on which the tool accepted it, or on which it was planned for a client of a control group,
who walks the same path. Which step that was is in the outcomes published for that day. A client's way is over after the
last step, or after a day on which she was refused by one of `ENDS` on a later step than the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from perennial.contracts.schedules import Series
from perennial.contracts.targeting import Campaign
from perennial.targeting.catalogue import ALIASES, Tables
from perennial.targeting.session import Session, count, make_table

OUTCOMES_TABLE = "campaign_outcomes"
# What ends the way of a client who is in the middle of it.
ENDS = ("series_exited", "series_lapsed", "withdrawn", "suppressed")
_STEPS = pa.schema(
    [("campaign_id", pa.string()), ("series_step", pa.string()), ("step_no", pa.int32()), ("is_last", pa.bool_())]
)


@dataclass(frozen=True)
class Stage:
    """One statement's part of a card: of a series one step, with the card as it is on it; else the card itself."""

    card: Campaign
    place: int = 0
    step_id: str | None = None
    after_days: int = 0

    @property
    def series(self) -> Series | None:
        """The series that the stage belongs to."""
        return self.card.series


def stages(card: Campaign) -> Iterator[Stage]:
    """The card's stages, in the order of its steps."""
    if card.series is None:
        yield Stage(card)
        return
    for place, step in enumerate(card.series.steps):
        own = {"offer": step.offer, "channels": step.channels}
        changed = card.model_copy(update={name: value for name, value in own.items() if value is not None})
        yield Stage(changed, place, step.id, step.after_days)


def dearest_offer(card: Campaign) -> float:
    """The greatest cost of an offer that the card may make: what was sent earlier counts as so much at the most."""
    return max(stage.card.offer.cost for stage in stages(card))


def read_paths(session: Session, tables: Tables, cards: Sequence[Campaign], as_of: date) -> None:
    """Make `t_path`: campaign_id, client_id, next_no (null: the way is over), last_on, over_on.

    One row per client who ever took a step of a series among `cards`. Needs `p_taken`.
    """
    in_series = [card for card in cards if card.series is not None]
    session.register("p_steps", pa.Table.from_pylist(list(_steps(in_series)), schema=_STEPS))
    is_known = "series_step" in dict(tables.get(OUTCOMES_TABLE, ()))
    if not in_series or not (is_known or count(session, "p_taken")):
        make_table(session, "t_path", _NOBODY)
        return
    outcomes = _NO_OUTCOMES
    if is_known:
        joined = ALIASES in tables and count(session, ALIASES) > 0
        outcomes = _OUTCOMES.format(
            client="coalesce(a.client_id, o.client_id)" if joined else "o.client_id",
            aliases=f"left join {ALIASES} as a on a.client_ref = o.client_id" if joined else "",
        )
    make_table(session, "t_walked", outcomes, {"as_of": as_of} if is_known else {})
    make_table(session, "t_taken", _TAKEN)
    make_table(session, "t_over", _OVER)
    make_table(session, "t_path", _PATH)


def _steps(cards: Sequence[Campaign]) -> Iterator[dict[str, object]]:
    for card in cards:
        for stage in stages(card):
            is_last = card.series is not None and stage.place == len(card.series.steps) - 1
            yield {
                "campaign_id": card.id,
                "series_step": stage.step_id,
                "step_no": stage.place,
                "is_last": is_last,
            }


_NOBODY = (
    "select cast('' as varchar) as campaign_id, cast('' as varchar) as client_id, cast(0 as integer) as next_no, "
    "cast(null as date) as last_on, cast(null as date) as over_on where false"
)
_NO_OUTCOMES = (
    "select cast('' as varchar) as campaign_id, cast('' as varchar) as client_id, cast(null as date) as as_of_date, "
    "cast('' as varchar) as series_step, cast('' as varchar) as outcome, cast('' as varchar) as rule where false"
)
_OUTCOMES = f"""
select o.campaign_id, {{client}} as client_id, o.as_of_date, o.series_step, o.outcome, o.rule
from {OUTCOMES_TABLE} as o
{{aliases}}
where o.as_of_date < cast($as_of as date) and o.series_step is not null
    and o.campaign_id in (select campaign_id from p_steps)
"""
# Of a step that the card no longer has nobody knows what comes after it: the way is over.
_TAKEN = """
select d.campaign_id, d.client_id, d.taken_on, max(s.step_no) as step_no, coalesce(bool_or(s.is_last), true) as is_end
from (
    select t.campaign_id, t.client_id, t.contacted_on as taken_on, w.series_step
    from p_taken as t
    left join t_walked as w
        on w.campaign_id = t.campaign_id and w.client_id = t.client_id and w.as_of_date = t.contacted_on
    union all
    select campaign_id, client_id, as_of_date, series_step from t_walked where outcome = 'control'
) as d
left join p_steps as s on s.campaign_id = d.campaign_id and s.series_step = d.series_step
group by d.campaign_id, d.client_id, d.taken_on
"""
_OVER = f"""
select campaign_id, client_id, max(over_on) as over_on
from (
    select campaign_id, client_id, taken_on as over_on from t_taken where is_end
    union all
    select w.campaign_id, w.client_id, w.as_of_date
    from t_walked as w
    inner join p_steps as s on s.campaign_id = w.campaign_id and s.series_step = w.series_step
    where w.outcome = 'refused' and s.step_no > 0 and w.rule in ({", ".join(f"'{rule}'" for rule in ENDS)})
) as e
group by campaign_id, client_id
"""
_PATH = """
select
    t.campaign_id,
    t.client_id,
    max(t.step_no) filter (where o.over_on is null or t.taken_on > o.over_on) + 1 as next_no,
    max(t.taken_on) filter (where o.over_on is null or t.taken_on > o.over_on) as last_on,
    max(o.over_on) as over_on
from t_taken as t
left join t_over as o on o.campaign_id = t.campaign_id and o.client_id = t.client_id
group by t.campaign_id, t.client_id
"""
