"""From the rows of a change set to the contacts of a tool: fields under the tool's names, defaults, nothing erased."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from perennial.contracts.destinations import Scalar, ToolConfig
from perennial.core.errors import ConfigError, Problem
from perennial.core.ids import digest_of
from perennial.delivery.records import ACTIONS, FIRST_COLUMNS, HASH_COLUMN, Action, ChangeSet, ListKey
from perennial.delivery.tools.records import Cell, Chunk, Contact, Limits

_ADDRESSES = ("email", "phone")
_NOT_FIELDS = {*FIRST_COLUMNS, "client_key", HASH_COLUMN}
_NOT_SENT_BY_ITSELF = "value"  # what a client is expected to be worth is nobody's business outside, unless it is named
_ID_LENGTH = 32
_ROW_BYTES, _CELL_BYTES = 64, 24  # beside the values: names of fields, brackets, quotes


@dataclass(frozen=True)
class RowMap:
    """How rows become contacts: the address column (or none), (our name, the tool's name), defaults by our names."""

    address: str
    fields: tuple[tuple[str, str], ...]
    defaults: Mapping[str, Scalar] = field(default_factory=dict)

    def as_json(self) -> str:
        """The map as text, to be kept beside rows in flight."""
        return json.dumps([self.address, self.fields, dict(self.defaults)])

    @classmethod
    def of_json(cls, text: str) -> RowMap:
        """The map of `as_json`."""
        address, fields, defaults = json.loads(text)
        return cls(address, tuple((ours, theirs) for ours, theirs in fields), defaults)

    def contacts(self, rows: pa.RecordBatch) -> tuple[Contact, ...]:
        """One contact for each row."""
        size = rows.num_rows
        ids, keys = rows.column("client_id").to_pylist(), _texts(rows, "client_key")
        addresses = _texts(rows, self.address) if self.address else [""] * size
        names = [theirs for ours, theirs in self.fields if ours in rows.schema.names]
        columns = [self._cells(rows, ours) for ours, _ in self.fields if ours in rows.schema.names]
        cells = zip(*columns, strict=True) if columns else iter([()] * size)
        return tuple(
            Contact(one, key, address, dict(zip(names, values, strict=True)))
            for one, key, address, values in zip(ids, keys, addresses, cells, strict=True)
        )

    def _cells(self, rows: pa.RecordBatch, ours: str) -> list[Cell]:
        column = rows.column(ours)
        values: list[Cell] = column.to_pylist()
        if pa.types.is_string(column.type):  # no tool takes a null byte, and no person means one (L23)
            values = [
                value.replace("\x00", "") if isinstance(value, str) and "\x00" in value else value for value in values
            ]
        default = self.defaults.get(ours)
        if default is None or not column.null_count:
            return values
        return [default if value is None else value for value in values]


def row_map(config: ToolConfig, schema: pa.Schema, list_id: str) -> RowMap:
    """How rows of the schema become contacts of the tool.

    Raises ConfigError for a field of the file that no list has by that name.
    """
    address = next((name for name in _ADDRESSES if name in schema.names), "")
    own = [name for name in schema.names if name not in _NOT_FIELDS and name != address]
    if config.fields is None:
        fields = [(name, name) for name in own if name != _NOT_SENT_BY_ITSELF]
    else:
        fields = [(ours, theirs) for ours, theirs in config.fields.items() if ours in own or ours == "client_key"]
    twice = {theirs for _, theirs in fields if [name for _, name in fields].count(theirs) > 1}
    if twice:
        problem = f"two fields are called {', '.join(sorted(twice))} in the tool"
        raise ConfigError(Problem(f"destinations.yml, {list_id}", problem, "give each its own name"))
    return RowMap(address, tuple(fields), config.defaults)


@dataclass(frozen=True)
class Piece:
    """Some rows of one list and one action, as they lie in the change set and as the tool is given them."""

    key: ListKey
    action: Action
    rows: pa.RecordBatch = field(repr=False)
    map: RowMap = field(repr=False)

    @property
    def size(self) -> int:
        """Its rows."""
        return int(self.rows.num_rows)

    @cached_property
    def client_keys(self) -> list[list[str]]:
        """(client_id, row_hash) of each row."""
        columns = (self.rows.column("client_id").to_pylist(), self.rows.column(HASH_COLUMN).to_pylist())
        return [list(pair) for pair in zip(*columns, strict=True)]

    def chunk(self, destination: str) -> Chunk:
        """What the tool is given; the same rows of the same list always have the same id."""
        parts = [one for pair in self.client_keys for one in pair]
        chunk_id = digest_of([destination, self.key.list_id(1), self.action, *parts], length=_ID_LENGTH)
        return Chunk(chunk_id, self.action, self.map.contacts(self.rows))

    def without(self, client_ids: set[str]) -> Piece:
        """The piece without these clients."""
        if not client_ids:
            return self
        kept = [one not in client_ids for one in self.rows.column("client_id").to_pylist()]
        return Piece(self.key, self.action, self.rows.filter(pa.array(kept)), self.map)

    def only(self, client_ids: set[str]) -> Piece:
        """The piece of these clients alone."""
        kept = [one in client_ids for one in self.rows.column("client_id").to_pylist()]
        return Piece(self.key, self.action, self.rows.filter(pa.array(kept)), self.map)

    def halves(self) -> tuple[Piece, Piece]:
        """Two pieces of it."""
        middle = self.size // 2
        first, second = self.rows.slice(0, middle), self.rows.slice(middle)
        return Piece(self.key, self.action, first, self.map), Piece(self.key, self.action, second, self.map)


def pieces(changes: ChangeSet, limits: Limits, row_map: RowMap) -> Iterator[Piece]:
    """The change set in pieces that fit into one call each: who leaves first, for a withdrawal does not wait (L9)."""
    wanted = [action for action in ("remove", "update", "add") if changes.actions.get(action)]
    passes = (
        [("remove",), tuple(name for name in wanted if name != "remove")] if "remove" in wanted else [tuple(wanted)]
    )
    for actions in passes:
        if actions:
            yield from _pass(changes, limits, row_map, actions)


def _pass(changes: ChangeSet, limits: Limits, row_map: RowMap, actions: tuple[str, ...]) -> Iterator[Piece]:
    held: dict[Action, list[pa.RecordBatch]] = {action: [] for action in ACTIONS if action in actions}
    most = limits.rows_per_call
    for batch in changes.batches():
        for action, parts in held.items():
            mine = batch.filter(pa.compute.equal(batch.column("action"), action))
            if not mine.num_rows:
                continue
            parts.append(mine)
            if sum(part.num_rows for part in parts) >= most:
                whole = _together(parts)
                full = whole.num_rows - whole.num_rows % most
                yield from _cut(changes, action, whole.slice(0, full), row_map, limits)
                parts[:] = [whole.slice(full)] if full < whole.num_rows else []
    for action, parts in held.items():
        if parts:
            yield from _cut(changes, action, _together(parts), row_map, limits)


def _together(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]


def _cut(changes: ChangeSet, action: Action, rows: pa.RecordBatch, row_map: RowMap, limits: Limits) -> Iterator[Piece]:
    for start in range(0, rows.num_rows, limits.rows_per_call):
        part = rows.slice(start, limits.rows_per_call)
        for small in _fitting(part, limits.bytes_per_call):
            yield Piece(changes.key, action, small, row_map)


def _fitting(rows: pa.RecordBatch, most: int | None) -> Iterator[pa.RecordBatch]:
    """Halved until the text of its values, generously counted, fits into a call."""
    if most is None or rows.num_rows <= 1 or _bytes(rows) <= most:
        yield rows
        return
    middle = rows.num_rows // 2
    for part in (rows.slice(0, middle), rows.slice(middle)):
        yield from _fitting(part, most)


def _bytes(rows: pa.RecordBatch) -> int:
    """About the size of the rows as JSON: Arrow's buffers, and what stands around each value."""
    around = _ROW_BYTES + _CELL_BYTES * len(rows.schema.names)
    return int(rows.nbytes + rows.num_rows * around)


def _texts(rows: pa.RecordBatch, name: str) -> list[str]:
    if name not in rows.schema.names:
        return [""] * rows.num_rows
    return [value or "" for value in rows.column(name).to_pylist()]


def sql_types(row_map: RowMap, schema: pa.Schema) -> tuple[tuple[str, str], ...]:
    """The fields that a tool is told of, by its names, with their SQL types."""
    return tuple(
        (theirs, _sql_type(schema.field(ours).type)) for ours, theirs in row_map.fields if ours in schema.names
    )


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_integer(kind):
        return "BIGINT"
    if pa.types.is_floating(kind):
        return "DOUBLE"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return "DATE" if pa.types.is_date(kind) else "VARCHAR"


def reason_counts(rows: Mapping[str, Any]) -> dict[str, int]:
    """How many rows have each code."""
    counted: dict[str, int] = {}
    for code in rows.values():
        counted[str(code)] = counted.get(str(code), 0) + 1
    return counted
