"""What people allow: lists that wait for a word, and lists beyond the guards of their size (L11); both expire."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.delivery_tables import approval_answers, approval_requests
from perennial.ledger.tables import approvals, lists


@dataclass(frozen=True)
class Approval:
    """One approval: at most so many additions and removals in the list of a campaign and channel on a date."""

    campaign_id: str
    channel: str
    as_of: date
    additions: int
    removals: int
    reason: str
    approved_by: str


def approve(engine: sa.Engine, approval: Approval, *, hours: int) -> datetime:
    """Write an approval down; it ends after so many hours of the operational clock. Gives its end (UTC)."""
    now = clock.now().replace(tzinfo=None)
    expires_at = now + timedelta(hours=hours)
    with engine.begin() as connection:
        connection.execute(sa.insert(approvals).values(**approval.__dict__, approved_at=now, expires_at=expires_at))
    return expires_at


def approval_of(engine: sa.Engine, campaign_id: str, channel: str, as_of: date) -> Approval | None:
    """The newest approval of the list that has not expired, or None."""
    now = clock.now().replace(tzinfo=None)
    a = approvals.c
    columns = [a[name] for name in Approval.__dataclass_fields__]
    query = (
        sa.select(*columns)
        .where(a.campaign_id == campaign_id, a.channel == channel, a.as_of == as_of, a.expires_at > now)
        .order_by(a.approval_id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    return Approval(**row) if row else None


@dataclass(frozen=True)
class Question:
    """A list that waits for a person. `why`: new_destination, card, over_limits; `view` has no personal data."""

    campaign_id: str
    channel: str
    as_of: date
    destination: str
    why: tuple[str, ...]
    view: dict[str, Any]
    asked_at: datetime
    expires_at: datetime

    @property
    def is_expired(self) -> bool:
        """Whether nobody answered in time."""
        return _now() >= self.expires_at


@dataclass(frozen=True)
class Answer:
    """What a person said of a list, with what was in view. `at_most`: changes; what grew on since waits again."""

    campaign_id: str
    channel: str
    as_of: date
    destination: str
    answer: Literal["approved", "refused"]
    at_most: int
    view: dict[str, Any]
    reason: str
    answered_by: str
    answered_via: Literal["cli", "airflow", "page"]


def ask(engine: sa.Engine, question: Question) -> Question:
    """Write a question down; asked again it keeps its moment and its end, unless it was answered since.

    Then it is a new question: the answer has ended, or the list has outgrown it. Gives it as it stands.
    """
    q = approval_requests.c
    same = sa.and_(q.campaign_id == question.campaign_id, q.channel == question.channel, q.as_of == question.as_of)
    values = {**question.__dict__, "why": list(question.why)}
    with engine.begin() as connection:
        found = connection.execute(sa.select(q.asked_at, q.expires_at).where(same)).first()
        if found is None:
            connection.execute(sa.insert(approval_requests).values(**values))
            return question
        if not _is_answered(connection, question, found.asked_at):
            question = replace(question, asked_at=found.asked_at, expires_at=found.expires_at)
        values |= {"asked_at": question.asked_at, "expires_at": question.expires_at}
        connection.execute(sa.update(approval_requests).where(same).values(**values))
    return question


def _is_answered(connection: sa.Connection, question: Question, asked_at: datetime) -> bool:
    a = approval_answers.c
    same = sa.and_(a.campaign_id == question.campaign_id, a.channel == question.channel, a.as_of == question.as_of)
    query = sa.select(sa.literal(1)).where(same, a.answered_at >= asked_at).limit(1)
    return connection.execute(query).first() is not None


def questions(engine: sa.Engine, *, as_of: date | None = None) -> list[Question]:
    """Every question without an answer given after it, the oldest first; expired ones too."""
    q, a = approval_requests.c, approval_answers.c
    answered = (
        sa.exists()
        .where(a.campaign_id == q.campaign_id, a.channel == q.channel, a.as_of == q.as_of, a.answered_at >= q.asked_at)
        .correlate(approval_requests)
    )
    query = sa.select(approval_requests).where(~answered).order_by(q.asked_at, q.campaign_id, q.channel)
    if as_of is not None:
        query = query.where(q.as_of == as_of)
    with engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    return [Question(**{**row, "why": tuple(row["why"])}) for row in rows]


def answer(engine: sa.Engine, given: Answer, *, hours: int) -> datetime:
    """Write an answer down; an approval ends after so many hours. Gives its end (UTC)."""
    now = _now()
    expires_at = now + timedelta(hours=hours)
    values = {**given.__dict__, "answered_at": now, "expires_at": expires_at}
    with engine.begin() as connection:
        connection.execute(sa.insert(approval_answers).values(**values))
    return expires_at


def answer_of(engine: sa.Engine, campaign_id: str, channel: str, as_of: date) -> Answer | None:
    """The newest answer about a list; an approval that has ended is none."""
    a = approval_answers.c
    columns = [a[name] for name in Answer.__dataclass_fields__]
    query = (
        sa.select(*columns, a.expires_at)
        .where(a.campaign_id == campaign_id, a.channel == channel, a.as_of == as_of)
        .order_by(a.answer_id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    if row is None or (row["answer"] == "approved" and row["expires_at"] <= _now()):
        return None
    return Answer(**{name: row[name] for name in Answer.__dataclass_fields__})


def answers(engine: sa.Engine, as_of: date) -> list[dict[str, Any]]:
    """Who said what of the lists of a date, and when."""
    query = sa.select(approval_answers).where(approval_answers.c.as_of == as_of)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(approval_answers.c.answer_id)).mappings()]


def is_known(engine: sa.Engine, destination: str) -> bool:
    """Whether something was delivered to the destination, or a person has approved a list for it."""
    delivered = sa.select(sa.literal(1)).where(lists.c.destination == destination, lists.c.sent > 0)
    approved = sa.select(sa.literal(1)).where(
        approval_answers.c.destination == destination, approval_answers.c.answer == "approved"
    )
    with engine.connect() as connection:
        return any(connection.execute(query.limit(1)).first() for query in (delivered, approved))


def _now() -> datetime:
    return clock.now().replace(tzinfo=None)
