"""Which run of a day a command is about."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perennial.contracts.records import DayRun, RunState
    from perennial.core.settings import Settings


def newest_run(settings: Settings, as_of: date | None, least: RunState) -> DayRun:
    """The newest revision of `as_of`, or of the newest day, that has come at least as far as `least`.

    Raises ContractViolation when there is none, with the command that makes it.
    """
    import sqlalchemy as sa

    from perennial.contracts.records import RUN_STATES
    from perennial.core.errors import ContractViolation, Problem
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import get_run
    from perennial.ledger.tables import runs

    query = sa.select(runs.c.run_id).where(runs.c.state.in_(RUN_STATES[RUN_STATES.index(least) :]))
    if as_of is not None:
        query = query.where(runs.c.as_of == as_of)
    engine = open_ledger(settings)
    with engine.connect() as connection:
        newest = query.order_by(runs.c.as_of.desc(), runs.c.revision.desc()).limit(1)
        run_id = connection.execute(newest).scalar()
    if run_id is None:
        named = f" {as_of}" if as_of else ""
        fix = f"run it: perennial run{f' --as-of {as_of}' if as_of else ''}"
        raise ContractViolation(Problem("ledger.runs", f"no day{named} is {least} yet", fix))
    return get_run(engine, run_id)


def newest_or_none(settings: Settings, as_of: date | None, least: RunState) -> DayRun | None:
    """As `newest_run`, but no day yet is None, unless a day was asked for."""
    from perennial.core.errors import ContractViolation

    try:
        return newest_run(settings, as_of, least)
    except ContractViolation:
        if as_of is not None:
            raise
        return None
