"""From the landing zone to raw: what has settled becomes one batch per source entity, checked and written down.

Every batch is visible completely or not at all (L1): its Parquet is there before its row in the ledger, and that row
is what makes it visible. Killed anywhere, the next ingestion gives the same tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date

import sqlalchemy as sa

from perennial.contracts.records import BatchReport
from perennial.contracts.sources import SourcesFile
from perennial.core.settings import Settings
from perennial.ledger import batches
from perennial.ledger.engine import open_ledger
from perennial.pipeline.intake import Intake, clear_scratch
from perennial.pipeline.machine import machine_told
from perennial.pipeline.recording import Recorder
from perennial.pipeline.turns import turn
from perennial.quality.gate import open_gate
from perennial.sources.config import load_sources
from perennial.sources.events import land_due
from perennial.sources.inspection import checksum_of
from perennial.sources.landing import LandedFile, Look, look, source_of
from perennial.sources.shelf import Journal

NOBODYS = "-"  # stands for the entity in the batch of a file that no entity takes


def ingest(settings: Settings, source: str | None = None, *, until: date | None = None) -> list[BatchReport]:
    """Take everything that has settled in the landing zone, of all sources or of one; one batch per source entity.

    Files whose name has a date after `until` stay where they are. Entities that others refer to come first. A report
    for each batch, refused ones included; `BatchReport.entity` is the entity's key in sources.yml. Raises ConfigError,
    and RetryableError where the machine refuses (a full disk, a folder that may not be read, a locked ledger).
    """
    sources = load_sources(settings)
    names = list(sources.sources) if source is None else [source]
    for name in names:
        source_of(settings, sources, name)
    reports: list[BatchReport] = []
    with machine_told(settings), ExitStack() as stack:
        engine = open_ledger(settings)
        for name in sorted(names):
            stack.enter_context(turn(settings, f"ingest-{name}"))
            _finish_moves(settings, engine, name)
            clear_scratch(settings, name)
        gate = stack.enter_context(open_gate(settings.data_docs))
        for name in names:
            land_due(settings, name, sources.sources[name])  # events that were received, and whose writer may be gone
        found = {name: look(settings, name) for name in names}
        for name in names:
            reports += _refuse_strays(settings, engine, name, found[name])
        for name, entity in _in_order(sources, names):
            files = [file for file in found[name].ready.get(entity, []) if _is_due(file, until)]
            if files:
                contract = sources.sources[name].entities[entity]
                ledger = Recorder(settings, engine, name, entity, contract.entity)
                reports += Intake(ledger, gate, sources.sources[name], contract).take(files)
    return reports


def _is_due(file: LandedFile, until: date | None) -> bool:
    return until is None or file.file_date is None or file.file_date <= until


def _finish_moves(settings: Settings, engine: sa.Engine, source: str) -> None:
    """What an ingestion that was killed had written down and not yet moved."""
    journal = Journal(settings, source)
    for batch_id in journal.planned():
        if batches.state_of(engine, batch_id) is None:
            journal.forget(batch_id)
        else:
            journal.carry_out(batch_id)


def _in_order(sources: SourcesFile, names: Sequence[str]) -> list[tuple[str, str]]:
    """The source entities of the named sources; those that others refer to before them, else as in sources.yml."""
    everything = [(name, entity) for name in names for entity in sources.sources[name].entities]
    ordered: dict[tuple[str, str], None] = {}

    def visit(item: tuple[str, str], above: frozenset[tuple[str, str]]) -> None:
        contract = sources.sources[item[0]].entities[item[1]]
        needed = {reference.entity for reference in contract.references}
        for other in everything:
            if other not in above and sources.sources[other[0]].entities[other[1]].entity in needed:
                visit(other, above | {item})
        ordered.setdefault(item)

    for item in everything:
        visit(item, frozenset({item}))
    return list(ordered)


def _refuse_strays(settings: Settings, engine: sa.Engine, source: str, found: Look) -> Iterator[BatchReport]:
    for file, problem in found.strays:
        ledger = Recorder(settings, engine, source, NOBODYS, NOBODYS)
        checksum = checksum_of(settings.landing / file.name)
        yield ledger.refuse_file(file, checksum, problem, landed=0)
