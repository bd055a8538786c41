"""Why one client is in a segment or audience, or is not: the rule's terms one by one, with the values they met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perennial.contracts.targeting import Campaign
from perennial.targeting.config import Targeting
from perennial.targeting.flags import AUDIENCE, OCCASION, flags_of
from perennial.targeting.membership import episodes_of
from perennial.targeting.next_product import choose_products, reason
from perennial.targeting.notes import sentence
from perennial.targeting.planning import register_cards
from perennial.targeting.scan import Known, bits
from perennial.targeting.schedule import not_due
from perennial.targeting.session import Session, make_table
from perennial.targeting.why import terms_of

Told = dict[str, Any]
_NO_OUTCOME = {"outcome": "no candidate"}


def explain_segments(session: Session, targeting: Targeting, known: Known, client_id: str) -> list[Told]:
    """Each segment, whether the client is in it and since when, her earlier times in it, and the rule's terms."""
    rules = {segment.id: segment.where for segment in targeting.segments}
    terms = terms_of(session, targeting, known, rules, [client_id])[client_id]
    is_in = _memberships(session, targeting, client_id)
    since, earlier = episodes_of(session, known, client_id)
    return [
        {
            "segment": name,
            "in": is_in[name],
            "since": since.get(name) if is_in[name] else None,
            "earlier": earlier.get(name, []),
            "terms": terms[name],
        }
        for name in rules
    ]


def explain_campaigns(
    session: Session, targeting: Targeting, known: Known, client_id: str, outcomes: Mapping[str, Told] | None
) -> list[Told]:
    """Each card: the client's outcome of the day and its rule, or why the client was no candidate.

    `outcomes` None: the day has not been planned.
    """
    row = _row(session, client_id)
    reasons = _product_reasons(session, targeting, known, client_id)
    audiences = {card.id: card.audience for card in targeting.campaigns}
    terms = terms_of(session, targeting, known, audiences, [client_id])[client_id]
    told = []
    for card in targeting.campaigns:
        found = (
            _no_candidate(targeting, card, known, row)
            if outcomes is not None
            else {**_NO_OUTCOME, "rule": "not_planned"}
        )
        found = (outcomes or {}).get(card.id, found)
        told.append(
            {
                "campaign": card.id,
                "name": card.name,
                "in": found["outcome"] == "target",
                **found,
                "why": found.get("why") or sentence(found["rule"]),
                "next_product_reason": reasons.get(card.id),
                "audience": terms[card.id],
            }
        )
    return told


def _row(session: Session, client_id: str) -> Told:
    rows: list[Told] = session.query("select * from t_clients where client_id = $id", {"id": client_id}).to_pylist()
    return rows[0]


def _memberships(session: Session, targeting: Targeting, client_id: str) -> dict[str, bool]:
    row = _row(session, client_id)
    return {name: bool(row[f"m{word}"] >> bit & 1) for name, (word, bit) in bits(targeting).items()}


def _no_candidate(targeting: Targeting, card: Campaign, known: Known, row: Told) -> Told:
    reason_why = not_due(card, known.as_of)
    if reason_why:
        return {**_NO_OUTCOME, "rule": "not_due", "why": reason_why}
    flags = flags_of(targeting, targeting.campaigns)
    if not flags.holds(row, card.id, OCCASION):
        return {**_NO_OUTCOME, "rule": "not_anniversary" if card.schedule.anniversary_of else "no_event"}
    # The day's plan knows no such pair: when the audience holds now, the rules are not those of the plan.
    return {**_NO_OUTCOME, "rule": "config_changed" if flags.holds(row, card.id, AUDIENCE) else "not_in_audience"}


def _product_reasons(session: Session, targeting: Targeting, known: Known, client_id: str) -> dict[str, str]:
    """Why each card proposes what it proposes to this client, computed as the plan computes it."""
    proposing = tuple(card for card in targeting.campaigns if card.next_product != "none")
    register_cards(session, proposing, {card.id: () for card in proposing})
    make_table(
        session, "t_candidates", "select campaign_id, cast($id as varchar) as client_id from p_cards", {"id": client_id}
    )
    choose_products(session, known.tables, known.as_of)
    return {row["campaign_id"]: reason(row) for row in session.query("select * from t_next").to_pylist()}
