"""Duplicates that hold again behind late rows, as a batch of their own beside the batch that brought those rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import sqlalchemy as sa

from perennial.contracts.records import BatchReport
from perennial.core.files import place
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.ledger import batches
from perennial.ledger.batches import CommittedBatch
from perennial.quality.checking import Checker
from perennial.quality.repeats import SUFFIX, has_repeats, make_revived, write_repeats, write_revived


@dataclass(frozen=True)
class Revival:
    """So many rows of `checker.connection`'s table `revived`, to be written as a batch."""

    settings: Settings
    checker: Checker
    rows: int

    def write(self, scratch: Path, batch_id: str) -> None:
        """Put the raw file in its place, before the ledger is told."""
        if self.rows:
            revived_id = _id(batch_id)
            write_revived(self.checker.connection, scratch / "revived", batch_id=revived_id)
            place(scratch / "revived", self._path(revived_id))

    def record(self, connection: sa.Connection, report: BatchReport, batch_seq: int) -> None:
        """Write the batch, within the transaction that writes the one of the late rows (`report`, `batch_seq`)."""
        if not self.rows:
            return
        revived_id = _id(report.batch_id)
        said = f"{self.rows:,} rows that were duplicates when they landed hold again, behind those of {report.batch_id}"
        batches.record_batch(
            connection,
            BatchReport(
                batch_id=revived_id,
                source=report.source,
                entity=report.entity,
                as_of=report.as_of,
                state="committed",
                files=(),
                landed=self.rows,
                loaded=self.rows,
                warnings=(said,),
                replays_batch_id=report.batch_id,
            ),
            entity=self.checker.entity.name,
            files=(),
            batch_seq=batch_seq + 1,
            raw_path=self._path(revived_id).relative_to(self.settings.home).as_posix(),
            business_dates=self._dates(),
        )

    def _path(self, batch_id: str) -> Path:
        return self.settings.raw / self.checker.entity.name / f"{batch_id}.parquet"

    def _dates(self) -> tuple[date | None, date | None]:
        row = self.checker.connection.execute("select min(_business_date), max(_business_date) from revived").fetchone()
        return (row[0], row[1]) if row else (None, None)


def _id(batch_id: str) -> str:
    return digest_of(["revived", batch_id])


def find_revived(
    settings: Settings, checker: Checker, committed: list[CommittedBatch], *, first_date: date | None, seq: int
) -> Revival:
    """What holds again behind the good rows in `checked`, the first of which has `first_date`.

    `committed` are the batches of the same source and entity, `seq` the number under which the rows stand in the order
    of versions. Days that arrive in their order find nothing to read here.
    """
    repeats = [
        str(path)
        for batch in committed
        if batch.duplicate
        and first_date is not None
        and (batch.last_business_date or date.min) >= first_date
        and (path := repeats_path(settings.home / batch.raw_path)).exists()
    ]
    if not repeats or not has_repeats(checker.entity):
        return Revival(settings, checker, 0)
    raw_paths = [str(settings.home / batch.raw_path) for batch in committed]
    return Revival(settings, checker, make_revived(checker, raw_paths, repeats, seq=seq))


def keep_repeats(checker: Checker, scratch: Path, raw: Path, *, batch_seq: int, duplicates: int) -> None:
    """Put the places of a batch's duplicates beside its raw file."""
    if duplicates and has_repeats(checker.entity):
        write_repeats(checker, scratch / "repeats", batch_seq=batch_seq)
        place(scratch / "repeats", repeats_path(raw))


def repeats_path(raw: Path) -> Path:
    """Where the places of the duplicates stand that landed with a raw file's rows."""
    return raw.with_suffix(SUFFIX)
