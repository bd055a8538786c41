"""One list: settle what was interrupted, compare with what was delivered, hand over the rest, mark it (L12)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from perennial.contracts.records import ListReport
from perennial.core import clock
from perennial.delivery.delta import Delta, Holds, Outcome, compute, hold_all
from perennial.delivery.engine.destination import Terms, ToolDestination
from perennial.delivery.engine.guard import Guard
from perennial.delivery.engine.pusher import Patience
from perennial.delivery.protocol import Destination
from perennial.delivery.records import Counts, ListKey
from perennial.delivery.rows import ListSpec
from perennial.ledger.approvals import approval_of
from perennial.ledger.deliveries import ListRecord, accepted, mark
from perennial.ledger.locks import Lock, hold
from perennial.pipeline.export.approving import Answered, ask
from perennial.pipeline.export.marking import mark_receipt, numbers, report, settle_files, unsent
from perennial.pipeline.export.opened import Day, spec_of
from perennial.pipeline.feedback_pull import pull_withdrawals
from perennial.pipeline.rekey import rekeyed_batches
from perennial.targeting.schedule import sending_times


def push_list(day: Day, key: ListKey, patience: Patience) -> ListReport:
    """Hand over what is new in one list, under its lock, and mark it."""
    destination = day.destination(key)
    with hold(day.engine, f"{destination.name}/{key.name}") as lock:
        at_work = _settle(day, destination, key, lock, patience)
        spec = spec_of(day, key)
        records = day.records(key, spec.list_type)
        today = [record for record in records if record.as_of == key.as_of]
        if at_work:
            return _of_record(today[-1])
        _read_withdrawals(day, destination)
        delta = delta_of(day, spec, records, destination)
        answered = ask(day, spec, delta, destination)
        if answered is not None:
            delta = _held(day, delta, answered)
        if delta.counts.sent:
            part = 1 + max((key.part_of(record.list_id) for record in today if record.is_handed_over), default=0)
            if isinstance(destination, ToolDestination):
                destination = destination.under(terms_of(day, key, patience, quiet_from=delta.quiet_from))
            return _hand_over(day, destination, delta, part, lock)
        last = today[-1] if today else None
        list_id = last.list_id if last else key.list_id(1)
        if delta.counts.rejected or delta.counts.pending:
            mark(day.engine, unsent(list_id, day, delta), delta.rejects())
        return report(list_id, key, delta.counts, day.settings.home / last.path if last and last.path else None)


def _hand_over(day: Day, destination: Destination, delta: Delta, part: int, lock: Lock) -> ListReport:
    key = delta.spec.key
    receipt = destination.push(delta.change_set(part), lock.confirm)
    mark_receipt(day.settings, day.engine, receipt, day.run.run_id, rejects=delta.rejects)
    return report(receipt.list_id, key, receipt.counts, receipt.path)


def write_list(day: Day, key: ListKey) -> ListReport:
    """Write one list as files, as if nothing of its date was sent; nothing is marked."""
    spec = spec_of(day, key)
    delta = delta_of(day, spec, day.records(key, spec.list_type), day.destination(key))
    if not delta.counts.sent:
        return report(key.list_id(1), key, delta.counts, None)
    receipt = day.destination(key).push(delta.change_set(1), lambda: None)
    return report(receipt.list_id, key, receipt.counts, receipt.path)


def delta_of(day: Day, spec: ListSpec, records: list[ListRecord], destination: Destination) -> Delta:
    """What is new in a list, by what the ledger knows at this moment."""
    day.consent.refresh()
    key = spec.key
    mine = records if spec.list_type == "audience" else [one for one in records if one.as_of == key.as_of]
    earlier = [record for record in records if record.as_of < key.as_of and record.sent]
    last_day = max((record.as_of for record in earlier), default=None)
    last_size = sum(record.sent for record in earlier if record.as_of == last_day) if last_day else None
    # What a list holds is known by the id that it was sent under; who got a dated list, by today's.
    aliases = day.aliases if spec.list_type == "send" else day.aliases.slice(0, 0)
    history = lambda: rekeyed_batches(accepted(day.engine, mine), aliases)  # noqa: E731
    approval = approval_of(day.engine, key.campaign_id, key.channel, key.as_of) if day.live else None
    holds = _holds(day, key, destination) if day.live else Holds()
    return compute(day.published, spec, history, day.targeting.policy, last_size, approval=approval, holds=holds)


def _holds(day: Day, key: ListKey, destination: Destination) -> Holds:
    """What the clock stands against: the list's last moment, and quiet hours where the push itself reaches people."""
    now = clock.now().replace(tzinfo=None)
    last = not_after(day, key)
    reaches = isinstance(destination, ToolDestination) and destination.make().capabilities.reaches_people
    return Holds(is_late=last is not None and now > last, quiet_at=now if reaches else None)


def not_after(day: Day, key: ListKey) -> datetime | None:
    """The moment (UTC) after which nothing of the list is pushed (L17)."""
    card = day.card(key.campaign_id)
    return sending_times(card, key.as_of, day.settings.company.zone)[1] if card else None


def terms_of(day: Day, key: ListKey, patience: Patience, *, quiet_from: datetime | None = None) -> Terms:
    """The terms under which a list is handed to a tool."""
    card = day.card(key.campaign_id)
    guard = Guard(
        engine=day.engine,
        channel=key.channel,
        purpose=card.purpose if card else None,
        as_of=key.as_of,
        records=day.records_of_clients,
        not_after=not_after(day, key),
        quiet_from=quiet_from,
    )
    if card is None:
        return Terms(day.run.run_id, guard, patience=patience)
    return Terms(day.run.run_id, guard, purpose=card.purpose, message=card.message, patience=patience)


def _settle(day: Day, destination: Destination, key: ListKey, lock: Lock, patience: Patience) -> int:
    """Under the lock: what an interrupted push left. Gives how many jobs the tool is still at."""
    if not isinstance(destination, ToolDestination):
        settle_files(day.settings, day.engine, destination, key.name, lock.confirm)
        return 0

    def key_of(list_id: str) -> ListKey:
        return replace(key, as_of=date.fromisoformat(list_id.partition("/")[0]))

    return destination.settle(key_of, key.name, lock.confirm, terms_of(day, key, patience))


def _read_withdrawals(day: Day, destination: Destination) -> None:
    """Who left in the tool since it was last asked (L9). Raises what stands in the way: then nothing is pushed."""
    if not isinstance(destination, ToolDestination) or not destination.make().capabilities.knows_withdrawals:
        return
    told = pull_withdrawals(day.settings, destination.name, connections=day.connections)
    if told.problem is not None:
        raise told.problem


def _held(day: Day, delta: Delta, answered: Answered) -> Delta:
    outcome: Outcome = "pending" if answered == "awaits_approval" else "skipped"
    return hold_all(day.published, delta, outcome=outcome, reason=answered)


def _of_record(record: ListRecord) -> ListReport:
    key = ListKey(record.campaign_id, record.channel, record.as_of)
    counts: dict[str, Any] = numbers(record)
    return report(record.list_id, key, Counts(**counts), None)
