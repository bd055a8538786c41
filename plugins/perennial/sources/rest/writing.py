"""Records into files for the landing zone: one JSON object a line, cut into files of bounded size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import InvalidOperation
from pathlib import Path
from typing import Any

from perennial.contracts.entities import ENTITIES
from perennial.contracts.sources import SourceEntity
from perennial.core import clock
from perennial.sources.fetching import FetchedFile
from perennial.sources.rest.model import Endpoint, MadeField
from perennial.sources.rest.paths import resolve
from perennial.sources.rest.records import Record, with_fields
from perennial.sources.rest.since import moment_of

DELETED = "_deleted"  # true on the line that says that a record is gone
FILE_ROWS = 100_000
FILE_BYTES = 64_000_000


class FieldClashError(ValueError):
    """A name under `fields` is one that the record has."""


def line_of(record: Record, endpoint: Endpoint) -> str:
    """The line that a record lands as: its own text, with the added fields. Raises FieldClashError."""
    clash = [name for name in (*endpoint.fields, DELETED) if name in record.value]
    if clash:
        raise FieldClashError(f"the record has a field {clash[0]} of its own; give ours another name")
    fields = {name: _field(record.value, field) for name, field in endpoint.fields.items()}
    return with_fields(record.text, {**fields, DELETED: False})


def _field(value: Any, field: str | MadeField) -> Any:
    if isinstance(field, str):
        return resolve(value, field)
    written = resolve(value, field.path)
    if written is None or str(written) in {"", *field.empty}:
        return None
    if field.reads == "as it is":
        return f"{field.prefix}{written}" if field.prefix else written
    try:
        moment = moment_of(written, field.reads)
    except (ValueError, InvalidOperation, OverflowError):
        return str(written)  # for the contract to judge
    return moment.date().isoformat() if field.lands == "date" else moment.isoformat()


def key_of(record: Record, endpoint: Endpoint) -> str | None:
    """The record's key as JSON text, or None where a part of it is missing."""
    parts = [resolve(record.value, path) for path in endpoint.key]
    if any(part is None or isinstance(part, dict | list) for part in parts):
        return None
    return json.dumps([str(part) for part in parts], ensure_ascii=False)


def tombstone(key: str, endpoint: Endpoint, entity: SourceEntity) -> str:
    """The line of a record that is gone: its key, `_deleted`, and the moment of now as its version.

    Every other column that is mapped is there and empty; where the rows of the entity are the items of a list
    (`format.row`), that list has one empty item.
    """
    line: dict[str, Any] = {}
    row = entity.format.row

    def put(column: str, value: Any) -> None:
        _put(line, column if row is None or column.startswith("../") else f"{row}.{column}", value)

    for column in entity.source_columns:
        put(column, None)
    if entity.version is not None:
        put(entity.version, _now_as(endpoint))
    if entity.business_date in entity.columns:
        put(entity.columns[entity.business_date].source, _known_on(entity))
    if entity.deleted is not None and entity.deleted.column != DELETED:  # a status of the vendor's own says it
        put(entity.deleted.column, entity.deleted.values[0])
    if row is not None:
        _wrap(line, row)
    for path, part in zip(endpoint.key, json.loads(key), strict=True):
        _put(line, path, part)
        line.update(_made_of_key(path, part, endpoint))
    return json.dumps({**line, DELETED: True}, ensure_ascii=False)


def _made_of_key(path: str, part: str, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """The added fields that are the key, as they are on lines of living records."""
    for name, field in endpoint.fields.items():
        if field == path:
            yield name, part
        elif isinstance(field, MadeField) and field.path == path:
            yield name, f"{field.prefix}{part}"


def _known_on(entity: SourceEntity) -> str:
    """Now, as the contract reads the column that is the business date: what is gone is gone from today on."""
    now = clock.now()
    if ENTITIES[entity.entity].columns[entity.business_date].type == "date":
        return now.strftime(entity.format.date_format or "%Y-%m-%d")
    return now.strftime(entity.format.timestamp_format or "%Y-%m-%dT%H:%M:%SZ")


def _now_as(endpoint: Endpoint) -> str | int:
    """Now, as the vendor writes the time of a change: a tombstone is the newest version of its key."""
    reads = endpoint.incremental.reads if endpoint.incremental else "iso"
    now = clock.now()
    if reads in {"epoch", "epoch_ms"}:
        return int(now.timestamp() * (1_000 if reads == "epoch_ms" else 1))
    return now.isoformat(timespec="microseconds")


def _wrap(line: dict[str, Any], row: str) -> None:
    """The block at the path `row` becomes a list with that one item."""
    *way, last = row.split(".")
    for step in way:
        line = line.setdefault(step, {})
    line[last] = [line.get(last) or {}]


def _put(line: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a dotted path; `../` is the line itself."""
    steps = path.rsplit("../", 1)[-1].split(".")
    for step in steps[:-1]:
        inner = line.get(step)
        line[step] = inner if isinstance(inner, dict) else {}
        line = line[step]
    if value is not None or steps[-1] not in line:
        line[steps[-1]] = value


class Writer:
    """Gathers lines into one file at a time. `number` counts the files of all fetches, so that names sort by age."""

    def __init__(self, scratch: Path, today: date, number: int) -> None:
        self._scratch, self._today, self.number = scratch, today, number
        self._path = scratch / "part.jsonl"
        self._begin()

    def _begin(self) -> None:
        self._handle = self._path.open("wb")
        self._hash, self.rows, self._bytes = hashlib.sha256(), 0, 0
        self._keys: set[str] = set()

    @property
    def is_full(self) -> bool:
        """Is it time to land what was gathered?"""
        return self.rows >= FILE_ROWS or self._bytes >= FILE_BYTES

    def has(self, key: str) -> bool:
        """Is a version of this key in the file? Two in one file would contradict each other."""
        return key in self._keys

    def add(self, key: str, line: str) -> None:
        """One more line."""
        self._keys.add(key)
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        self._handle.write(data)
        self._hash.update(data)
        self.rows += 1
        self._bytes += len(data)

    def close(self) -> None:
        """Let go of the file."""
        self._handle.close()

    def take(self, cursor: Mapping[str, Any]) -> FetchedFile:
        """The file gathered so far, and begin another. The same content at the same place has the same name."""
        self._handle.close()
        suffix = f"{self._today.isoformat()}-{self.number:08d}-{self._hash.hexdigest()[:12]}"
        whole = self._path.rename(self._scratch / f"{suffix}.jsonl")
        file = FetchedFile(whole, suffix, cursor, self.rows, sha256=self._hash.hexdigest())
        self.number += 1
        self._begin()
        return file
