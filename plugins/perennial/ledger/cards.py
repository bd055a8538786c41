"""Model cards: one row per training that came to an end, never changed by us afterwards.

Which model a day is scored with is derived: the newest champion trained at or before the day. So a past day that is run
again never meets a model that knows more than the day did, and needs no status of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.tables import model_cards

CardStatus = Literal["champion", "refused", "retired"]


@dataclass(frozen=True)
class StoredCard:
    """A card as the ledger has it. `artefact` (relative to the home folder) is the card if no model was made."""

    model_version: str
    score: str
    trained_as_of: date
    status: CardStatus
    artefact: str
    card: dict[str, Any]


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
    """The cards of the score trained at or before `as_of`, newest first."""
    query = (
        sa.select(model_cards)
        .where(model_cards.c.score == score, model_cards.c.trained_as_of <= as_of)
        .order_by(
            model_cards.c.trained_as_of.desc(), model_cards.c.recorded_at.desc(), model_cards.c.model_version.desc()
        )
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        StoredCard(row.model_version, row.score, row.trained_as_of, row.status, row.artefact, dict(row.card))
        for row in rows
    ]


def champion(cards: list[StoredCard], *, horizon_days: int) -> StoredCard | None:
    """The newest champion for this horizon; a model of another horizon answers another question."""
    return next((c for c in cards if c.status == "champion" and c.card["horizon_days"] == horizon_days), None)


def last_refused(cards: list[StoredCard], *, horizon_days: int) -> StoredCard | None:
    """The newest refused training for this horizon."""
    return next((c for c in cards if c.status == "refused" and c.card["horizon_days"] == horizon_days), None)


def retire(engine: sa.Engine, model_version: str) -> None:
    """Take a model out of use for good: a person's decision; the champion before it follows."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(model_cards).where(model_cards.c.model_version == model_version).values(status="retired")
        )
