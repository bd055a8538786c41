"""FULL or CHANGE: whether a day's build may go on from the last complete one, and what has changed since (L4).

A CHANGE stands on tables that another build left, so it is only made of a build by the same models, variables and
engine that saw nothing which this one may not see. Everything else is built whole: that is always right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import sqlalchemy as sa

from perennial.contracts.builds import BuildChange, BuildMode, BuildRecord, BuildState
from perennial.contracts.entities import ENTITIES, EntityName
from perennial.contracts.records import DayRun
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.export import raw_files
from perennial.ledger.tables import batches

LONGEST_CHANGE_DAYS = 40
_MAKERS = ("duckdb", "dbt-core", "dbt-duckdb", "dbt-postgres")
_DATES = ("as_of", "as_of_dates")


def build_digest(settings: Settings, project: str, variables: Mapping[str, Any]) -> str:
    """A digest of what the tables follow from, beside batches and date: models, variables, columns of raw, engine."""
    given = [f"{name}={value!r}" for name, value in sorted(variables.items()) if name not in _DATES]
    columns = [f"{name}:{sorted(entity.columns)}" for name, entity in sorted(ENTITIES.items())]
    engine = "embedded" if settings.warehouse_url is None else "postgres"
    return digest_of([project, engine, *given, *columns, *map(_version, _MAKERS)])


def _version(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return package


def plan_build(
    settings: Settings, run: DayRun, last: BuildRecord | None, digest: str, *, part: bool = False, full: bool = False
) -> BuildChange:
    """What to build, with the record to keep of it. `last` is what the run's build database remembers.

    `part`: a person builds some models, after which nothing can be changed; `full`: a person wants all of it anew.
    """
    mode: BuildMode = "part" if part else "full"
    begun = BuildState(run.run_id, run.as_of, run.batch_ids, digest, mode)
    complete = last.complete if last else None
    reason = "asked for" if part or full else _obstacle(run, last, digest)
    if reason or complete is None:
        return BuildChange(mode, BuildRecord(complete, begun), reason)
    changed = _changed_batches(settings, run, complete)
    files = raw_files(open_ledger(settings), replace(run, batch_ids=tuple(row[0] for row in changed)), settings.home)
    return BuildChange(
        "change",
        BuildRecord(complete, replace(begun, mode="change")),
        previous_as_of=complete.as_of,
        goes_on=last is not None and last.begun is not None,
        batches=changed,
        files=files,
    )


def _obstacle(run: DayRun, last: BuildRecord | None, digest: str) -> str:
    """Why the run cannot be built as a change; empty when it can."""
    if not run.is_latest:
        return "a day of the past starts from nothing"
    if last is None or last.complete is None:
        return "there is no complete build"
    if last.begun is not None and last.begun.mode != "change":
        return f"the build of {last.begun.run_id} came to no end"
    for state in (last.complete, last.begun):
        if state is not None:
            found = _differs(run, state, digest)
            if found:
                return found
    return ""


def _differs(run: DayRun, state: BuildState, digest: str) -> str:
    if state.digest != digest:
        return "the models, their variables or the engine have changed"
    days = (run.as_of - state.as_of).days
    if not 0 <= days <= LONGEST_CHANGE_DAYS:
        return f"the last build is of {state.as_of}"
    gone = set(state.batch_ids) - set(run.batch_ids)
    return f"{len(gone)} batches of the last build are no longer there" if gone else ""


def _changed_batches(
    settings: Settings, run: DayRun, complete: BuildState
) -> tuple[tuple[str, int, EntityName, bool], ...]:
    """The run's batches that the complete build had not, or not all rows of."""
    b = batches.c
    query = sa.select(b.batch_id, b.batch_seq, b.entity, b.last_business_date).order_by(b.batch_seq)
    wanted, known = set(run.batch_ids), set(complete.batch_ids)
    with open_ledger(settings).connect() as connection:
        rows = connection.execute(query).all()
    return tuple(
        (row.batch_id, row.batch_seq, row.entity, row.batch_id in known)
        for row in rows
        if row.batch_id in wanted
        and (row.batch_id not in known or _may_hold_more(row.last_business_date, complete.as_of))
    )


def _may_hold_more(last: date | None, as_of: date) -> bool:
    """Whether a batch may hold rows dated after `as_of`; one that does not say may."""
    return last is None or last > as_of
