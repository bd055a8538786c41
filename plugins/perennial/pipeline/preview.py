"""A file as it would be loaded, without loading it: its first rows typed, with the fate of each. Nothing is written."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from perennial.contracts.entities import ENTITIES
from perennial.contracts.sources import Source, SourceEntity
from perennial.core.errors import BatchRefused, Problem
from perennial.core.personal import mask_email, mask_phone
from perennial.core.settings import Settings
from perennial.pipeline.misread import settings_for
from perennial.quality.checking import Checker, Counts
from perennial.quality.duplicates import mark_duplicates
from perennial.quality.quarantine import make_quarantined
from perennial.sources.inspection import Inspected, inspect
from perennial.sources.landing import LandedFile
from perennial.sources.quotation import swallowed
from perennial.sources.staging import arrive, open_scratch, settle

_DATE = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


@dataclass(frozen=True)
class PreviewRow:
    """One row: its line, its canonical values (personal ones masked), `loaded`, `duplicate` or `quarantined`, why."""

    line: int
    fate: str
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preview:
    """What would become of the file. `unmapped` are its columns that the contract does not name."""

    entity: str
    columns: tuple[str, ...]
    rows: tuple[PreviewRow, ...]
    counts: Counts
    unmapped: tuple[str, ...]
    notes: tuple[str, ...]


def preview(settings: Settings, path: Path, source: Source, contract: SourceEntity, *, rows: int) -> Preview:
    """Read and check the whole file, and show its first rows. References to what is loaded are not looked up.

    Raises BatchRefused where the file as a whole would be refused.
    """
    if not path.is_file():
        raise BatchRefused(Problem(str(path), "there is no such file", "name a file"))
    without = contract.model_copy(update={"references": ()})
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        scratch = Path(folder) / "in"
        scratch.mkdir()
        found = inspect(path.absolute(), _landed(path), without, scratch)  # it is linked to from elsewhere
        if found.problem is not None:
            raise BatchRefused(found.problem)
        with open_scratch(Path(folder)) as connection:
            try:
                arrive(connection, [found], without)
                zone, odd, plain = settings.company.zone, found.odd_spaces, found.is_plain
                checker = Checker(connection, source, without, zone, odd_spaces=odd, is_plain=plain)
                checker.judge_arriving({})
            except duckdb.Error as error:
                said = str(error).splitlines()[0][:200]
                raise BatchRefused(Problem(path.name, f"the content cannot be read: {said}")) from None
            if problem := swallowed(connection, [found], without).get(found.file.name):
                raise BatchRefused(problem)
            settle(connection, [found], without)
            checker.settle()
            mark_duplicates(checker, [])
            make_quarantined(checker)
            return _preview(checker, contract, found, rows)


def _landed(path: Path) -> LandedFile:
    """The file as if it had landed; one without a date in its name has that of its last change."""
    status = path.stat()
    in_name = _DATE.search(path.name)
    try:
        dated = date.fromisoformat(in_name.group()) if in_name else None
    except ValueError:
        dated = None
    return LandedFile(path.name, status.st_size, status.st_mtime_ns, dated or _changed(status.st_mtime))


def _changed(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _preview(checker: Checker, contract: SourceEntity, found: Inspected, rows: int) -> Preview:
    shown = [name for name in checker.entity.columns if name in contract.columns or name in {"line_kind", "amount"}]
    named = {column.source for column in contract.columns.values()}
    named |= {contract.version or "", contract.deleted.column if contract.deleted else ""}
    notes = settings_for(checker)
    if contract.references:
        notes.append("references to what is loaded are not looked up here")
    return Preview(
        entity=checker.entity.name,
        columns=tuple(shown),
        rows=tuple(sorted(_rows(checker, shown, rows), key=lambda row: row.line)[:rows]),
        counts=checker.counts(),
        unmapped=tuple(name for name in found.header if name and name not in named),
        notes=tuple(notes),
    )


def _rows(checker: Checker, shown: list[str], limit: int) -> list[PreviewRow]:
    run = checker.connection.execute
    reasons = dict(run("select _line, reasons from quarantined order by _line limit ?", [limit]).fetchall())
    made: list[PreviewRow] = []
    query = f"select line, broken, duplicate, {', '.join(shown)} from checked order by line limit ?"
    for line, broken, duplicate, *values in run(query, [limit]).fetchall():
        fate = "quarantined" if broken else "duplicate" if duplicate else "loaded"
        made.append(PreviewRow(line, fate, _masked(checker, shown, values), tuple(reasons.pop(line, ()))))
    made += [PreviewRow(line, "quarantined", {}, tuple(why)) for line, why in reasons.items()]
    return made


def _masked(checker: Checker, shown: list[str], values: list[Any]) -> dict[str, Any]:
    columns = ENTITIES[checker.entity.name].columns
    return {
        name: mask(name, value) if columns[name].personal else value for name, value in zip(shown, values, strict=True)
    }


def mask(name: str, value: Any) -> str:
    """Personal data as it may be shown: an address or a number by its ends, anything else by its first character."""
    if value is None:
        return ""
    if name == "email":
        return mask_email(str(value))
    return mask_phone(str(value)) if name == "phone" else f"{str(value)[:1]}***"
