"""Quarantined rows once more through the gate: corrected by hand, or as they are under a corrected contract.

What comes back is a batch of its own (`replays_batch_id`) with the rows' own file, line and business date. Its rows
take the place in the order of versions that they would have had if they had been good: their `_batch_seq` is that of
the batch that they landed with. So a line joins the other lines of its order's delivery (documents replace whole
deliveries, never parts of one), a record stays behind later ones, and a delivery that came meanwhile goes on holding.

A row that is still bad as it was stays where it is. One that is bad in another way moves to the quarantine of the
replay, with its new values and reasons. Each row that the replay took has its action in the ledger, written with the
batch in one transaction: killed anywhere and done again, a row is loaded once (L1).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlalchemy as sa

from perennial.contracts.entities import EntityName
from perennial.contracts.records import BatchReport
from perennial.contracts.sources import Limits, Source, SourceEntity
from perennial.core.errors import BatchRefused, ConfigError, ContractViolation, Problem
from perennial.core.files import place
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.ledger import batches, consents
from perennial.ledger.engine import open_ledger
from perennial.ledger.gate import record_results
from perennial.ledger.quarantine import Key, SetAside, files_of, record_actions
from perennial.pipeline.corrected import Corrections, read_corrections
from perennial.pipeline.quarantine import Selection, waiting_rows
from perennial.pipeline.recording import Places, Recorder
from perennial.pipeline.revival import find_revived
from perennial.pipeline.turns import turn
from perennial.quality.checking import Checker, Counts
from perennial.quality.gate import Gate, Verdict, open_gate
from perennial.quality.quarantine import first_reasons, make_quarantined, write_quarantine
from perennial.quality.raw import Stamp, consent_events, write_raw
from perennial.quality.rules import STRUCTURE
from perennial.sources.config import load_sources

_NO_LIMITS = Limits(warn=1, stop=1)  # they were counted against the limits when they were set aside


@dataclass(frozen=True)
class Replayed:
    """What became of one batch's waiting rows. `batch` is None when no row could be taken back.

    `unchanged` rows are as bad as before and wait where they were; `settled` rows of the corrected file had been
    replayed or dropped before.
    """

    origin: str
    batch: BatchReport | None
    unchanged: int = 0
    settled: int = 0
    reasons: tuple[str, ...] = ()


def replay(settings: Settings, chosen: Selection, *, corrected: Path | None = None, by: str) -> list[Replayed]:
    """Take the waiting rows back that are good now; one batch for each batch that had set some aside.

    With `corrected`, an export that a person has edited, its rows and values; without, all waiting rows of the
    selection as they landed, under the present contract. Raises BatchRefused for a file that is no such export,
    ContractViolation for batches that were refused as a whole, ConfigError when sources.yml has the entity no more.
    """
    for one in chosen.batches:
        if one.state == "refused":
            raise ContractViolation(_land_again(settings, one))
    given = read_corrections(corrected, chosen) if corrected is not None else None
    with open_gate(settings.data_docs) as gate:
        return [
            _replay_batch(settings, gate, one, given, by)
            for one in chosen.batches
            if given is None or one.batch_id in given.batch_ids
        ]


def _land_again(settings: Settings, one: SetAside) -> list[Problem]:
    problems = []
    for name in files_of(open_ledger(settings), one.batch_id) or [one.name]:
        shelf = settings.refused / name
        where = shelf.relative_to(settings.home).as_posix() if shelf.exists() else name
        said = f"batch {one.batch_id} was refused as a whole: its good rows are not loaded either"
        problems.append(Problem(where, said, f"mend the file, or the contract, and land it again as landing/{name}"))
    return problems


def _replay_batch(settings: Settings, gate: Gate, one: SetAside, given: Corrections | None, by: str) -> Replayed:
    source, contract = _contract(settings, one)
    engine = open_ledger(settings)
    with turn(settings, f"ingest-{one.source}"), waiting_rows(settings, one) as connection:
        settled = _make_taken(connection, one, given)
        _make_landed(connection, contract)
        checker = Checker(connection, source, contract, settings.company.zone)
        known = {r.entity: _raw_paths(settings, engine, r.entity) for r in contract.references}
        checker.check(known)
        _make_again(checker, _raw_paths(settings, engine, contract.entity, source=one.source))
        make_quarantined(checker)
        unchanged, reasons = _leave_unchanged(checker)
        keys = _taken_keys(connection)
        if not keys:
            return Replayed(one.batch_id, None, unchanged, settled, reasons)
        report = _commit(_Replay(settings, engine, gate, one, checker, by), keys)
        return Replayed(one.batch_id, report, unchanged, settled, (*report.reasons, *reasons))


def _contract(settings: Settings, one: SetAside) -> tuple[Source, SourceEntity]:
    """The present contract, its limits apart."""
    source = load_sources(settings).sources.get(one.source)
    contract = source.entities.get(one.source_entity) if source else None
    if source is None or contract is None or contract.entity != one.entity:
        said = f"{one.name} is no longer the source entity of {one.entity} that set these rows aside"
        raise ConfigError(Problem("sources.yml", said, "put it back, or drop the rows"))
    return source, contract.model_copy(update={"limits": _NO_LIMITS})


def _raw_paths(settings: Settings, engine: sa.Engine, entity: EntityName, source: str | None = None) -> list[str]:
    committed = batches.committed(engine, source=source, entity=entity)
    return [str(settings.home / batch.raw_path) for batch in committed]


def _make_taken(connection: duckdb.DuckDBPyConnection, one: SetAside, given: Corrections | None) -> int:
    """`taken`: file, line, business date and raw values of the rows that go through the gate now.

    Gives how many rows of the corrected file are no longer waiting.
    """
    columns = "file varchar, line bigint, business_date date, raw varchar"
    connection.execute(f"create table taken ({columns})")
    if given is None:
        connection.execute(f"""
            insert into taken select _file, _line, _business_date, raw from waiting
            where not list_contains(rules, {literal(STRUCTURE)})
        """)
        return 0
    given.load_into(connection, one.batch_id)
    connection.execute("""
        insert into taken
        select waiting._file, waiting._line, waiting._business_date, corrected.raw
        from corrected inner join waiting on corrected.file = waiting._file and corrected.line = waiting._line
        where corrected.raw is not null
    """)
    unknown = connection.execute("""
        select corrected.at_line, corrected.file, corrected.line from corrected
        anti join waiting on corrected.file = waiting._file and corrected.line = waiting._line
        anti join settled on corrected.file = settled.file and corrected.line = settled.line
        order by corrected.at_line
    """).fetchall()
    if unknown:
        fix = "keep _batch, _file and _line as they were exported; land rows that are new in a file of their own"
        raise BatchRefused(
            [
                Problem(f"{given.name}:{at}", f"{one.batch_id} has not set aside {file}:{line}", fix)
                for at, file, line in unknown[:5]
            ]
        )
    return _count(connection, "corrected semi join settled on corrected.file = settled.file"
                              " and corrected.line = settled.line")  # fmt: skip


def _make_landed(connection: duckdb.DuckDBPyConnection, contract: SourceEntity) -> None:
    """The view and the table that staging makes of files (sources.staging), from `taken`."""
    sources: dict[str, str | None] = {name: column.source for name, column in contract.columns.items()}
    sources["version"] = contract.version
    sources["deleted"] = contract.deleted.column if contract.deleted else None
    texts = ", ".join(f"{_value(source)} as {name}" for name, source in sources.items())
    without = ", ".join(f"{literal(source)}, null" for source in sorted({s for s in sources.values() if s}))
    connection.execute(f"""
        create table landed as
        select
            (dense_rank() over (order by file) - 1)::integer as file_no, file, business_date as file_date, line,
            {texts},
            nullif(json_merge_patch(raw, json_object({without}))::varchar, '{{}}') as extra
        from taken
    """)
    connection.execute("""
        create table rejected
        (file_no integer, file varchar, file_date date, line bigint, kind varchar, raw varchar)
    """)


def _value(source: str | None) -> str:
    """SQL for a column's value as text; the name goes as a JSON pointer, in which only two characters are special."""
    if source is None:
        return "null::varchar"
    return f"json_extract_string(raw, {literal('/' + source.replace('~', '~0').replace('/', '~1'))})"


def _make_again(checker: Checker, raw_paths: list[str]) -> None:
    """An event that was delivered well meanwhile is a duplicate; the order of versions decides about all else."""
    if checker.entity.kind != "events" or not raw_paths:
        return
    key = ", ".join(checker.entity.key)
    same = " and ".join(f"checked.{name} is not distinct from known.{name}" for name in checker.entity.key)
    paths = ", ".join(literal(path) for path in raw_paths)
    checker.connection.execute(f"""
        update checked set duplicate = true
        from (select distinct {key} from read_parquet([{paths}])) as known
        where checked.broken = 0 and {same}
    """)


def _leave_unchanged(checker: Checker) -> tuple[int, tuple[str, ...]]:
    """Take the rows out that are bad as they were. Gives their number and the first few with their reasons."""
    connection = checker.connection
    connection.execute(f"""
        create table unchanged as
        with was as ({_values_of("waiting")}), now_is as ({_values_of("quarantined")})
        select was._file as file, was._line as line
        from was inner join now_is on was._file = now_is._file and was._line = now_is._line
        where was.reasons = now_is.reasons and was.held = now_is.held
    """)
    reasons = tuple(first_reasons(checker))
    connection.execute("delete from checked where (file, line) in (select (file, line) from unchanged)")
    connection.execute("delete from quarantined where (_file, _line) in (select (file, line) from unchanged)")
    return _count(connection, "unchanged"), reasons


def _values_of(table: str) -> str:
    """SQL for the rows of the table with what they hold, whatever the order of the columns; empty ones hold nothing."""
    pair = "each.key || chr(31) || (each.value ->> '$')"
    return f"""
        select _file, _line, any_value(reasons) as reasons, list({pair} order by each.key) as held
        from {table}, json_each({table}.raw) as each
        where (each.value ->> '$') is not null
        group by _file, _line
    """


def _taken_keys(connection: duckdb.DuckDBPyConnection) -> list[Key]:
    rows = connection.execute("select file, line from checked order by file, line").fetchall()
    return [(str(file), int(line)) for file, line in rows]


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    row = connection.execute(f"select count(*) from {relation}").fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True)
class _Replay:
    settings: Settings
    engine: sa.Engine
    gate: Gate
    one: SetAside
    checker: Checker
    by: str

    @property
    def batch_id(self) -> str:
        """A function of what is replayed: the batch, its rows and their values."""
        query = "select file, line::varchar, raw from taken semi join checked using (file, line) order by file, line"
        parts = (text or "" for row in self.checker.connection.execute(query).fetchall() for text in row)
        return digest_of(["replay", self.one.batch_id, *parts])

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for the files of the batch until they are put in their places."""
        folder = self.settings.home / "tmp" / f"replay-{self.one.source}"
        shutil.rmtree(folder, ignore_errors=True)  # of a replay that was killed
        folder.mkdir(parents=True, mode=0o700)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _commit(doing: _Replay, keys: list[Key]) -> BatchReport:
    one, checker = doing.one, doing.checker
    counts, batch_id = checker.counts(), doing.batch_id
    verdict = doing.gate.judge(checker, counts, name=one.name, batch_id=batch_id, as_of=one.as_of)
    report = _report(doing, counts, verdict, batch_id)
    committed = batches.committed(doing.engine, source=one.source, entity=checker.entity.name)
    dated = counts.first_business_date
    revival = find_revived(doing.settings, checker, committed, first_date=dated, seq=one.origin_seq)
    numbers: list[int] = []

    def also(connection: sa.Connection) -> None:
        record_results(connection, batch_id, verdict.results)
        if one.entity == "consents":
            consents.append_events(connection, consent_events(checker.connection), source=one.source)
        record_actions(connection, one.batch_id, keys, "replayed", to_batch_id=batch_id, done_by=doing.by)
        revival.record(connection, report, numbers[-1])

    def write(batch_seq: int) -> Places:
        numbers.append(batch_seq)
        revival.write(folder, batch_id)
        return _write(doing, counts, batch_id, folder)

    with doing.scratch() as folder:
        recorder = Recorder(doing.settings, doing.engine, one.source, one.source_entity, one.entity)
        return recorder.record(report, [], [], write=write, also=also)


def _report(doing: _Replay, counts: Counts, verdict: Verdict, batch_id: str) -> BatchReport:
    rows = counts.good + counts.quarantined + counts.duplicate
    bad = f"{counts.quarantined:,} of them are still bad, in another way, and wait here" if counts.quarantined else ""
    return BatchReport(
        batch_id=batch_id,
        source=doing.one.source,
        entity=doing.one.source_entity,
        as_of=doing.one.as_of,
        state="committed",
        files=(),
        landed=rows,
        loaded=counts.good,
        quarantined=counts.quarantined,
        duplicate=counts.duplicate,
        guests=counts.guests,
        warnings=(
            f"{rows:,} rows from the quarantine of batch {doing.one.batch_id}",
            *verdict.warnings,
            *((bad,) if bad else ()),
        ),
        quarantined_by_rule=_by_rule(counts),
        replays_batch_id=doing.one.batch_id,
    )


def _by_rule(counts: Counts) -> dict[str, int]:
    return {count.rule: count.bad for count in counts.profile if count.bad and not count.only_warns}


def _write(doing: _Replay, counts: Counts, batch_id: str, folder: Path) -> Places:
    """Put the good and the bad rows in their places. The good ones bear the number of the batch they landed with."""
    settings, one, checker = doing.settings, doing.one, doing.checker
    raw = settings.raw / one.entity / f"{batch_id}.parquet"
    written = write_raw(checker, folder / "raw", Stamp(one.source, batch_id, one.origin_seq))
    _require_all(one, counts.good, written)
    place(folder / "raw", raw)
    quarantined: Path | None = None
    if counts.quarantined:
        quarantined = settings.quarantine / one.entity / f"{batch_id}.parquet"
        _require_all(one, counts.quarantined, write_quarantine(checker, folder / "quarantined"))
        place(folder / "quarantined", quarantined)
    raw_path, quarantine_path = (p.relative_to(settings.home).as_posix() if p else None for p in (raw, quarantined))
    return Places(raw_path, quarantine_path, (counts.first_business_date, counts.last_business_date))


def _require_all(one: SetAside, wanted: int, written: int) -> None:
    if wanted != written:
        raise ContractViolation(Problem(one.name, f"{wanted} rows were to be written, {written} were (L1)"))
