"""The day: which business date is complete, what it is computed from, and all its steps in order.

A day D is complete when every `cadence: daily` entity of config/sources.yml has a committed batch with as_of D. The
latest complete day is run; what it is computed from (batches and config) is written down first, in `ledger.runs`, so
that a rerun gives the same tables and lists (L2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from perennial.contracts.records import BatchReport, DayRun, ListReport, StepReport
from perennial.contracts.sources import SourcesFile
from perennial.core import clock
from perennial.core.errors import ContractViolation, PerennialError, PermanentError, Problem, RetryableError
from perennial.core.settings import Settings
from perennial.ledger import runs as ledger_runs
from perennial.ledger.engine import open_ledger
from perennial.ledger.gate import last_committed
from perennial.ledger.tables import batches
from perennial.quality.history import silent_hours
from perennial.sources.config import load_sources
from perennial.sources.landing import LandedFile, look

_SETTLE_MARGIN = 1.0
_SETTLE_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class DayResult:
    """What a whole day did. `run` is None when there was nothing to run; `notes` says why."""

    run: DayRun | None
    batches: tuple[BatchReport, ...] = ()
    steps: tuple[StepReport, ...] = ()
    lists: tuple[ListReport, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def open_day(settings: Settings, as_of: date | None = None) -> DayRun | None:
    """The run of `as_of`, or of the latest complete day; None while no day is complete, or files of it still lie there.

    What lies in the landing zone for the day is waited for, also where the day could do without it: a day that was
    opened between two commits of one delivery would be computed twice.
    A past day that was run before keeps the set of batches that it was run with. Raises ContractViolation (L6) when
    `as_of` is named but not complete, or when a source is older than its contract allows.
    """
    engine = open_ledger(settings)
    recorded = ledger_runs.last_run(engine, as_of) if as_of else None
    if recorded is not None and not recorded.is_latest:
        return recorded
    committed = _committed(engine)
    sources = load_sources(settings)
    latest = _latest_complete_day(committed, sources)
    day = as_of or latest
    if day is None or (as_of is None and _still_landing(settings, sources, day)):
        return None
    if latest is None or day > latest:
        raise ContractViolation(
            [Problem(f"day {day}", waiting, "land it, then run again") for waiting in _missing(committed, sources, day)]
        )
    _refuse_stale(committed, sources, day)
    _refuse_silent(engine, sources)
    wanted = tuple(row.batch_id for row in committed if _known_by(row, day))
    return ledger_runs.open_run(engine, day, wanted, settings.config_digest())


def waiting_for(settings: Settings) -> tuple[str, ...]:
    """What the newest landed day still waits for, one sentence for each entity; empty if nothing."""
    committed = _committed(open_ledger(settings))
    sources = load_sources(settings)
    newest = max((row.as_of for row in committed if row.as_of), default=None)
    if newest is None:
        return ("no file has been landed yet",)
    landing = tuple(f"{name} lies in the landing zone" for name in _still_landing(settings, sources, newest))
    return _missing(committed, sources, newest) + landing


def _committed(engine: sa.Engine) -> Sequence[sa.Row[Any]]:
    query = sa.select(batches).where(batches.c.state == "committed").order_by(batches.c.batch_seq)
    with engine.connect() as connection:
        return connection.execute(query).all()


def _daily_entities(sources: SourcesFile) -> list[tuple[str, str]]:
    return [
        (source_name, entity_name)
        for source_name, source in sources.sources.items()
        for entity_name, entity in source.entities.items()
        if entity.cadence == "daily"
    ]


def _dates_of(committed: Sequence[sa.Row[Any]], source: str, entity: str) -> set[date]:
    return {row.as_of for row in committed if row.source == source and row.source_entity == entity and row.as_of}


def _latest_complete_day(committed: Sequence[sa.Row[Any]], sources: SourcesFile) -> date | None:
    dates = [_dates_of(committed, *entity) for entity in _daily_entities(sources)]
    return max(set.intersection(*dates), default=None) if dates else None


def _missing(committed: Sequence[sa.Row[Any]], sources: SourcesFile, day: date) -> tuple[str, ...]:
    return tuple(
        f"{source}.{entity} has not been landed for {day}"
        for source, entity in _daily_entities(sources)
        if day not in _dates_of(committed, source, entity)
    )


def _known_by(row: sa.Row[Any], day: date) -> bool:
    first = row.first_business_date or row.as_of
    return first is not None and first <= day


def _refuse_stale(committed: Sequence[sa.Row[Any]], sources: SourcesFile, day: date) -> None:
    problems = []
    for source_name, source in sources.sources.items():
        for entity_name, entity in source.entities.items():
            if entity.max_age_days is None:
                continue
            newest = max((d for d in _dates_of(committed, source_name, entity_name) if d <= day), default=None)
            if newest is None or newest < day - timedelta(days=entity.max_age_days):
                problems.append(
                    Problem(
                        f"{source_name}.{entity_name}",
                        f"is of {newest or 'no date'}, more than {entity.max_age_days} days before {day}",
                        "land a newer file, or raise max_age_days in sources.yml",
                    )
                )
    if problems:
        raise ContractViolation(problems)


def _refuse_silent(engine: sa.Engine, sources: SourcesFile) -> None:
    """No list is made from a source that has been silent, by the operational clock, for longer than it may (L6)."""
    committed, now, problems = last_committed(engine), clock.now().replace(tzinfo=None), []
    for source_name, source in sources.sources.items():
        for entity_name, entity in source.entities.items():
            last, limits = committed.get((source_name, entity_name)), entity.freshness
            if last is None or limits is None or limits.stop_hours is None:
                continue
            hours = silent_hours(last, now)
            if hours > limits.stop_hours:
                said = f"nothing has come for {hours:.0f} hours, {limits.stop_hours:g} are the limit"
                fix = "ask the source, or raise freshness.stop_hours in sources.yml"
                problems.append(Problem(f"{source_name}.{entity_name}", said, fix))
    if problems:
        raise ContractViolation(problems)


def _still_landing(settings: Settings, sources: SourcesFile, day: date) -> list[str]:
    """The files of the day, or of an earlier one, that are there but not committed yet."""
    found = [look(settings, name) for name in sources.sources]
    ready = [file.name for each in found for files in each.ready.values() for file in files if _is_until(file, day)]
    return sorted([*ready, *(name for each in found for names in each.waiting.values() for name in names)])


def _is_until(file: LandedFile, day: date) -> bool:
    return file.file_date is None or file.file_date <= day


def unused_batches(settings: Settings, sources: Sequence[str]) -> list[BatchReport]:
    """The committed batches of these sources that no finished run has used yet: what a build would bring in."""
    engine = open_ledger(settings)
    run = ledger_runs.last_run(engine, state="done")
    used = set(run.batch_ids) if run is not None else set()
    return [
        BatchReport(
            batch_id=row.batch_id,
            source=row.source,
            entity=row.source_entity,
            as_of=row.as_of,
            state=row.state,
            files=(),
            landed=row.landed,
            loaded=row.loaded,
            quarantined=row.quarantined,
            duplicate=row.duplicate,
            guests=row.guests,
        )
        for row in _committed(engine)
        if row.source in sources and row.batch_id not in used
    ]


def run_day(settings: Settings, as_of: date | None = None) -> DayResult:
    """Everything, from outside systems and the landing zone to lists, for the latest complete day or for `as_of`.

    A past day is recomputed from what it was computed from, and nothing of it is pushed. A day that is done already,
    with the same batches and config, is left as it is. Outside systems are asked only where no day is named; when one
    cannot be asked, a day that is complete without it is run, and the notes tell. Raises that system's error otherwise.
    """
    from perennial.pipeline.export import export
    from perennial.pipeline.ingest import ingest

    seconds: dict[str, float] = {}
    engine = open_ledger(settings)
    newest = ledger_runs.last_run(engine)
    landed: tuple[BatchReport, ...] = ()
    unasked = _fetch_all(settings, seconds) if as_of is None else []
    if as_of is None or newest is None or as_of >= newest.as_of:
        started = time.perf_counter()
        _await_settled(settings)
        landed = tuple(ingest(settings, until=as_of))
        seconds["ingest"] = time.perf_counter() - started
    run = open_day(settings, as_of)
    if unasked and (run is None or run.state == "done"):
        raise _together(unasked)
    if run is None:
        return DayResult(None, landed, notes=waiting_for(settings), seconds=seconds)
    if run.state == "done" and run.is_latest:
        next_day = (f"the next day waits: {waiting}" for waiting in waiting_for(settings))
        return DayResult(run, landed, notes=(f"nothing new: {run.run_id} is done", *next_day), seconds=seconds)
    steps: list[StepReport] = []
    for name, step in day_steps():
        started = time.perf_counter()
        steps.append(step(settings, run))
        seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
    lists = tuple(export(settings, run))
    seconds["export"] = time.perf_counter() - started
    notes = tuple(f"could not be asked: {problem}" for error in unasked for problem in error.problems)
    return DayResult(ledger_runs.get_run(engine, run.run_id), landed, tuple(steps), lists, notes, seconds)


def _fetch_all(settings: Settings, seconds: dict[str, float]) -> list[PerennialError]:
    """Ask the outside systems, if there are any; what went wrong with those that could not be asked."""
    from perennial.pipeline.fetch import fetch, fetchable

    if not fetchable(settings):
        return []
    started = time.perf_counter()
    reports = fetch(settings)
    seconds["fetch"] = time.perf_counter() - started
    return [report.problem for report in reports if report.problem is not None]


def _together(errors: Sequence[PerennialError]) -> PerennialError:
    """All their problems as one error: one that passes by itself only if all do."""
    problems = [problem for error in errors for problem in error.problems]
    may_pass = all(isinstance(error, RetryableError) for error in errors)
    return RetryableError(problems) if may_pass else PermanentError(problems)


def _await_settled(settings: Settings) -> None:
    """A person who runs the day just after dropping files means those files: wait until they have settled.

    Files that go on changing for longer are left for the next run, as they are in the chain.
    """
    sources = load_sources(settings).sources
    end = time.monotonic() + max((source.settle_seconds for source in sources.values()), default=0.0) + _SETTLE_MARGIN
    while any(_is_unsettled(settings, name) for name in sources) and time.monotonic() < end:
        time.sleep(_SETTLE_POLL_SECONDS)


def _is_unsettled(settings: Settings, source: str) -> bool:
    found = look(settings, source)
    return bool(found.waiting or found.unsettled_strays)


def day_steps() -> list[tuple[str, Callable[[Settings, DayRun], StepReport]]]:
    """The steps between ingestion and export, in order."""
    from perennial.pipeline.build import build, publish
    from perennial.pipeline.measure import measure
    from perennial.pipeline.plan import plan
    from perennial.pipeline.scores import score, train_if_due

    # The plan stands on what was measured until the day, as on the scores.
    learned = [("train", train_if_due), ("score", score), ("measure", measure)]
    return [("build", build), ("publish", publish), *learned, ("plan", plan)]
