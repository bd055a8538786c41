"""The step that hands lists over: only what is new, to no one who withdrew, nothing twice (L9, L11-L17).

Check, send, mark: under the lock of a list, what an interrupted push left is settled first; then the delta is
computed against the ledger, the destination takes it, and what it has taken is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.records import DayRun, ListReport
from perennial.contracts.targeting import Campaign
from perennial.core.errors import (
    ConfigError,
    ContractViolation,
    PerennialError,
    PermanentError,
    Problem,
    RetryableError,
)
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.delivery import destinations as delivery
from perennial.delivery.consent import ConsentNow
from perennial.delivery.delta import Delta, compute, require_sum
from perennial.delivery.protocol import Destination
from perennial.delivery.records import Batches, CheckStep, Counts, ListKey, ListType, Receipt
from perennial.delivery.rows import CONTACTS, Field, ListSpec
from perennial.ledger.approvals import approval_of
from perennial.ledger.deliveries import ListRecord, accepted, lists_of, mark
from perennial.ledger.engine import open_ledger
from perennial.ledger.locks import hold
from perennial.ledger.runs import advance, get_run, last_run, published_version
from perennial.pipeline.rekey import aliases_of, rekeyed_batches
from perennial.targeting.catalogue import Catalogue, catalogue_of
from perennial.targeting.config import Targeting, load_targeting
from perennial.warehouse.engine import Published, open_published, register_contacts

OUTCOMES_TABLE = "campaign_outcomes"
_UNKNOWN_RUN = "unknown"


@dataclass(frozen=True)
class _Day:
    """Everything that the lists of one run are made from. `live` False: only rendered, as if nothing of it was sent."""

    settings: Settings
    engine: sa.Engine
    run: DayRun
    published: Published
    targeting: Targeting
    routes: delivery.Routes
    consent: ConsentNow
    live: bool
    aliases: pa.Table  # records of joined clients: client_ref, client_id

    def destination(self, key: ListKey) -> Destination:
        """Where the list goes. Raises ConfigError when no destination takes it."""
        found = self.routes.of(key.campaign_id, key.channel)
        if found is None:
            where = str(self.settings.config_dir / delivery.FILE)
            raise ConfigError(Problem(where, f"no destination takes the channel {key.channel}", "add it to one"))
        return found

    def records(self, key: ListKey, list_type: ListType) -> list[ListRecord]:
        """What this list's destination was handed before, in order; a rendered day sees only the dates before it."""
        found = [
            record
            for record in lists_of(self.engine, self.destination(key).name, until=key.as_of)
            if (record.campaign_id, record.channel, record.list_type) == (key.campaign_id, key.channel, list_type)
            and (self.live or record.as_of < key.as_of)
        ]
        return sorted(found, key=lambda record: (record.as_of, key.part_of(record.list_id)))


def export(settings: Settings, run: DayRun) -> list[ListReport]:
    """Hand over what is new in the lists of the run, and write down what was taken; one report per list.

    Run again it finds nothing new and writes nothing. A past or superseded run is not pushed (L17): all its rows are
    skipped. One list that fails does not hold up the others; then the errors are raised together at the end:
    RetryableError when trying again can help. Raises ContractViolation when the run is not planned.
    """
    engine = open_ledger(settings)
    run = get_run(engine, run.run_id)
    _require_planned(run)
    refused = _why_not(engine, run)
    if refused is None:
        _refuse_changed_config(settings, run)
        reconcile(settings)
    with _open_day(settings, engine, run) as day:
        if refused is None:
            reports = _for_each(_keys(day), lambda key: _push(day, key))
        else:
            reports = [_not_pushed(key, size, refused) for key, size in _sizes(day).items()]
    advance(engine, run.run_id, "done")
    return reports


def render(settings: Settings, run: DayRun, folder: Path) -> list[ListReport]:
    """Write the lists of any run into an empty folder, as they are when nothing of its date has been sent.

    For comparing and backfilling: nothing is pushed and nothing is marked. Raises PermanentError when the folder has
    something in it, ContractViolation when the run is not planned.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PermanentError(Problem(str(folder), "the folder is not empty", "name a new one"))
    engine = open_ledger(settings)
    run = get_run(engine, run.run_id)
    _require_planned(run)
    with _open_day(settings, engine, run, root=folder) as day:
        return _for_each(_keys(day), lambda key: _write(day, key))


def reconcile(settings: Settings) -> list[str]:
    """Mark every list, of whatever date, that a destination accepted before a crash; gives their ids (L12).

    `export` begins with it. Called before a plan, the plan counts them too (L10). Lists that another process is at
    are left to it. Raises ContractViolation for those that nobody can mark (see the destination), after all others.
    """
    engine = open_ledger(settings)
    found: list[str] = []
    problems: list[Problem] = []
    for destination in delivery.open_routes(settings).by_name.values():
        for list_name in list(destination.unfinished(_marked(engine, destination))):
            try:
                with hold(engine, f"{destination.name}/{list_name}"):
                    found += _settle(settings, engine, destination, list_name)
            except RetryableError:
                continue
            except ContractViolation as error:
                problems += error.problems
    if problems:
        raise ContractViolation(problems)
    return found


def check(settings: Settings) -> list[tuple[str, CheckStep]]:
    """Named steps of every destination, and whether each channel of each card has one; nothing is sent.

    Raises ConfigError for a mistake in the cards.
    """
    return list(delivery.check(settings, load_targeting(settings).campaigns))


def _require_planned(run: DayRun) -> None:
    if run.state not in {"planned", "done"}:
        raise ContractViolation(Problem(run.run_id, f"the run is {run.state}, not planned", "plan the day first"))


def _why_not(engine: sa.Engine, run: DayRun) -> str | None:
    newest = last_run(engine, run.as_of)
    if not run.is_latest:
        return "past_date"
    return "superseded" if newest is not None and newest.run_id != run.run_id else None


def _refuse_changed_config(settings: Settings, run: DayRun) -> None:
    if settings.config_digest() != run.config_digest:
        problem = f"changed since {run.run_id} was opened"
        raise ContractViolation(Problem(str(settings.config_dir), problem, "run the day again"))


@contextmanager
def _open_day(settings: Settings, engine: sa.Engine, run: DayRun, *, root: Path | None = None) -> Iterator[_Day]:
    with open_published(settings, published_version(engine, run.run_id)) as published:
        targeting = load_targeting(settings, catalogue_of(published.tables()))
        if OUTCOMES_TABLE not in published.tables():
            raise ContractViolation(Problem(run.run_id, f"{OUTCOMES_TABLE} is not published", "plan the day first"))
        register_contacts(settings, published, run, CONTACTS)
        live = root is None
        routes = delivery.open_routes(settings, root=root)
        aliases = aliases_of(published)
        consent = ConsentNow(engine, published, run.as_of, aliases, live=live)
        yield _Day(settings, engine, run, published, targeting, routes, consent, live, aliases)


def _keys(day: _Day) -> list[ListKey]:
    """The lists of the day: of its targets, and the audiences that someone stands on."""
    keys = set(_sizes(day))
    for name in day.routes.by_name:
        for record in lists_of(day.engine, name, until=day.run.as_of):
            key = ListKey(record.campaign_id, record.channel, day.run.as_of)
            if record.list_type == "audience" and record.path and day.routes.of(key.campaign_id, key.channel):
                keys.add(key)
    return sorted(keys, key=lambda key: key.name)


def _sizes(day: _Day) -> dict[ListKey, int]:
    rows = day.published.query(
        f"select campaign_id, channel, count(*) as n from {OUTCOMES_TABLE} "
        "where as_of_date = cast(? as date) and outcome = 'target' group by campaign_id, channel order by 1, 2",
        [day.run.as_of],
    ).to_pylist()
    return {ListKey(row["campaign_id"], row["channel"], day.run.as_of): row["n"] for row in rows}


def _for_each(keys: Iterable[ListKey], do: Callable[[ListKey], ListReport]) -> list[ListReport]:
    """The reports of all lists. One that fails does not hold up the others; the errors are raised at the end."""
    reports: list[ListReport] = []
    errors: list[PerennialError] = []
    for key in keys:
        try:
            reports.append(do(key))
        except PerennialError as error:
            errors.append(error)
        except OSError as error:
            fix = "mend it (space, rights), then run it again"
            errors.append(RetryableError(Problem(key.list_id(1), f"it could not be written: {error.strerror}", fix)))
    if errors:
        lasting = next((one for one in errors if not isinstance(one, RetryableError)), errors[0])
        raise type(lasting)(list(chain.from_iterable(one.problems for one in errors)))
    return reports


def _push(day: _Day, key: ListKey) -> ListReport:
    destination = day.destination(key)
    with hold(day.engine, f"{destination.name}/{key.name}") as lock:
        _settle(day.settings, day.engine, destination, key.name)
        spec = _spec(day, key)
        records = day.records(key, spec.list_type)
        today = [record for record in records if record.as_of == key.as_of]
        delta = _delta(day, spec, records)
        if delta.counts.sent:
            part = 1 + max((key.part_of(record.list_id) for record in today if record.path), default=0)
            receipt = destination.push(delta.change_set(part), lock.confirm)
            _mark(day.settings, day.engine, receipt, day.run.run_id, rejects=delta.rejects)
            return _report(receipt.list_id, key, receipt.counts, receipt.path)
        last = today[-1] if today else None
        list_id = last.list_id if last else key.list_id(1)
        if delta.counts.rejected or delta.counts.pending:
            mark(day.engine, _unsent(list_id, day, delta), delta.rejects())
        return _report(list_id, key, delta.counts, day.settings.home / last.path if last and last.path else None)


def _write(day: _Day, key: ListKey) -> ListReport:
    spec = _spec(day, key)
    delta = _delta(day, spec, day.records(key, spec.list_type))
    if not delta.counts.sent:
        return _report(key.list_id(1), key, delta.counts, None)
    receipt = day.destination(key).push(delta.change_set(1), lambda: None)
    return _report(receipt.list_id, key, receipt.counts, receipt.path)


def _delta(day: _Day, spec: ListSpec, records: list[ListRecord]) -> Delta:
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
    return compute(day.published, spec, history, day.targeting.policy, last_size, approval=approval)


def _spec(day: _Day, key: ListKey) -> ListSpec:
    """What the list is made of, from the card, the policy, and what is published."""
    card = next((card for card in day.targeting.campaigns if card.id == key.campaign_id), None)
    planned = _is_planned(day, key.campaign_id)
    if card is None and planned:
        raise ContractViolation(Problem(key.list_id(1), "the card of the campaign is gone", "run the day again"))
    channel = next((rules for name, rules in day.targeting.policy.channels.items() if name == key.channel), None)
    if channel is None:
        where = str(day.settings.config_dir / "policy.yml")
        raise ConfigError(Problem(where, f"the channel {key.channel} is gone, and {key.name} uses it", "add it again"))
    tables = day.published.tables()
    return ListSpec(
        key=key,
        list_type=card.list_type if card else "audience",
        destination=day.destination(key).name,
        address=channel.address,
        needs_consent=channel.consent == "required",
        purpose=card.purpose if card else None,
        planned=planned,
        fields=_fields(card, catalogue_of(tables), tables) if card else (),
        offer=card.offer if card else None,
        shows_product=card is not None and card.next_product != "none",
        minor_digits=day.settings.company.currency_minor_digits,
        salt=digest_of([day.settings.salt, "row_hash"]),
        shows_arm=card is not None and bool(card.arms),
    )


def _fields(card: Campaign, catalogue: Catalogue, tables: dict[str, list[tuple[str, str]]]) -> tuple[Field, ...]:
    """The merge fields that come from published tables; the others every list has, or has by its card."""
    names = [name for name in card.merge_fields if name in catalogue]
    return tuple(
        Field(name, catalogue[name].table, dict(tables.get(catalogue[name].table, ())).get(name, "DOUBLE"))
        for name in names
    )


def _is_planned(day: _Day, campaign_id: str) -> bool:
    query = f"select 1 from {OUTCOMES_TABLE} where as_of_date = cast(? as date) and campaign_id = ? limit 1"
    return bool(day.published.query(query, [day.run.as_of, campaign_id]).num_rows)


def _marked(engine: sa.Engine, destination: Destination) -> set[str]:
    return {record.list_id for record in lists_of(engine, destination.name) if record.path}


def _settle(settings: Settings, engine: sa.Engine, destination: Destination, list_name: str) -> list[str]:
    """Under the lock of the list: mark what was accepted before a crash, remove what was not."""
    found = []
    for receipt in destination.reconcile(list_name, _marked(engine, destination)):
        _mark(settings, engine, receipt, _run_that_pushed(engine, receipt.key.as_of))
        found.append(receipt.list_id)
    return found


def _run_that_pushed(engine: sa.Engine, as_of: date) -> str:
    """The first revision that was planned and did not finish: it died in its export. A later one waited for it."""
    newest = last_run(engine, as_of)
    if newest is None:  # the ledger is older than the outbox: it was restored
        return _UNKNOWN_RUN
    revisions = (get_run(engine, f"{as_of.isoformat()}.r{number}") for number in range(1, newest.revision + 1))
    return next((run.run_id for run in revisions if run.state == "planned"), newest.run_id)


def _mark(
    settings: Settings, engine: sa.Engine, receipt: Receipt, run_id: str, *, rejects: Batches | None = None
) -> None:
    """Write down what the destination has taken. Raises ContractViolation when it is not what was counted (L15)."""
    require_sum(receipt.list_id, receipt.counts)
    outcomes = chain(receipt.outcomes(), rejects() if rejects else ())
    written = mark(engine, _record(settings, receipt, run_id), outcomes)
    expected = receipt.counts.sent + (receipt.counts.rejected if rejects else 0)
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
        **_numbers(receipt.counts),
    )


def _unsent(list_id: str, day: _Day, delta: Delta) -> ListRecord:
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
        **_numbers(delta.counts),
    )


def _numbers(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in ("size", "sent", "rejected", "skipped", "pending", "reasons")}


def _report(list_id: str, key: ListKey, counts: Counts, path: Path | None) -> ListReport:
    return ListReport(
        list_id=list_id,
        campaign_id=key.campaign_id,
        channel=key.channel,
        as_of=key.as_of,
        path=str(path) if path else None,
        **_numbers(counts),
    )


def _not_pushed(key: ListKey, size: int, reason: str) -> ListReport:
    return _report(key.list_id(1), key, Counts(size, 0, 0, size, 0, {reason: size}), None)
