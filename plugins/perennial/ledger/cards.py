"""Model cards: one row per training that came to an end, never changed; and what people decided about them.

Which model a day is scored with is derived from the cards and decisions up to the day: the one that became champion
last. So a past day that is run again never meets a model that knows more than the day did, nor a later decision (L2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.tables import model_cards, model_decisions, runs

Decision = Literal["approved", "retired"]

CardStatus = Literal["champion", "challenger", "refused", "retired"]


@dataclass(frozen=True)
class StoredCard:
    """A card as the ledger has it. `artefact` (relative to the home folder) is the card if no model was made.

    `status` holds as of a date: a challenger that was approved is a champion, `since` the first day that knew of it.
    """

    model_version: str
    score: str
    trained_as_of: date
    status: CardStatus
    artefact: str
    card: dict[str, Any]
    since: date | None = None  # None: since its training
    decided: str | None = None  # by whom, and why, if anyone


@dataclass(frozen=True)
class ModelDecision:
    """One decision about a model: append-only."""

    model_version: str
    decision: Decision
    reason: str
    decided_by: str
    known_on: date


def record_card(engine: sa.Engine, stored: StoredCard) -> None:
    """Write the card, unless the ledger has this version: a rerun of the same training changes nothing (L2)."""
    with engine.begin() as connection:
        there = sa.select(model_cards.c.model_version).where(model_cards.c.model_version == stored.model_version)
        if connection.execute(there).first() is None:
            connection.execute(
                sa.insert(model_cards).values(
                    model_version=stored.model_version,
                    score=stored.score,
                    trained_as_of=stored.trained_as_of,
                    status=stored.status,
                    artefact=stored.artefact,
                    card=stored.card,
                    recorded_at=clock.now().replace(tzinfo=None),
                )
            )


def cards_until(engine: sa.Engine, score: str, as_of: date) -> list[StoredCard]:
    """The cards of the score trained at or before `as_of`, newest first, with the status they had on that day."""
    return _cards(engine, as_of, model_cards.c.score == score)


def all_cards(engine: sa.Engine, as_of: date = date.max) -> list[StoredCard]:
    """The cards of all scores, newest first, with the status they had on the day."""
    return _cards(engine, as_of, sa.true())


def _cards(engine: sa.Engine, as_of: date, condition: sa.ColumnElement[bool]) -> list[StoredCard]:
    c = model_cards.c
    query = (
        sa.select(model_cards)
        .where(condition, c.trained_as_of <= as_of)
        .order_by(c.trained_as_of.desc(), c.recorded_at.desc(), c.model_version.desc())
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    decisions = {one.model_version: one for one in decisions_until(engine, as_of)}  # the later one holds
    return [_stored(row, decisions.get(row.model_version)) for row in rows]


def _stored(row: sa.Row[Any], decision: ModelDecision | None) -> StoredCard:
    status, since = row.status, row.trained_as_of
    if decision is not None:
        status = "champion" if decision.decision == "approved" else "retired"
        since = decision.known_on
    return StoredCard(
        model_version=row.model_version,
        score=row.score,
        trained_as_of=row.trained_as_of,
        status=status,
        artefact=row.artefact,
        card=dict(row.card),
        since=None if since == row.trained_as_of else since,
        decided=f"{decision.decision} by {decision.decided_by}: {decision.reason}" if decision else None,
    )


def decisions_until(engine: sa.Engine, as_of: date) -> list[ModelDecision]:
    """What was decided and known by the day, in the order of deciding."""
    d = model_decisions.c
    query = sa.select(model_decisions).where(d.known_on <= as_of).order_by(d.decision_id)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [ModelDecision(r.model_version, r.decision, r.reason, r.decided_by, r.known_on) for r in rows]


def champion(cards: list[StoredCard], *, horizon_days: int) -> StoredCard | None:
    """The one that became champion last, for this horizon; a model of another horizon answers another question."""
    found = [c for c in cards if c.status == "champion" and c.card["horizon_days"] == horizon_days]
    return max(found, key=lambda c: (c.since or c.trained_as_of, c.trained_as_of), default=None)


def last_refused(cards: list[StoredCard], *, horizon_days: int) -> StoredCard | None:
    """The newest refused training for this horizon."""
    return next((c for c in cards if c.status == "refused" and c.card["horizon_days"] == horizon_days), None)


def waiting(cards: list[StoredCard], *, horizon_days: int) -> StoredCard | None:
    """The newest challenger that waits for a person, unless a later training of this horizon is in use."""
    used = champion(cards, horizon_days=horizon_days)
    found = [c for c in cards if c.status == "challenger" and c.card["horizon_days"] == horizon_days]
    return next((c for c in found if used is None or c.trained_as_of > used.trained_as_of), None)


def record_decision(engine: sa.Engine, model_version: str, decision: Decision, *, reason: str, by: str) -> date:
    """Write what a person decided; gives the first business date that knows of it.

    That is the day that is being run, or the day after the newest one when that is done: a day that is done never
    changes by a later decision (L2).
    """
    with engine.begin() as connection:
        newest = sa.select(runs.c.as_of, runs.c.state).order_by(runs.c.as_of.desc(), runs.c.revision.desc())
        run = connection.execute(newest.limit(1)).first()
        known_on = clock.now().date() if run is None else run.as_of + timedelta(days=int(run.state == "done"))
        connection.execute(
            sa.insert(model_decisions).values(
                model_version=model_version,
                decision=decision,
                reason=reason,
                decided_by=by,
                known_on=known_on,
                decided_at=clock.now().replace(tzinfo=None),
            )
        )
    return known_on
