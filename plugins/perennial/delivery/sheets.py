"""Lists that people work through: a call centre's sheet, and one workbook per account manager.

Beside the files of the list lies `calls.xlsx`, or `manager__<name>.xlsx` for each manager: in the list's order (the
most valuable first) whom to call, why, what to say, and the best hour, with empty columns for what came of it. Who is
to be taken off an audience is in no sheet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from perennial.contracts.destinations import Script, SheetConfig
from perennial.core.errors import ConfigError, Problem, RowRejected
from perennial.core.ids import digest_of
from perennial.delivery.files import WrittenFile, sha256_of
from perennial.delivery.files_xlsx import Workbook
from perennial.delivery.managers import MANAGER
from perennial.delivery.messages import Snippet
from perennial.delivery.records import FIRST_COLUMNS, HASH_COLUMN

CALLS = "calls.xlsx"
_MOST_MANAGERS = 300  # workbooks that are open at the same time
_WHO = ("client_key", "first_name", "phone", "email")
_LAST = ("offer_text", "offer_code", "valid_until", "value")
_SAID = ("why", "what_to_say", "best_hour")
_HOURS = 24


@dataclass
class _Sheet:
    path: Path
    book: Workbook
    rows: int = 0


def write_sheets(
    folder: Path,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    config: SheetConfig,
    *,
    campaign_id: str,
    without: frozenset[str] = frozenset(),
) -> list[WrittenFile]:
    """Write the sheets of a list into `folder`; `without` are client_ids that are not in the list after all.

    Raises ConfigError when a script shows a field that the list does not have, or when there are too many managers.
    """
    lines = _Lines(schema, config, campaign_id)
    sheets: dict[str, _Sheet] = {}
    with ExitStack() as stack:
        if config.kind == "call_centre":
            sheets[CALLS] = _open(folder, CALLS, lines.schema, stack)
        for row in _rows(batches, without):
            name = CALLS if config.kind == "call_centre" else file_of(row.get(MANAGER))
            if name not in sheets:
                if len(sheets) >= _MOST_MANAGERS:
                    fix = f"is {MANAGER} the right field? One destination writes at most {_MOST_MANAGERS}"
                    raise ConfigError(Problem("destinations.yml", f"more than {_MOST_MANAGERS} managers", fix))
                sheets[name] = _open(folder, name, lines.schema, stack)
            sheet = sheets[name]
            sheet.rows += 1
            line = lines.of(row, sheet.rows)
            sheet.book.write(pa.RecordBatch.from_pylist([line], schema=lines.schema))
        for sheet in sheets.values():
            sheet.book.close()
    return [_written(sheet) for sheet in sheets.values()]


def file_of(manager: str | None) -> str:
    """The file of a manager: what is plain in the name, and a digest that keeps two alike apart (L23)."""
    if not manager:
        return "manager__nobody.xlsx"
    plain = unicodedata.normalize("NFKD", manager).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:40]
    return f"manager__{slug or 'x'}_{digest_of([manager], length=6)}.xlsx"


class _Lines:
    """The lines of one list's sheets."""

    def __init__(self, schema: pa.Schema, config: SheetConfig, campaign_id: str) -> None:
        self._config = config
        self._names = set(schema.names)
        script = config.scripts.get(campaign_id, config.script)
        self._why, self._say = self._snippets(script)
        self.schema = _schema(schema, config)

    def of(self, row: Mapping[str, Any], turn: int) -> dict[str, Any]:
        """One line of a sheet; `turn` counts from 1 in it."""
        line = {name: row.get(name) for name in self.schema.names}
        line["turn"] = turn
        if self._config.capacity is not None:
            line["today"] = turn <= self._config.capacity
        line["why"] = _said(self._why, row) or None
        line["what_to_say"] = _said(self._say, row) or row.get("offer_text")
        line["best_hour"] = self._hour(row)
        return line

    def _hour(self, row: Mapping[str, Any]) -> str:
        """The client's hour, if people work at it."""
        first, last = self._config.hours
        given = row.get(self._config.hour_field)
        hour = self._config.default_hour if given is None else int(given) % _HOURS
        return f"{min(max(hour, first), last - 1):02}:00"

    def _snippets(self, script: Script) -> tuple[Snippet, Snippet]:
        made = (Snippet("destinations.yml: why", script.why), Snippet("destinations.yml: say", script.say))
        missing = sorted({name for snippet in made for name in snippet.names}.difference(self._names))
        if missing:
            fix = "add them to the card's merge_fields, or take them out of the script"
            raise ConfigError(Problem("destinations.yml", f"a script shows {', '.join(missing)}: no field of it", fix))
        if self._config.kind == "managers" and MANAGER not in self._names:
            fix = f"add {MANAGER} to the card's merge_fields; it comes from the CRM's deals and their agents"
            raise ConfigError(Problem("destinations.yml", f"the list has no field {MANAGER}", fix))
        return made


def _schema(schema: pa.Schema, config: SheetConfig) -> pa.Schema:
    """Turn, who, why, what to say, when; then all else that the list has, and room for what came of it."""
    own = {*FIRST_COLUMNS, HASH_COLUMN, *_WHO, *_LAST, config.hour_field}
    columns: list[Any] = [("turn", pa.int64())]
    if config.capacity is not None:
        columns.append(("today", pa.bool_()))
    columns += [schema.field(name) for name in _WHO if name in schema.names]
    columns += [(name, pa.string()) for name in _SAID]
    columns += [field for field in schema if field.name not in own and field.name not in _SAID]
    columns += [schema.field(name) for name in _LAST if name in schema.names]
    columns += [("client_id", pa.string()), ("result", pa.string()), ("note", pa.string())]
    return pa.schema(columns)


def _rows(batches: Iterable[pa.RecordBatch], without: frozenset[str]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for row in batch.to_pylist():
            if row["action"] != "remove" and row["client_id"] not in without:
                yield row


def _said(snippet: Snippet, row: Mapping[str, Any]) -> str:
    """What the script says; where a value is missing a person sees nothing rather than half a sentence."""
    try:
        return snippet.render(row).strip()
    except RowRejected:
        return ""


def _open(folder: Path, name: str, schema: pa.Schema, stack: ExitStack) -> _Sheet:
    book = Workbook(folder / name, schema, lambda *_: None)
    stack.callback(book.abandon)
    return _Sheet(folder / name, book)


def _written(sheet: _Sheet) -> WrittenFile:
    return WrittenFile(sheet.path.name, "xlsx", sheet.rows, sheet.path.stat().st_size, sha256_of(sheet.path))
