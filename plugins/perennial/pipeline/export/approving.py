"""Lists that wait for a person: which, what she sees of them, and what her answer does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from perennial.core import clock
from perennial.core.sqltext import literal
from perennial.delivery.delta import Delta
from perennial.delivery.outbox import OutboxDestination
from perennial.delivery.protocol import Destination
from perennial.delivery.rows import ROWS, ListSpec
from perennial.ledger import approvals
from perennial.ledger.approvals import Question
from perennial.pipeline.export.opened import OUTCOMES_TABLE, Day

HOURS = 24
_HELD = ("held_growth", "held_shrink")

Answered = Literal["awaits_approval", "not_approved", "approval_expired"]


def ask(day: Day, spec: ListSpec, delta: Delta, destination: Destination) -> Answered | None:
    """Whether the list may go: None yes, else why not. Asks a person where the card or the destination wants it.

    The limits of a list's size (L11) hold back what is beyond them, and that alone: with `over_limits` a person is
    asked about it, while the rest goes.
    """
    if not day.live:
        return None
    engine, key = day.engine, spec.key
    why = why_asked(day, spec, destination) if delta.counts.sent else []
    held = sum(delta.counts.reasons.get(code, 0) for code in _HELD)
    card = day.card(key.campaign_id)
    asks_for_more = held and card is not None and card.approval != "none"
    if not why and not asks_for_more:
        return None
    given = approvals.answer_of(engine, key.campaign_id, key.channel, key.as_of)
    if given is not None and given.answer == "refused":
        return "not_approved" if why else None
    if given is not None and delta.counts.sent + held <= given.at_most:
        return None
    question = approvals.ask(
        engine, _question(day, spec, delta, destination, [*why, *(["over_limits"] if held else [])])
    )
    if not why:
        return None
    return "approval_expired" if question.is_expired else "awaits_approval"


def why_asked(day: Day, spec: ListSpec, destination: Destination) -> list[str]:
    """The codes of why a person must say yes before the list goes; empty: it goes by itself."""
    card = day.card(spec.key.campaign_id)
    found = ["card"] if card is not None and card.approval == "required" else []
    if not isinstance(destination, OutboxDestination) and not approvals.is_known(day.engine, destination.name):
        found.append("new_destination")
    return found


def _question(day: Day, spec: ListSpec, delta: Delta, destination: Destination, why: list[str]) -> Question:
    key, now = spec.key, clock.now().replace(tzinfo=None)
    return Question(
        campaign_id=key.campaign_id,
        channel=key.channel,
        as_of=key.as_of,
        destination=destination.name,
        why=tuple(why),
        view=view_of(day, spec, delta),
        asked_at=now,
        expires_at=now + timedelta(hours=HOURS),
    )


def view_of(day: Day, spec: ListSpec, delta: Delta) -> dict[str, Any]:
    """What a person sees of a list: its sum, its changes, who is not on it and why, cost and forecast; nobody by name.

    `cost` and `expected_value` are of those who would be added, in the company's currency.
    """
    counts = delta.counts
    query = f"""
select
    coalesce(sum(cast(o.cost as decimal(18, 6))), 0) as cost,
    coalesce(sum(cast(o.value as decimal(18, 6))), 0) as expected_value
from {OUTCOMES_TABLE} as o
inner join {ROWS} as r on r.client_id = o.client_id
where o.as_of_date = {spec.day} and o.campaign_id = {literal(spec.key.campaign_id)}
    and o.channel = {literal(spec.key.channel)} and o.outcome = 'target' and r.outcome = 'add'
"""
    [money] = day.published.query(query).to_pylist()
    return {
        "size": counts.size,
        **delta.actions,
        "rejected": counts.rejected,
        "skipped": counts.skipped,
        "held": counts.pending,
        "reasons": counts.reasons,
        "cost": round(float(money["cost"]), 2),
        "expected_value": round(float(money["expected_value"]), 2),
        "currency": day.settings.company.currency,
    }
