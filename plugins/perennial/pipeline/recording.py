"""Writing the fate of a batch down, in the order that survives a kill: files, journal, ledger, moves (L1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from perennial.contracts.entities import EntityName
from perennial.contracts.records import BatchReport
from perennial.core.errors import Problem
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.ledger import batches
from perennial.ledger.batches import BatchFile
from perennial.pipeline.turns import turn
from perennial.sources.landing import LandedFile, shown_name
from perennial.sources.shelf import Journal, Move, to_refused


@dataclass(frozen=True)
class Places:
    """Where a batch's Parquet files were put, relative to the home folder, and the dates of its rows."""

    raw_path: str | None = None
    quarantine_path: str | None = None
    business_dates: tuple[date | None, date | None] = (None, None)


@dataclass(frozen=True)
class Recorder:
    """Writes batches of one source entity into the ledger. `entity` is the canonical one, `-` where there is none."""

    settings: Settings
    engine: sa.Engine
    source: str
    source_entity: str
    entity: EntityName | str

    def record(
        self,
        report: BatchReport,
        files: Sequence[BatchFile],
        moves: list[Move],
        *,
        write: Callable[[int], Places],
        also: Callable[[sa.Connection], None] | None = None,
    ) -> BatchReport:
        """Call `write` with the batch's number, write the row, then move the files. Gives back the report.

        What `also` does is in the same transaction as the row. One batch at a time: its number is in its rows.
        """
        journal = Journal(self.settings, self.source)
        with turn(self.settings, "commit"):
            batch_seq = batches.next_seq(self.engine)
            places = write(batch_seq)
            journal.plan(report.batch_id, moves)
            with self.engine.begin() as connection:
                batches.record_batch(
                    connection,
                    report,
                    entity=self.entity,
                    files=files,
                    batch_seq=batch_seq,
                    raw_path=places.raw_path,
                    quarantine_path=places.quarantine_path,
                    business_dates=places.business_dates,
                )
                if also is not None:
                    also(connection)
        journal.carry_out(report.batch_id)
        return report

    def refuse_file(self, file: LandedFile, checksum: str, problem: Problem, *, landed: int) -> BatchReport:
        """Set one file aside that cannot be read, with its reason beside it and a batch of its own in the ledger."""
        name = shown_name(file.name)
        report = BatchReport(
            batch_id=digest_of(["refused", self.source, self.source_entity, name, checksum]),
            source=self.source,
            entity=self.source_entity,
            as_of=file.file_date,
            state="refused",
            files=(name,),
            landed=landed,
            reasons=(str(problem),),
        )
        files = [BatchFile(name, checksum, file.size, landed)]
        moves = to_refused(self.settings, [(file, problem)])
        return self.record(report, files, moves, write=lambda _seq: Places())
