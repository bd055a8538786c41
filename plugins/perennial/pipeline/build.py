"""The build and publication of a day: raw -> dbt, tested -> an immutable version that readers open (L5)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from perennial.contracts.records import DayRun, StepReport
from perennial.core.errors import ContractViolation, Overtaken, Problem
from perennial.core.settings import Settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.export import ledger_tables, raw_files, unfinished_versions
from perennial.ledger.runs import advance, overtaken_by
from perennial.pipeline.build_reports import read_report, report_built
from perennial.pipeline.changes import build_digest, plan_build
from perennial.pipeline.identity import log_changes, resolve
from perennial.pipeline.transform import Outcome, dbt_variables, project_digest, published_specs, run_dbt
from perennial.pipeline.turns import WAREHOUSE_BUILD, turn
from perennial.warehouse.build_db import TableSpec
from perennial.warehouse.engine import (
    clear_out,
    last_record,
    mark_built,
    prepare_build,
    publish_marts,
    require_built,
    take_training,
)

# Published as they are, so that everyone can see that nothing is lost (L1).
_LEDGER_TABLES = (
    TableSpec("ledger_batch_files", "raw", key=("batch_id", "name")),
    TableSpec("ledger_batches", "raw", key=("batch_seq",)),
    TableSpec("ledger_gate_results", "raw", key=("batch_id", "rule")),
    TableSpec("ledger_quarantine_actions", "raw", key=("batch_id", "file", "line")),
    TableSpec("ledger_runs", "raw", key=("as_of", "revision")),
    TableSpec("ledger_source_columns", "raw", key=("source", "source_entity", "column_name")),
)


def build(
    settings: Settings,
    run: DayRun,
    *,
    select: str | None = None,
    extra_vars: dict[str, Any] | None = None,
    full: bool = False,
) -> StepReport:
    """Build and test the run's tables: rows by published table (our own count), seconds by model, warnings as notes.

    What the last complete build left is changed where that gives the same, else all is built (`pipeline.changes`);
    `full` asks for the latter. `select` builds a part (dbt's syntax) for people who work on models; only a whole build
    can be published. Raises ContractViolation when a model or a test fails: what was published before stays as it is.
    """
    with turn(settings, WAREHOUSE_BUILD):
        return _build(settings, run, select, extra_vars or {}, full=full)


def _build(
    settings: Settings, run: DayRun, select: str | None, extra_vars: dict[str, Any], *, full: bool
) -> StepReport:
    started = time.perf_counter()
    engine = open_ledger(settings)
    files = raw_files(engine, run, settings.home)
    variables = {**dbt_variables(settings, run.as_of, [run.as_of]), **extra_vars}
    digest = build_digest(settings, project_digest(settings), variables)
    change = plan_build(settings, run, last_record(settings, run), digest, part=select is not None, full=full)
    prepare_build(settings, run, raw_files=files, ledger=ledger_tables(engine, run), change=change)
    prepared = time.perf_counter()
    resolve(settings, run)
    seconds = {
        "prepare": round(prepared - started, 3),
        "identity": round(time.perf_counter() - prepared, 3),
    }
    variables |= change.variables
    options = () if change.mode == "change" else ("--full-refresh",)
    outcome = run_dbt(settings, run, "build", variables, select=select, options=options)
    rows: dict[str, int] = {}
    if select is None:
        rows = mark_built(settings, run, [*published_specs(outcome.manifest), *_LEDGER_TABLES])
        advance(engine, run.run_id, "built")
        report_built(settings, run, {**_told(settings, outcome, variables), "rows": rows})
    return StepReport(run.run_id, run.as_of, "build", rows, {**seconds, **outcome.seconds}, outcome.warnings)


def _told(settings: Settings, outcome: Outcome, variables: dict[str, Any]) -> dict[str, Any]:
    """What people are told of the build (build_reports)."""
    previous = variables.get("previous_as_of")
    return {
        "mode": "change" if previous else "full",
        "previous_as_of": previous,
        "project": project_digest(settings),
        "tests": outcome.tests,
        "warnings": list(outcome.warnings),
        "seconds": outcome.seconds,
    }


def publish(settings: Settings, run: DayRun) -> StepReport:
    """Publish the run's tested tables and addresses, and remove versions that nobody needs any more.

    Raises ContractViolation when the build is another run's, is unfinished, or would publish personal data; Overtaken
    when it is gone because a newer run took its place.
    """
    started = time.perf_counter()
    engine = open_ledger(settings)
    with turn(settings, WAREHOUSE_BUILD):
        _require_build(settings, run)
        version_id, rows = publish_marts(settings, run, built_from=_built_from(settings, run))
    advance(engine, run.run_id, "published", version_id=version_id)
    log_changes(settings, run)
    published = time.perf_counter()
    clear_out(settings, keep=unfinished_versions(engine, settings.file.keep_versions))
    seconds = {"publish": round(published - started, 3), "prune": round(time.perf_counter() - published, 3)}
    return StepReport(run.run_id, run.as_of, "publish", rows, seconds, (version_id,))


def _built_from(settings: Settings, run: DayRun) -> dict[str, Any]:
    """What the build told of itself that the published version keeps; nothing of how it was made (L2, L4)."""
    report = read_report(settings, run.run_id) or {}
    return {name: report[name] for name in ("project", "tests", "warnings") if name in report}


def _require_build(settings: Settings, run: DayRun) -> None:
    """Raises Overtaken when the run's build is not there and a newer run is, ContractViolation when there is none."""
    try:
        require_built(settings, run)
    except ContractViolation as error:
        newer = overtaken_by(open_ledger(settings), run)
        if newer is None:
            raise
        problem = f"{newer.run_id} took the place of this run, and its build is gone; nothing of it would be sent"
        fix = f"nothing to do; `perennial run --as-of {run.as_of}` computes the day again for comparing"
        raise Overtaken(Problem(run.run_id, problem, fix)) from error


def build_features(settings: Settings, run: DayRun, dates: Sequence[date]) -> None:
    """Build `client_features` and `client_labels` for many dates beside the run's build.

    They go to the schema `training`, from the same models and parents as the day's (L3); what the day publishes is not
    touched. Raises ContractViolation when the run is not built, or for a date after it; Overtaken as `publish` does.
    """
    with turn(settings, WAREHOUSE_BUILD):
        _build_features(settings, run, dates)


def _build_features(settings: Settings, run: DayRun, dates: Sequence[date]) -> None:
    late = [day.isoformat() for day in dates if day > run.as_of]
    if late:
        problem = f"features of {', '.join(late)} would be made from days that run {run.run_id} does not know"
        raise ContractViolation(Problem("client_features", problem, f"ask for dates up to {run.as_of}"))
    _require_build(settings, run)
    variables = {**dbt_variables(settings, run.as_of, sorted(set(dates))), "training": True}
    run_dbt(settings, run, "run", variables, select="client_features client_labels")


def training_features(
    settings: Settings, run: DayRun, dates: Sequence[date], *, max_clients: int | None = None
) -> pa.Table:
    """Features and labels of every client on each date, ordered by client and date.

    All columns of `client_features`, then those of `client_labels`. `max_clients` takes a sample of so many clients,
    the same whenever the clients are the same: it bounds the memory (L26).
    """
    with turn(settings, WAREHOUSE_BUILD):
        _build_features(settings, run, dates)
        return take_training(settings, run, max_clients)
