"""A batch in one pass: rows go from the files to the raw file while they are judged, where nothing stands against it.

What stands against it, and has to be taken the other way, by a table of all rows: several shapes of files, entities
(their keys are compared with each other), lines that are no rows or more than one, references that refuse and are not
known, keys that are loaded already. All of that but the first is known only at the end; then the pass was for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial.contracts.entities import ENTITIES, EntityName
from perennial.contracts.sources import SourceEntity
from perennial.ledger.batches import CommittedBatch
from perennial.quality.checking import Checker, Counts
from perennial.quality.duplicates import has_repeated
from perennial.quality.onepass import Rows, every_line_is_a_row, every_reference_is_known, write_while_reading
from perennial.quality.raw import Stamp, Written
from perennial.sources.inspection import Inspected
from perennial.sources.staging import StagedFile, arrive, groups

_MOST_FILES = 500
_LOOKED_BACK = 3  # batches: a source that sent rows again lately does so again


@dataclass(frozen=True)
class Loaded:
    """Raw files: `known` of each entity that is referred to, `own` of the batch's own source and entity."""

    known: Mapping[EntityName, Sequence[str]]
    own: Sequence[str]


@dataclass(frozen=True)
class Read:
    """Rows that are read and judged, the files that they are of, and the raw file if there is one already."""

    checker: Checker
    staged: list[StagedFile]
    written: Written | None = None

    def counts(self) -> Counts:
        """The rows by their fate."""
        return self.checker.counts(*(("checked_good", "checked_bad") if self.written else ()))


def may_be_read_at_once(files: list[Inspected], contract: SourceEntity, committed: list[CommittedBatch]) -> bool:
    """Whether one pass may do. `committed` are the batches of the source and entity, in their order."""
    return (
        contract.format.type in {"csv", "parquet"}
        and ENTITIES[contract.entity].kind != "entities"
        and 0 < len(files) <= _MOST_FILES
        and len(groups(files)) == 1
        and not any(batch.duplicate for batch in committed[-_LOOKED_BACK:])
    )


def read_at_once(checker: Checker, files: list[Inspected], loaded: Loaded, path: Path, stamp: Stamp) -> Read | None:
    """Read the files in one pass; None when they have to be read by a table, over a fresh connection.

    What cannot be read is said by whoever reads it again. Raises duckdb.Error for what the machine lacks.
    """
    is_csv = checker.contract.format.type == "csv"
    lines = [Rows(file.file.name, max(file.lines - 1, 0), 2 if is_csv else 1) for file in files]
    if any(r.on_missing != "warn" and not loaded.known.get(r.entity) for r in checker.contract.references):
        return None
    try:
        arrive(checker.connection, files, checker.contract)
        rows = write_while_reading(checker, loaded.known, lines, path, stamp)
    except (duckdb.DataError, duckdb.InvalidInputException):  # of the files, or of too many bad rows in them
        return None
    if is_csv and checker.connection.execute("select count(*) from errors_0").fetchone() != (0,):
        return None
    if not every_line_is_a_row(checker, lines) or not every_reference_is_known(checker):
        return None
    if has_repeated(checker, loaded.own):
        return None
    staged = [StagedFile(file, one.count, 0) for file, one in zip(files, lines, strict=True)]
    return Read(checker, staged, Written(path, stamp, rows))
