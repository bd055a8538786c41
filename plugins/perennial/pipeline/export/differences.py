"""The dry run: what an export would do to each list, its removals one by one; nothing is sent, asked or written."""

from __future__ import annotations

from dataclasses import dataclass, field

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.delivery.delta import Delta
from perennial.delivery.records import ListKey
from perennial.delivery.rows import ROWS
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run
from perennial.pipeline.export.approving import why_asked
from perennial.pipeline.export.opened import Day, keys_of, open_day, spec_of
from perennial.pipeline.export.pushing import delta_of

REMOVALS_SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """What would happen to one list. `removals` are the first clients who would leave it, each with the reason."""

    list_name: str
    destination: str
    size: int
    add: int
    update: int
    remove: int
    rejected: int
    skipped: int
    pending: int
    reasons: dict[str, int] = field(default_factory=dict)
    removals: tuple[tuple[str, str], ...] = ()
    asks: tuple[str, ...] = ()  # why a person would be asked first


def differences(settings: Settings, run: DayRun, *, only: str | None = None) -> list[Difference]:
    """The difference of each list of a planned run to what was delivered, as the ledger is at this moment.

    `only` names one destination. Raises ContractViolation when the run is not planned.
    """
    engine = open_ledger(settings)
    run = get_run(engine, run.run_id)
    if run.state not in {"planned", "done"}:
        raise ContractViolation(Problem(run.run_id, f"the run is {run.state}, not planned", "plan the day first"))
    with open_day(settings, engine, run, only=only) as day:
        return [_difference(day, _delta(day, key)) for key in keys_of(day)]


def _delta(day: Day, key: ListKey) -> Delta:
    spec = spec_of(day, key)
    return delta_of(day, spec, day.records(key, spec.list_type), day.destination(key))


def _difference(day: Day, delta: Delta) -> Difference:
    counts, spec = delta.counts, delta.spec
    query = f"""
select client_id, case when is_urgent then 'consent_withdrawn' else 'not wanted any more' end as why
from {ROWS} where outcome = 'remove' order by client_id limit {REMOVALS_SHOWN}
"""
    removals = tuple((row["client_id"], row["why"]) for row in day.published.query(query).to_pylist())
    asks = why_asked(day, spec, day.destination(spec.key)) if counts.sent else []
    return Difference(
        list_name=spec.key.name,
        destination=spec.destination,
        size=counts.size,
        add=delta.actions["add"],
        update=delta.actions["update"],
        remove=delta.actions["remove"],
        rejected=counts.rejected,
        skipped=counts.skipped,
        pending=counts.pending,
        reasons=counts.reasons,
        removals=removals,
        asks=tuple(asks),
    )
