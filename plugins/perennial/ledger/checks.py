"""The daily watch on scores: one row per day and score, as it was found; a rerun of the day writes it anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.tables import score_checks

CheckVerdict = Literal["passed", "warned", "stopped"]


@dataclass(frozen=True)
class ScoreCheck:
    """What the watch said of a score's model on a day. `figures`: PSI and unseen share by feature, and more."""

    as_of: date
    score: str
    model_version: str
    verdict: CheckVerdict
    sentences: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)


def record_check(engine: sa.Engine, check: ScoreCheck) -> None:
    """Write the check in the place of an earlier one of the same day and score."""
    t = score_checks
    with engine.begin() as connection:
        connection.execute(sa.delete(t).where(t.c.as_of == check.as_of, t.c.score == check.score))
        connection.execute(
            sa.insert(t).values(
                as_of=check.as_of,
                score=check.score,
                model_version=check.model_version,
                verdict=check.verdict,
                sentences=list(check.sentences),
                figures=check.figures,
                recorded_at=clock.now().replace(tzinfo=None),
            )
        )


def newest_checks(engine: sa.Engine) -> list[ScoreCheck]:
    """The checks of the newest day that was scored, by score."""
    newest = sa.select(sa.func.max(score_checks.c.as_of)).scalar_subquery()
    return _checks(engine, score_checks.c.as_of == newest)


def checks_on(engine: sa.Engine, as_of: date) -> list[ScoreCheck]:
    """The checks of one day, by score."""
    return _checks(engine, score_checks.c.as_of == as_of)


def checks_of(engine: sa.Engine, model_version: str) -> list[ScoreCheck]:
    """The checks of one model, newest first."""
    return _checks(engine, score_checks.c.model_version == model_version)


def _checks(engine: sa.Engine, condition: sa.ColumnElement[bool]) -> list[ScoreCheck]:
    c = score_checks.c
    query = sa.select(score_checks).where(condition).order_by(c.as_of.desc(), c.score)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [ScoreCheck(r.as_of, r.score, r.model_version, r.verdict, tuple(r.sentences), dict(r.figures)) for r in rows]
