"""How far an incremental read came: the range that is read next, as typed values and as JSON.

The upper bound is the newest watermark in the snapshot of the session, the lower one the last upper bound less the
look-back; both ends are included, so rows that share a watermark are never cut apart (those read twice are duplicates).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from perennial.core import clock
from perennial.core.errors import ConfigError
from perennial.sources.database.place import Place
from perennial.sources.database.relation import Relation
from perennial.sources.database.session import Session

Value = datetime | date | Decimal
_MINUTES_OF_A_DAY = 1440
_AHEAD = timedelta(days=1)  # a watermark that lies further in the future would make us miss all that comes before it
_SQLITE_TIME = "%Y-%m-%d %H:%M:%f"  # SQLite's own codes: milliseconds, offsets become UTC


@dataclass(frozen=True)
class Range:
    """What is read: rows with lower <= watermark <= upper. `lower` is None at the first read."""

    lower: Value | None
    upper: Value
    next_lower: Value  # where the next read begins, if nothing newer comes
    expression: Any  # the watermark in SQL
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The range as part of a file name."""
        return f"{_short(self.lower) if self.lower is not None else 'first'}_{_short(self.upper)}"

    @property
    def is_text(self) -> bool:
        """Whether the database holds times as text (SQLite)."""
        return not isinstance(self.expression, sa.ColumnClause)


def range_of(session: Session, relation: Relation, cursor: Mapping[str, Any]) -> Range | None:
    """What there is to read now; None for an empty table. Raises ConfigError for a watermark that cannot be one."""
    place = session.place
    name = place.read.watermark or ""
    expression: Any = relation.column(name).sql
    newest = session.one(relation.select(sa.func.max(expression)))[0]
    if isinstance(newest, str) and session.dialect == "sqlite":
        _refuse_mixed(session, relation, expression)
        expression = sa.func.strftime(_SQLITE_TIME, expression)
        newest = session.one(relation.select(sa.func.max(expression)))[0]
    nulls = session.one(relation.select(sa.func.count()).where(expression.is_(None)))[0]
    if newest is None:
        if nulls:
            raise place.error(f"{name} is empty in every row", "choose another watermark, or mode: snapshot")
        return None
    notes = (
        [f"{nulls} rows have no {name} and are never read: use a query with coalesce, or mode: snapshot"]
        if nulls
        else []
    )
    upper, told_ahead = _not_ahead(session, relation, expression, _typed(place, newest))
    notes += told_ahead
    if upper is None:
        return None
    last = last_of(cursor, name, upper)
    if last is not None and upper < last:
        notes.append(
            f"the newest {name} is {_text(upper)}, before {_text(last)}: rows went, or an older copy was restored"
        )
    lower = None if last is None else _back(place, min(last, upper))
    return Range(lower, upper, _back(place, upper), expression, tuple(notes))


def conditions(span: Range, lower: Any, upper: Any) -> list[Any]:
    """The range as conditions, with its bounds as the caller gives them to the database."""
    above = [] if span.lower is None else [span.expression >= lower]
    return [*above, span.expression <= upper]


def bound(span: Range, value: Value) -> Any:
    """The value as the driver takes it."""
    if span.is_text and isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03d}"
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value) if span.is_text else value
    return value


def as_json(value: Value) -> dict[str, str]:
    """The value and its type; a time with a zone is UTC."""
    return {"type": _kind(value), "value": _text(value)}


def last_of(cursor: Mapping[str, Any], name: str, like: Value) -> Any:
    """The last upper bound; None at the first read, and when the watermark is another one or of another type now."""
    if cursor.get("column") != name or not isinstance(cursor.get("watermark"), Mapping):
        return None
    kind, text = cursor["watermark"].get("type"), str(cursor["watermark"].get("value"))
    return _FROM_TEXT[kind](text) if kind == _kind(like) else None


def _kind(value: Value) -> str:
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo is None else "timestamp with time zone"
    return "date" if isinstance(value, date) else "number"


_FROM_TEXT: dict[str, Any] = {
    "timestamp": datetime.fromisoformat,
    "timestamp with time zone": datetime.fromisoformat,
    "date": date.fromisoformat,
    "number": Decimal,
}


def _text(value: Value) -> str:
    return format(value, "f") if isinstance(value, Decimal) else value.isoformat()


def _short(value: Value) -> str:
    """Without what is not fit for a file name."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return value.strftime("%Y%m%dT%H%M%S.%f") + ("Z" if value.tzinfo else "")
    return value.strftime("%Y%m%d")


def _typed(place: Place, value: Any) -> Value:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value
    if isinstance(value, str) and place.read.watermark:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value):
        return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    raise place.error(
        f"the watermark {place.read.watermark} is neither a time, a date nor a number",
        "choose another, or mode: snapshot",
    )


def _back(place: Place, value: Value) -> Value:
    """The value less the look-back. Raises ConfigError for a look-back of the other kind."""
    minutes, steps = place.read.look_back_minutes, place.read.look_back
    is_number = isinstance(value, Decimal)
    if minutes if is_number else steps:
        wrong, right = ("look_back_minutes", "look_back") if is_number else ("look_back", "look_back_minutes")
        raise place.error(f"{wrong} does not fit {place.read.watermark}, a {_kind(value)}", f"use {right}")
    if isinstance(value, Decimal):
        return value - Decimal(repr(steps)) if steps else value
    if isinstance(value, datetime):
        return value - timedelta(minutes=minutes)
    return value - timedelta(days=math.ceil(minutes / _MINUTES_OF_A_DAY))


def _not_ahead(session: Session, relation: Relation, expression: Any, newest: Value) -> tuple[Any, list[str]]:
    """The newest watermark that is not far in the future, and what to tell about those that are."""
    horizon = clock.now() + _AHEAD
    limit: Any = horizon
    if not isinstance(newest, datetime):
        limit = horizon.date()
    elif newest.tzinfo is None:
        limit = horizon.replace(tzinfo=None)
    if isinstance(newest, Decimal) or newest <= limit:
        return newest, []
    at = limit.strftime("%Y-%m-%d %H:%M:%S.000") if not isinstance(expression, sa.ColumnClause) else limit
    near = session.one(relation.select(sa.func.max(expression)).where(expression <= at))[0]
    ahead = session.one(relation.select(sa.func.count()).where(expression > at))[0]
    note = f"{ahead} rows have a {session.place.read.watermark} in the future: they are read when their time has come"
    return (None if near is None else _typed(session.place, near)), [note]


def _refuse_mixed(session: Session, relation: Relation, expression: Any) -> None:
    """SQLite orders any number before any text, so a column with both has no newest value."""
    numbers = relation.select(sa.func.count()).where(sa.func.typeof(expression).in_(["integer", "real"]))
    if session.one(numbers)[0]:
        name = session.place.read.watermark
        error: ConfigError = session.place.error(
            f"the watermark {name} holds numbers and text", "convert it in a query"
        )
        raise error
