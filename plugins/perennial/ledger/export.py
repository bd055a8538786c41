"""What the warehouse is told by the ledger: its tables as Arrow in chunks (L26), raw files, versions still in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.entities import EntityName
from perennial.contracts.records import DayRun
from perennial.ledger import tables as t
from perennial.ledger.feedback_tables import feedback_events

_ROWS = 50_000


@dataclass(frozen=True)
class _Export:
    name: str
    query: sa.Select[Any]
    keep: Callable[[Any], bool] | None = None  # for sets that may be too long for one SQL statement


def ledger_tables(engine: sa.Engine, run: DayRun) -> Iterator[tuple[str, pa.RecordBatchReader]]:
    """Name and rows of each table that models or people read, by key; use each reader up before asking for the next.

    Only what the run may see: its own batches and their files; what was delivered before its date; runs of earlier
    dates, and its own date's up to itself. Consents and assignments are read from the ledger by those who decide.
    """
    for export in _exports(run, _opened_at(engine, run)):
        schema = pa.schema([(c.name, _arrow_type(c.type)) for c in export.query.selected_columns])
        with closing(_stream(engine, export)) as rows:
            yield export.name, pa.RecordBatchReader.from_batches(schema, _batches(rows, schema))


def raw_files(engine: sa.Engine, run: DayRun, home: Path) -> dict[EntityName, list[Path]]:
    """The raw Parquet files of the run's batches, by canonical entity, in the order of the batch ids."""
    b = t.batches.c
    query = sa.select(b.entity, b.raw_path, b.batch_id).where(b.state == "committed", b.raw_path.is_not(None))
    wanted = set(run.batch_ids)
    files: dict[EntityName, list[Path]] = {}
    for entity, path, batch_id in _stream(engine, _Export("raw_files", query.order_by(b.batch_id))):
        if batch_id in wanted:
            files.setdefault(entity, []).append(home / path)
    return files


def unfinished_versions(engine: sa.Engine, newest: int) -> list[str]:
    """The versions of runs that are not done, among the `newest` runs opened last: their next steps read them."""
    last = sa.select(t.runs.c.state, t.runs.c.version_id).order_by(t.runs.c.opened_at.desc(), t.runs.c.run_id.desc())
    with engine.connect() as connection:
        rows = connection.execute(last.limit(newest)).all()
    return [row.version_id for row in rows if row.state != "done" and row.version_id is not None]


def _exports(run: DayRun, opened_at: datetime | None) -> list[_Export]:
    own = set(run.batch_ids)
    deliveries, runs = t.deliveries, t.runs
    earlier = sa.or_(runs.c.as_of < run.as_of, sa.and_(runs.c.as_of == run.as_of, runs.c.revision <= run.revision))
    # The state of a run changes while it works: what is copied here does not, so that a rerun copies the same (L2).
    run_columns = [runs.c[name] for name in ("run_id", "as_of", "revision", "config_digest", "opened_at")]
    # So do columns that are seen again; rows of the quarantine are replayed or dropped at any time after the run.
    column_names = ("source", "source_entity", "column_name", "in_contract", "first_batch_id")
    columns = _some(t.source_columns, *column_names)
    actions = _some(
        t.quarantine_actions, "batch_id", "file", "line", "action", "to_batch_id", "done_at"
    )  # no note: L22

    def is_known(row: Any) -> bool:
        if row.action == "replayed":
            return row.to_batch_id in own
        return opened_at is not None and row.batch_id in own and row.done_at <= opened_at

    return [
        _Export("ledger_batches", _by_key(t.batches), lambda row: row.batch_id in own),
        _Export("ledger_batch_files", _by_key(t.batch_files), lambda row: row.batch_id in own),
        _Export("ledger_gate_results", _by_key(t.gate_results), lambda row: row.batch_id in own),
        _Export("ledger_quarantine_actions", actions, is_known),
        _Export("ledger_source_columns", columns, lambda row: row.first_batch_id in own),
        _Export("ledger_deliveries", _by_key(deliveries).where(deliveries.c.as_of < run.as_of)),
        _Export("ledger_feedback", _feedback(run, opened_at)),
        _Export("ledger_runs", sa.select(*run_columns).where(earlier).order_by(runs.c.as_of, runs.c.revision)),
    ]


def _feedback(run: DayRun, opened_at: datetime | None) -> sa.Select[Any]:
    """What came back of clients we know until the run was opened; neither address keys nor words of tools (L22)."""
    names = ("destination", "event_id", "kind", "happened_at", "channel", "client_ref", "campaign_id", "as_of")
    f = feedback_events.c
    is_before = f.recorded_at <= opened_at if opened_at is not None else sa.false()
    known = sa.and_(f.client_ref.is_not(None), f.known_on <= run.as_of, is_before)
    return _some(feedback_events, *names, "message_id", "is_machine", "known_on").where(known)


def _opened_at(engine: sa.Engine, run: DayRun) -> datetime | None:
    with engine.connect() as connection:
        return connection.execute(sa.select(t.runs.c.opened_at).where(t.runs.c.run_id == run.run_id)).scalar()


def _some(table: sa.Table, *names: str) -> sa.Select[Any]:
    return sa.select(*(table.c[name] for name in names)).order_by(*table.primary_key.columns)


def _by_key(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).order_by(*table.primary_key.columns)


def _stream(engine: sa.Engine, export: _Export) -> Generator[Any, None, None]:
    with engine.connect().execution_options(reading=True, yield_per=_ROWS) as connection:
        for row in connection.execute(export.query):
            if export.keep is None or export.keep(row):
                yield row


def _batches(rows: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    as_text = [index for index, field in enumerate(schema) if field.type == pa.string()]
    for first in rows:
        chunk = [first, *islice(rows, _ROWS - 1)]
        columns: list[Sequence[Any]] = list(zip(*chunk, strict=True))
        for index in as_text:
            columns[index] = [
                value if value is None or isinstance(value, str) else _json(value) for value in columns[index]
            ]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _arrow_type(column_type: sa.types.TypeEngine[Any]) -> pa.DataType:
    if isinstance(column_type, sa.Integer):
        return pa.int64()
    if isinstance(column_type, sa.Boolean):
        return pa.bool_()
    if isinstance(column_type, sa.Float):
        return pa.float64()
    if isinstance(column_type, sa.DateTime):
        return pa.timestamp("us")
    return pa.date32() if isinstance(column_type, sa.Date) else pa.string()
