"""One batch: the files of one source entity that settled together, from the landing zone to raw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import sqlalchemy as sa

from perennial.contracts.entities import ENTITIES, EntityName
from perennial.contracts.records import BatchReport, BatchState
from perennial.contracts.sources import Source, SourceEntity
from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import place
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.ledger import batches, consents
from perennial.ledger.batches import BatchFile, KnownFile
from perennial.ledger.gate import record_columns, record_results
from perennial.pipeline.before import before, date_in
from perennial.pipeline.misread import settings_for
from perennial.pipeline.onepass import Loaded, Read, may_be_read_at_once, read_at_once
from perennial.pipeline.recording import Places, Recorder
from perennial.pipeline.revival import Revival, find_revived, keep_repeats
from perennial.pipeline.sorting import Sorted, copies_of, date_of, sort_out
from perennial.pipeline.superseded import settle, superseded_rows
from perennial.pipeline.told import warnings_of
from perennial.quality.checking import Checker, Counts
from perennial.quality.duplicates import BEHIND_ALL, mark_duplicates
from perennial.quality.gate import Gate, Verdict
from perennial.quality.quarantine import first_reasons, make_quarantined, write_quarantine
from perennial.quality.raw import Stamp, consent_events, write_raw
from perennial.sources.inspection import Inspected, inspect
from perennial.sources.landing import LandedFile
from perennial.sources.quotation import swallowed
from perennial.sources.shelf import carry_out, to_archive, to_refused
from perennial.sources.staging import arrive, open_scratch, unreadable
from perennial.sources.staging import settle as settle_rows


@dataclass(frozen=True)
class Judged:
    """A batch that is checked and judged, and not yet written down."""

    batch_id: str
    as_of: date | None
    files: tuple[BatchFile, ...]
    counts: Counts
    copied: int  # rows of files whose content is known
    verdict: Verdict
    drift: tuple[str, ...]
    warnings: tuple[str, ...]
    reasons: tuple[str, ...]


def clear_scratch(settings: Settings, source: str) -> Path:
    """The folder in which a source's ingestion works, without what one that was killed left in it."""
    folder = settings.home / "tmp" / f"ingest-{source}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


class Intake:
    """Takes the settled files of one source entity."""

    def __init__(self, ledger: Recorder, gate: Gate, source: Source, contract: SourceEntity) -> None:
        self.ledger = ledger
        self.gate = gate
        self.source = source
        self.contract = contract
        self.settings = ledger.settings

    def take(self, files: Sequence[LandedFile]) -> list[BatchReport]:
        """One report for the batch, and one for each file that was refused on its own.

        Nothing is taken when a file is changed or taken away while it is read: it is not whole yet.
        """
        with self._scratch() as scratch:
            try:
                inspected = [inspect(self.settings.landing / f.name, f, self.contract, scratch / "in") for f in files]
            except FileNotFoundError:
                return []
            if not self._unchanged(files):
                return []
            found = self._sort(inspected)
            self._archive(found.finished)
            with self._read(found, scratch) as read:
                reports = [self._refuse(one) for one in found.broken]
                if found.taken:
                    reports += self._take_batch(read, found, scratch)
        return reports

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = clear_scratch(self.settings, self.ledger.source)
        for name in ("in", "spill", "out"):
            (folder / name).mkdir(parents=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def _unchanged(self, files: Sequence[LandedFile]) -> bool:
        for file in files:
            try:
                status = (self.settings.landing / file.name).lstat()
            except FileNotFoundError:
                return False
            if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
                return False
        return True

    def _sort(self, inspected: Sequence[Inspected]) -> Sorted:
        """Each file's place: broken, committed already, the same as another one, or fresh."""
        known: dict[str, list[KnownFile]] = {}
        for committed in batches.known_files(self.ledger.engine, (file.sha256 for file in inspected)):
            known.setdefault(committed.sha256, []).append(committed)
        found, seen = Sorted(), dict[tuple[str, date | None], Inspected]()
        for one in inspected:
            said = (one.sha256, self._says_of(one.file.file_date))
            same = [
                k for k in known.get(one.sha256, []) if self._says_of(date_in(self.contract.path, k.name)) == said[1]
            ]
            if one.problem is not None:
                found.broken.append(one)
            elif any(k.name == one.file.name for k in same) and not (self.settings.archive / one.file.name).exists():
                found.finished.append(one)
            elif same:
                found.again.append((one, same[0]))
            elif said in seen:
                found.twins.append((one, seen[said]))
            else:
                seen[said] = one
                found.fresh.append(one)
        return found

    def _says_of(self, file_date: date | None) -> date | None:
        """The date that a file's content is about, as far as it is part of the content.

        A snapshot with the bytes of an earlier one says that all is again as it was then. Documents and events bear
        their own dates: the same bytes under another date are the same file, renamed.
        """
        return file_date if ENTITIES[self.contract.entity].kind == "entities" else None

    def _archive(self, files: Sequence[Inspected]) -> None:
        for move in to_archive(self.settings, [one.file for one in files]):
            carry_out(self.settings, move)

    @contextmanager
    def _read(self, found: Sorted, scratch: Path) -> Iterator[Read]:
        """The rows of the fresh files, judged, in a scratch database; what DuckDB cannot read is sorted as broken."""
        with ExitStack() as stack:
            if read := self._read_at_once(stack, found, scratch):
                yield read
                return
            connection = stack.enter_context(open_scratch(scratch / "spill"))
            try:
                checker = self._judged_rows(connection, found)
                problems = swallowed(connection, found.fresh, self.contract)
            except (duckdb.IOException, duckdb.OutOfMemoryException):
                raise  # of the machine, not of a file: nothing is refused
            except duckdb.Error as error:
                connection.close()
                problems = self._unreadable(found, scratch, error)
            if problems:
                connection.close()
                sort_out(found, problems)
                yield stack.enter_context(self._read(found, scratch))  # anew, without them
                return
            staged = settle_rows(connection, found.fresh, self.contract)
            checker.settle()
            mark_duplicates(checker, self._raw_paths(self.contract.entity, source=self.ledger.source))
            yield Read(checker, staged)

    def _read_at_once(self, stack: ExitStack, found: Sorted, scratch: Path) -> Read | None:
        committed = batches.committed(self.ledger.engine, source=self.ledger.source, entity=self.contract.entity)
        if not may_be_read_at_once(found.fresh, self.contract, committed):
            return None
        stamp = self._stamp(self._batch_id(found.taken), batches.next_seq(self.ledger.engine))
        loaded = Loaded(self._known(), [str(self.settings.home / batch.raw_path) for batch in committed])
        connection = stack.enter_context(open_scratch(scratch / "spill"))
        checker = self._checker(connection, found)
        read = read_at_once(checker, found.fresh, loaded, scratch / "out" / "read.parquet", stamp)
        if read is None:
            connection.close()
        return read

    def _stamp(self, batch_id: str, batch_seq: int) -> Stamp:
        return Stamp(self.ledger.source, batch_id, batch_seq)

    def _checker(self, connection: duckdb.DuckDBPyConnection, found: Sorted) -> Checker:
        odd = any(one.odd_spaces for one in found.fresh)
        plain, zone = all(one.is_plain for one in found.fresh), self.settings.company.zone
        return Checker(connection, self.source, self.contract, zone, odd_spaces=odd, is_plain=plain)

    def _known(self) -> dict[EntityName, list[str]]:
        return {reference.entity: self._raw_paths(reference.entity) for reference in self.contract.references}

    def _judged_rows(self, connection: duckdb.DuckDBPyConnection, found: Sorted) -> Checker:
        arrive(connection, found.fresh, self.contract)
        checker = self._checker(connection, found)
        checker.judge_arriving(self._known())
        return checker

    def _unreadable(self, found: Sorted, scratch: Path, error: duckdb.Error) -> dict[str, Problem]:
        reasons = unreadable(found.fresh, self.contract, scratch / "spill")
        if not reasons:
            raise error
        fix = "export the file again"
        return {name: Problem(name, f"the content cannot be read: {said}", fix) for name, said in reasons.items()}

    def _refuse(self, one: Inspected) -> BatchReport:
        problem = one.problem or Problem(one.file.name, "cannot be read")
        return self.ledger.refuse_file(one.file, one.sha256, problem, landed=max(one.lines - 1, 0))

    def _take_batch(self, read: Read, found: Sorted, scratch: Path) -> list[BatchReport]:
        judged = self._judge(read, found)
        if not self._unchanged([one.file for one in found.taken]):
            return []
        if judged.verdict.refused:
            return [self._refuse_batch(read.checker, judged, found, scratch)]
        return [self._commit(read, judged, found, scratch)]

    def _raw_paths(self, entity: EntityName, source: str | None = None) -> list[str]:
        committed = batches.committed(self.ledger.engine, source=source, entity=entity)
        return [str(self.settings.home / batch.raw_path) for batch in committed]

    def _judge(self, read: Read, found: Sorted) -> Judged:
        checker, staged = read.checker, read.staged
        landed = {one.file.file.name: one.landed for one in staged}
        copies = {one.file.name: known.landed for one, known in found.again}
        copies |= {twin.file.name: landed[first.file.name] for twin, first in found.twins}
        counts, copied = read.counts(), sum(copies.values())
        self._assert_nothing_is_lost(counts, sum(landed.values()))
        landed |= copies
        batch_id = self._batch_id(found.taken)
        as_of = date_of(found, counts)
        name = f"{self.ledger.source}.{self.ledger.source_entity}"
        known = before(self.ledger.engine, self.ledger.source, self.ledger.source_entity, self.contract)
        verdict = Verdict(refused=False)
        if staged:
            rules = known.rules([(one.file.file_date, landed[one.file.name]) for one in found.taken], as_of)
            verdict = self.gate.judge(checker, counts, name=name, batch_id=batch_id, as_of=as_of, history=rules)
        drift = known.drift(checker, counts, [(one.file.file.name, one.file.header) for one in staged])
        reasons: list[str] = []
        if counts.quarantined:
            make_quarantined(checker)
            reasons = [*settings_for(checker), *first_reasons(checker)]
        return Judged(
            batch_id=batch_id,
            as_of=as_of,
            files=tuple(BatchFile(o.file.name, o.sha256, o.file.size, landed[o.file.name]) for o in found.taken),
            counts=counts,
            copied=copied,
            verdict=verdict,
            drift=tuple(drift),
            warnings=(*verdict.warnings, *drift, *warnings_of(counts, copies_of(found, landed))),
            reasons=tuple(reasons),
        )

    def _assert_nothing_is_lost(self, counts: Counts, landed: int) -> None:
        accounted = counts.good + counts.quarantined + counts.duplicate
        if accounted != landed:
            where = f"{self.ledger.source}.{self.ledger.source_entity}"
            raise ContractViolation(Problem(where, f"{landed} rows landed, {accounted} are accounted for (L1)"))

    def _batch_id(self, files: Sequence[Inspected]) -> str:
        """A digest of the files; the same files once more, behind their own batch, make a batch of their own."""
        parts = [self.ledger.source, self.ledger.source_entity]
        for one in sorted(files, key=lambda one: (one.file.name, one.sha256)):
            parts += [one.file.name, one.sha256]
        batch_id, times = digest_of(parts), 1
        while batches.state_of(self.ledger.engine, batch_id) == "committed":
            times += 1
            batch_id = digest_of([*parts, f"delivered {times} times"])
        return batch_id

    def _report(self, judged: Judged, state: BatchState, batch_id: str) -> BatchReport:
        counts, refused = judged.counts, state == "refused"
        loaded, duplicate = counts.good, counts.duplicate + judged.copied
        return BatchReport(
            batch_id=batch_id,
            source=self.ledger.source,
            entity=self.ledger.source_entity,
            as_of=judged.as_of,
            state=state,
            files=tuple(file.name for file in judged.files),
            landed=loaded + counts.quarantined + duplicate,
            loaded=0 if refused else loaded,
            quarantined=counts.quarantined,
            duplicate=duplicate,
            guests=0 if refused else counts.guests,
            warnings=(*judged.warnings, *(() if refused else judged.reasons)),
            reasons=(*judged.verdict.reasons, *judged.drift, *judged.reasons) if refused else (),
            quarantined_by_rule={c.rule: c.bad for c in counts.profile if c.bad and not c.only_warns},
        )

    def _commit(self, read: Read, judged: Judged, found: Sorted, scratch: Path) -> BatchReport:
        checker, counts, source = read.checker, judged.counts, self.ledger.source
        raw = self.settings.raw / self.contract.entity / f"{judged.batch_id}.parquet"
        revival = self._find_revived(checker, counts)
        numbers: list[int] = []

        def write(batch_seq: int) -> Places:
            numbers.append(batch_seq)
            part = scratch / "out" / "raw.parquet"
            rows = write_raw(checker, part, self._stamp(judged.batch_id, batch_seq), written=read.written)
            if rows != counts.good:
                where = f"{source}.{self.ledger.source_entity}"
                raise ContractViolation(Problem(where, f"{counts.good} rows are good, {rows} were written (L1)"))
            place(part, raw)
            keep_repeats(checker, scratch / "out", raw, batch_seq=batch_seq, duplicates=counts.duplicate)
            revival.write(scratch / "out", judged.batch_id)
            dates = (counts.first_business_date, counts.last_business_date)
            return Places(self._relative(raw), self._write_quarantine(checker, counts, judged.batch_id, scratch), dates)

        again = {one.file.name for one in found.fresh}
        settled = superseded_rows(self.settings, f"{source}.{self.ledger.source_entity}", self.contract, again)

        def append(connection: sa.Connection) -> None:
            record_results(connection, judged.batch_id, judged.verdict.results)
            self._record_columns(connection, found, judged.batch_id)
            settle(connection, settled, judged.batch_id)
            revival.record(connection, report, numbers[-1])
            if self.contract.entity == "consents":
                consents.append_events(connection, consent_events(checker.connection), source=source)

        moves = to_archive(self.settings, [one.file for one in found.taken])
        report = self._report(judged, "committed", judged.batch_id)
        return self.ledger.record(report, judged.files, moves, write=write, also=append)

    def _find_revived(self, checker: Checker, counts: Counts) -> Revival:
        committed = batches.committed(self.ledger.engine, source=self.ledger.source, entity=self.contract.entity)
        first = counts.first_business_date
        return find_revived(self.settings, checker, committed, first_date=first, seq=BEHIND_ALL)

    def _record_columns(self, connection: sa.Connection, found: Sorted, batch_id: str) -> None:
        named = self.contract.source_columns
        columns = dict.fromkeys(column for one in found.fresh for column in one.header if column)
        ours = ((column, column in named) for column in columns)
        record_columns(connection, self.ledger.source, self.ledger.source_entity, batch_id, ours)

    def _refuse_batch(self, checker: Checker, judged: Judged, found: Sorted, scratch: Path) -> BatchReport:
        """The whole batch is set aside; its bad rows are kept in quarantine, so that one sees what was wrong."""
        batch_id = digest_of(["refused", judged.batch_id])
        report = self._report(judged, "refused", batch_id)
        name = f"{self.ledger.source}.{self.ledger.source_entity}"
        problem = Problem(name, "\n".join(report.reasons), "correct the rows at the source and land all files again")
        moves = to_refused(self.settings, [(one.file, problem) for one in found.taken])

        def write(_batch_seq: int) -> Places:
            return Places(None, self._write_quarantine(checker, judged.counts, batch_id, scratch))

        def append(connection: sa.Connection) -> None:
            record_results(connection, batch_id, judged.verdict.results)

        return self.ledger.record(report, judged.files, moves, write=write, also=append)

    def _write_quarantine(self, checker: Checker, counts: Counts, batch_id: str, scratch: Path) -> str | None:
        if not counts.quarantined:
            return None
        part = scratch / "out" / "quarantine.parquet"
        target = self.settings.quarantine / self.contract.entity / f"{batch_id}.parquet"
        rows = write_quarantine(checker, part)
        if rows != counts.quarantined:
            where = f"{self.ledger.source}.{self.ledger.source_entity}"
            raise ContractViolation(Problem(where, f"{counts.quarantined} rows are bad, {rows} were written (L1)"))
        place(part, target)
        return self._relative(target)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.settings.home).as_posix()
