"""What a push leaves in the ledger, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from perennial.contracts.records import ListReport
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.delivery.delta import Delta, require_sum
from perennial.delivery.protocol import Destination
from perennial.delivery.records import Batches, Counts, ListKey, Receipt
from perennial.ledger.deliveries import ListRecord, lists_of, mark, mark_rejects
from perennial.ledger.runs import get_run, last_run
from perennial.pipeline.export.opened import Day

_UNKNOWN_RUN = "unknown"


def marked(engine: sa.Engine, destination: Destination) -> set[str]:
    """The ids of the lists of a destination that the ledger has as handed over."""
    return {record.list_id for record in lists_of(engine, destination.name) if record.is_handed_over}


def settle_files(
    settings: Settings, engine: sa.Engine, destination: Destination, list_name: str, confirm: Callable[[], None]
) -> list[str]:
    """Under the lock of the list: mark what was accepted before a crash, remove what was not."""
    found = []
    confirm()
    for receipt in destination.reconcile(list_name, marked(engine, destination)):
        mark_receipt(settings, engine, receipt, run_that_pushed(engine, receipt.key.as_of))
        found.append(receipt.list_id)
    return found


def run_that_pushed(engine: sa.Engine, as_of: date) -> str:
    """The first revision that was planned and did not finish: it died in its export. A later one waited for it."""
    newest = last_run(engine, as_of)
    if newest is None:  # the ledger is older than the outbox: it was restored
        return _UNKNOWN_RUN
    revisions = (get_run(engine, f"{as_of.isoformat()}.r{number}") for number in range(1, newest.revision + 1))
    return next((run.run_id for run in revisions if run.state == "planned"), newest.run_id)


def mark_receipt(
    settings: Settings, engine: sa.Engine, receipt: Receipt, run_id: str, *, rejects: Batches | None = None
) -> None:
    """Write down what the destination has taken. Raises ContractViolation when it is not what was counted (L15)."""
    require_sum(receipt.list_id, receipt.counts)
    if receipt.marked:
        if rejects:
            mark_rejects(engine, receipt.list_id, rejects())
        return
    outcomes = chain(receipt.outcomes(), rejects() if rejects else ())
    written = mark(engine, _record(settings, receipt, run_id), outcomes)
    expected = receipt.counts.sent + (receipt.counts.rejected if rejects else receipt.refused)
    if written != expected:
        problem = f"{written} rows were marked instead of {expected}"
        raise ContractViolation(Problem(receipt.list_id, problem, "compare the list with ledger.deliveries"))


def _record(settings: Settings, receipt: Receipt, run_id: str) -> ListRecord:
    path = receipt.path.relative_to(settings.home).as_posix() if receipt.path else None
    return ListRecord(
        list_id=receipt.list_id,
        run_id=run_id,
        destination=receipt.destination,
        campaign_id=receipt.key.campaign_id,
        channel=receipt.key.channel,
        as_of=receipt.key.as_of,
        list_type=receipt.list_type,
        state="held" if receipt.counts.pending else "delivered",
        path=path,
        **numbers(receipt.counts),
    )


def unsent(list_id: str, day: Day, delta: Delta) -> ListRecord:
    """The record of a list of which nothing could be sent; it has no path, and a later part of the day replaces it."""
    key = delta.spec.key
    return ListRecord(
        list_id=list_id,
        run_id=day.run.run_id,
        destination=delta.spec.destination,
        campaign_id=key.campaign_id,
        channel=key.channel,
        as_of=key.as_of,
        list_type=delta.spec.list_type,
        state="held" if delta.counts.pending else "rejected",
        path=None,
        **numbers(delta.counts),
    )


def numbers(counts: Counts | ListRecord) -> dict[str, Any]:
    """The sum of a list by its parts, and the rows of each reason."""
    return {name: getattr(counts, name) for name in ("size", "sent", "rejected", "skipped", "pending", "reasons")}


def report(list_id: str, key: ListKey, counts: Counts, path: Path | None) -> ListReport:
    """What is told of a list."""
    return ListReport(
        list_id=list_id,
        campaign_id=key.campaign_id,
        channel=key.channel,
        as_of=key.as_of,
        path=str(path) if path else None,
        **numbers(counts),
    )


def not_pushed(key: ListKey, size: int, reason: str) -> ListReport:
    """What is told of a list that is not pushed at all."""
    return report(key.list_id(1), key, Counts(size, 0, 0, size, 0, {reason: size}), None)
