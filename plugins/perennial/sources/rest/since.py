"""How far we read: the field that says when a record changed, read, compared and written back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from perennial.sources.rest.model import Incremental
from perennial.sources.rest.paths import resolve
from perennial.sources.rest.records import Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Mark = datetime | Decimal  # a moment in UTC, or a number


class BadMarkError(ValueError):
    """The field of a record is not what `incremental.reads` says."""


def mark_of(record: Record, incremental: Incremental) -> Mark | None:
    """The record's mark, or None where the field is empty. Raises BadMarkError."""
    value = resolve(record.value, incremental.field)
    if value is None or value == "":
        return None
    try:
        if incremental.reads == "number":
            number = Decimal(str(value))
            return number if number.is_finite() else None
        return moment_of(value, incremental.reads)
    except (ValueError, InvalidOperation, OverflowError):
        raise BadMarkError(f"{incremental.field} is not written as {incremental.reads}") from None


def moment_of(value: Any, reads: str) -> datetime:
    """A moment in UTC as it is written: iso (UTC where it names no zone), epoch or epoch_ms.

    Raises ValueError, InvalidOperation or OverflowError when it is not.
    """
    if reads == "iso":
        moment = datetime.fromisoformat(str(value).strip().replace(" ", "T", 1))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    divisor = 1_000 if reads == "epoch_ms" else 1
    return _EPOCH + timedelta(microseconds=int(Decimal(str(value)) * 1_000_000 / divisor))


def written(mark: Mark, incremental: Incremental) -> str | int:
    """The mark as the vendor wants it for {since}."""
    if isinstance(mark, Decimal):
        return int(mark) if mark == mark.to_integral_value() else str(mark)
    if incremental.writes == "epoch":
        return int(mark.timestamp())
    if incremental.writes == "epoch_ms":
        return int(mark.timestamp() * 1_000)
    if incremental.writes in {"iso", "number"}:
        return mark.isoformat(timespec="seconds").replace("+00:00", "Z")
    return mark.strftime(incremental.writes)


def back(mark: Mark, incremental: Incremental) -> Mark:
    """The mark less the look-back."""
    if isinstance(mark, Decimal):
        return mark - Decimal(str(incremental.look_back_seconds))
    earliest = datetime(1971, 1, 1, tzinfo=UTC)
    return max(earliest, mark - timedelta(seconds=incremental.look_back_seconds))


def to_json(mark: Mark) -> dict[str, str]:
    """The mark for the cursor."""
    return {"number": str(mark)} if isinstance(mark, Decimal) else {"time": mark.isoformat()}


def from_json(kept: Mapping[str, Any] | None) -> Mark | None:
    """The cursor's mark."""
    if not kept:
        return None
    return Decimal(kept["number"]) if "number" in kept else datetime.fromisoformat(kept["time"])


def later(one: Mark | None, other: Mark | None) -> Mark | None:
    """The later of two marks of one kind."""
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
