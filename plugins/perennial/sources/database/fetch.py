"""Fetching: one file for the range that is new, or for what changed since the last snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from perennial.core.sqltext import identifier
from perennial.sources.database import landed
from perennial.sources.database.place import Place, place_of
from perennial.sources.database.relation import refuse_missing, relation_of
from perennial.sources.database.rows import batches_of
from perennial.sources.database.session import Session, open_session
from perennial.sources.database.snapshot import snapshot
from perennial.sources.database.watermark import Range, as_json, bound, last_of, range_of
from perennial.sources.fetching import FetchedFile, Request


def fetch(request: Request) -> Iterator[FetchedFile]:
    """What is new, as one Parquet file; nothing new yields nothing.

    Raises RetryableError (not there, dropped, timed out: the range is read again next time), ConfigError (a person
    mends sources.yml, the connection or a grant), PermanentError, and ContractViolation for an implausible snapshot.
    """
    place = place_of(request)
    read = _fetch_snapshot if place.read.mode == "snapshot" else _fetch_range
    yield from read(request, place)


def _fetch_snapshot(request: Request, place: Place) -> Iterator[FetchedFile]:
    path = request.scratch / f"{request.entity_name}.all.parquet"
    with open_session(place) as session:
        relation = relation_of(session)
        refuse_missing(place, relation)
        with batches_of(session, relation, None) as batches:
            rows = landed.write(batches, path, name="all", chunk_rows=place.options.chunk_rows)
    yield from snapshot(request, place, path if rows else None, [column.name for column in relation.columns])


def _fetch_range(request: Request, place: Place) -> Iterator[FetchedFile]:
    path = request.scratch / f"{request.entity_name}.parquet"
    with open_session(place) as session:
        relation = relation_of(session)
        refuse_missing(place, relation)
        span = range_of(session, relation, request.cursor)
        if span is None:
            return
        notes = _notes(session, span)
        with batches_of(session, relation, span) as batches:
            rows = landed.write(batches, path, name=span.name, chunk_rows=place.options.chunk_rows)
    if rows:
        yield from _file_of(request, path, span, watermark=place.read.watermark or "", rows=rows, notes=notes)


def _file_of(
    request: Request, path: Path, span: Range, *, watermark: str, rows: int, notes: tuple[str, ...]
) -> Iterator[FetchedFile]:
    """The file of the range, unless it holds nothing but what the last one held too."""
    whole = landed.digest(path, request.scratch) if span.lower is not None else None
    is_known = last_of(request.cursor, watermark, span.upper) == span.upper
    if is_known and whole is not None and whole == request.cursor.get("tail"):
        return
    is_same_again = whole is not None and span.lower == span.next_lower
    tail = whole if is_same_again else _tail(path, request.scratch, watermark, span)
    cursor = {"column": watermark, "watermark": as_json(span.upper), "tail": tail}
    yield FetchedFile(path, _dated(request, span.name), cursor, rows, notes=notes)


def _dated(request: Request, name: str) -> str:
    """The suffix; where the entity's files are dated, the business date stands in front."""
    return f"{request.today.isoformat()}_{name}" if "{date}" in request.entity.path else name


def _notes(session: Session, span: Range) -> tuple[str, ...]:
    if session.enforced:
        return span.notes
    told = f"{session.dialect}: neither read-only nor a time-out can be enforced; give its login nothing but select"
    return (*span.notes, told)


def _tail(path: Path, scratch: Path, name: str, span: Range) -> dict[str, str]:
    """The digest of what the next fetch reads again, if nothing newer comes."""
    value: Any = bound(span, span.next_lower)
    kind, text = _duckdb_type(span.next_lower), f"{identifier(name)}::varchar"
    as_value = f"timezone('UTC', try_cast({text} as timestamptz))" if span.is_text else f"{text}::{kind}"
    return landed.digest(path, scratch, f"{as_value} >= $1::{kind}", (value,))


def _duckdb_type(value: datetime | date | Decimal) -> str:
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    return "date" if isinstance(value, date) else "decimal(38, 9)"
