"""Runs: per business date the exact set of batches and the config that it was computed from (L2)."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from perennial.contracts.records import RUN_STATES, DayRun, RunState
from perennial.core import clock
from perennial.core.errors import ContractViolation, Problem
from perennial.core.ids import run_order
from perennial.ledger.tables import identity_decisions, runs


def open_run(engine: sa.Engine, as_of: date, batch_ids: tuple[str, ...], config_digest: str) -> DayRun:
    """The run of `as_of` for exactly these batches, config and decisions of people: the last one, or a new revision.

    A decision about identity belongs to the business dates from its `known_on` on.
    """
    wanted = sorted(batch_ids)
    with engine.begin() as connection:
        decided = connection.execute(
            sa.select(sa.func.max(identity_decisions.c.decision_id)).where(identity_decisions.c.known_on <= as_of)
        ).scalar()
        last = connection.execute(
            sa.select(runs).where(runs.c.as_of == as_of).order_by(runs.c.revision.desc()).limit(1)
        ).first()
        computed_from = (last.batch_ids, last.config_digest, last.decision_id) if last else None
        if last is None or computed_from != (wanted, config_digest, decided):
            revision = last.revision + 1 if last else 1
            connection.execute(
                sa.insert(runs).values(
                    run_id=f"{as_of.isoformat()}.r{revision}",
                    as_of=as_of,
                    revision=revision,
                    state="open",
                    batch_ids=wanted,
                    config_digest=config_digest,
                    decision_id=decided,
                    opened_at=clock.now().replace(tzinfo=None),
                )
            )
            run_id = f"{as_of.isoformat()}.r{revision}"
        else:
            run_id = last.run_id
    return get_run(engine, run_id)


def get_run(engine: sa.Engine, run_id: str) -> DayRun:
    """The run by its id. Raises ContractViolation if the ledger has no such run."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).first()
        latest = connection.execute(sa.select(sa.func.max(runs.c.as_of))).scalar()
    if row is None:
        raise ContractViolation(Problem("ledger.runs", f"there is no run {run_id}", "open the day first"))
    return DayRun(
        run_id=row.run_id,
        as_of=row.as_of,
        revision=row.revision,
        state=row.state,
        batch_ids=tuple(row.batch_ids),
        config_digest=row.config_digest,
        is_latest=row.as_of == latest,
        decision_id=row.decision_id,
    )


def last_run(engine: sa.Engine, as_of: date | None = None, *, state: RunState | None = None) -> DayRun | None:
    """The newest revision of `as_of`, or of the newest date, in that state or in any; None if there is none."""
    query = sa.select(runs.c.run_id).order_by(runs.c.as_of.desc(), runs.c.revision.desc()).limit(1)
    if as_of is not None:
        query = query.where(runs.c.as_of == as_of)
    if state is not None:
        query = query.where(runs.c.state == state)
    with engine.connect() as connection:
        run_id = connection.execute(query).scalar()
    return get_run(engine, run_id) if run_id else None


def overtaken_by(engine: sa.Engine, run: DayRun) -> DayRun | None:
    """The newest run, when it is of a later date or revision than `run`."""
    newest = last_run(engine)
    return newest if newest is not None and run_order(newest.run_id) > run_order(run.run_id) else None


def advance(engine: sa.Engine, run_id: str, state: RunState, *, version_id: str | None = None) -> None:
    """Write that the run has reached `state` (never back to an earlier one) and which published version it made."""
    with engine.begin() as connection:
        row = connection.execute(sa.select(runs.c.state).where(runs.c.run_id == run_id)).first()
        if row is None:
            raise ContractViolation(Problem("ledger.runs", f"there is no run {run_id}", "open the day first"))
        changes: dict[str, object] = {}
        if RUN_STATES.index(state) > RUN_STATES.index(row.state):
            changes["state"] = state
        if state == "done":
            changes["finished_at"] = clock.now().replace(tzinfo=None)
        if version_id is not None:
            changes["version_id"] = version_id
        if changes:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**changes))


def published_version(engine: sa.Engine, run_id: str) -> str:
    """The published version that the run last wrote. Raises ContractViolation when it has published nothing."""
    version_id = version_of(engine, run_id)
    if version_id is None:
        raise ContractViolation(Problem(run_id, "the run has published nothing", "build and publish it first"))
    return version_id


def version_of(engine: sa.Engine, run_id: str) -> str | None:
    """The published version that the run last wrote, if it has published."""
    with engine.connect() as connection:
        return connection.execute(sa.select(runs.c.version_id).where(runs.c.run_id == run_id)).scalar()
