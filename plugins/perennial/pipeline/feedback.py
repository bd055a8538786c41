"""What came back, taken in: who it is about, what follows at once, and the events for the warehouse (L9).

A webhook, a page that was pulled and a one-click link all end here. What they say is in the ledger, with the consents
that end and the clients that are suppressed, before anyone is told that we have it; the next push, and the next chunk
of one in progress, read it there.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from perennial.contracts.destinations import AnyDestination
from perennial.core import clock
from perennial.core.dates import business_date
from perennial.core.errors import ConfigError, ContractViolation, Problem
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.delivery import destinations as delivery
from perennial.delivery.feedback import addresses
from perennial.delivery.feedback.book import Book, open_book
from perennial.delivery.feedback.consequences import judge_of
from perennial.delivery.tools.records import FeedbackEvent
from perennial.delivery.unsubscribe_links import Unsubscribe
from perennial.ledger import feedback as ledger
from perennial.ledger import suppressions
from perennial.ledger.consents import consent_state
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback import Consequences, Event
from perennial.ledger.runs import get_run
from perennial.ledger.tables import deliveries, lists
from perennial.targeting.config import load_campaigns
from perennial.warehouse.engine import Published, open_published, register_contacts

LINK = "unsubscribe_link"  # in a destination's place, of a link in a message that the ledger does not know
_ID_LENGTH = 32
_CHANNELS = ("email", "sms", "call", "account_manager")

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Taken:
    """What became of events: new ones and known ones; of the new, how many have no client or no list of ours."""

    new: int = 0
    known: int = 0
    without_client: int = 0
    unknown_lists: tuple[str, ...] = ()

    def __add__(self, other: Taken) -> Taken:
        titles = tuple(dict.fromkeys((*self.unknown_lists, *other.unknown_lists)))
        return Taken(self.new + other.new, self.known + other.known, self.without_client + other.without_client, titles)


@dataclass(frozen=True)
class Intake:
    """What is needed to take events in: read once, for some seconds of webhooks or for one pull."""

    settings: Settings
    engine: sa.Engine = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", open_ledger(self.settings))

    @cached_property
    def destinations(self) -> Mapping[str, AnyDestination]:
        """config/destinations.yml."""
        return delivery.load_destinations(self.settings).destinations

    @cached_property
    def purposes(self) -> dict[str, str]:
        """The purpose of each card, by campaign."""
        return {card.id: card.purpose for card in load_campaigns(self.settings)}

    @cached_property
    def campaigns(self) -> frozenset[str]:
        """The campaigns that are or were ours."""
        with self.engine.connect() as connection:
            handed_over: list[str] = list(connection.execute(sa.select(lists.c.campaign_id).distinct()).scalars())
        return frozenset({*self.purposes, *handed_over})

    def destination(self, name: str) -> AnyDestination:
        """The destination's settings. Raises ConfigError when there is none of that name."""
        found = self.destinations.get(name)
        if found is None:
            raise ConfigError(Problem(delivery.FILE, f"no destination is called {name!r}", "name one of the file's"))
        return found

    def take_in(
        self,
        name: str,
        events: Sequence[FeedbackEvent],
        *,
        came_by: str,
        cursor: tuple[str, Mapping[str, Any]] | None = None,
    ) -> Taken:
        """Write events of a destination and what follows from them, and the cursor (stream, value) behind them.

        Durable when it returns, and harmless when it is done again. Raises what the ledger raises when it cannot be
        written; that nobody is found behind an address is no error: the event waits for her (see `settle`).
        """
        config = self.destination(name)
        keys = {one.address: self._key(one.address) for one in events}
        with self._book() as book:
            owners, records = book.find(keys.values())
        keyed = {key: owners.get(key, ()) for key in keys.values()}
        rows = [self._row(name, config, one, keyed, came_by) for one in events]
        judge = judge_of(config.channels, self.purposes, lambda one: _refs(one, keyed, records))
        place = (name, *cursor) if cursor else None
        new = ledger.take_in(self.engine, rows, judge, cursor=place)
        return self._taken(name, rows, new)

    def withdraw(self, what: Unsubscribe) -> bool:
        """A one-click link was followed: consent ends at once. False when it had ended already, and nothing changed."""
        now = clock.now().replace(tzinfo=None, microsecond=0)
        with self._book() as book:
            refs = book.records([what.client_id]).get(what.client_id, (what.client_id,))
        if all(self._has_withdrawn(ref, what.channel, what.purpose) for ref in refs):
            return False
        parts = [what.client_id, what.channel, what.purpose, what.campaign_id, what.as_of.isoformat(), now.isoformat()]
        event = Event(
            destination=self._sender(what, refs),
            event_id=digest_of(parts, length=_ID_LENGTH),
            kind="unsubscribe",
            happened_at=now,
            channel=what.channel if what.channel in _CHANNELS else None,
            address_key=digest_of([self.settings.salt, "client", what.client_id], length=_ID_LENGTH),
            client_ref=what.client_id,
            campaign_id=what.campaign_id if what.campaign_id in self.campaigns else None,
            as_of=what.as_of,
            list_title=None,
            message_id=None,
            detail=None,
            scope="list",
            is_machine=False,
            came_by="link",
            known_on=self._today(),
        )
        ended = Consequences(withdrawn=tuple((ref, what.channel, what.purpose) for ref in refs))
        ledger.take_in(self.engine, [event], lambda _: ended)
        return True

    def settle(self) -> int:
        """Give events that have no client yet the one who has the address by now; gives how many got one.

        Whoever has another address than the one that bounced may be written to again.
        """
        waiting = list(ledger.nameless(self.engine))
        with self._book() as book:
            self._lift(book)
            owners, records = book.find(waiting)

        def judge(event: Event) -> Consequences:
            config = self.destinations.get(event.destination)
            channels = config.channels if config else _CHANNELS
            return judge_of(channels, self.purposes, lambda one: _refs(one, owners, records))(event)

        return ledger.name_clients(self.engine, addresses.first_of(owners), self._today(), judge)

    def _lift(self, book: _Known) -> None:
        """End suppressions of clients whose bounced address was changed for another one."""
        held = suppressions.active(self.engine, "hard_bounce")
        if not held or book.published is None:
            return
        bounced: dict[str, set[str]] = {}
        for client, key in ledger.bounced(self.engine):
            bounced.setdefault(client, set()).add(key)
        owners, _ = book.find(key for keys in bounced.values() for key in keys)
        gone = [one for one, keys in bounced.items() if not any(one in owners.get(key, ()) for key in keys)]
        reachable = addresses.reachable(book.published, gone)
        records = book.records(reachable)
        pairs = [
            (ref, channel)
            for client, refs in sorted(records.items())
            for ref in refs
            for channel in sorted(reachable[client])
            if (ref, channel) in held
        ]
        suppressions.record(
            self.engine, pairs, action="lift", reason="address_changed", known_on=self._today(), source="feedback"
        )

    def _key(self, address: str) -> str:
        return addresses.address_key(self.settings.salt, address)

    def _today(self) -> date:
        return business_date(clock.now(), self.settings.zone)

    @contextmanager
    def _book(self) -> Iterator[_Known]:
        """The newest published version with the addresses of its run; before the first nobody is known."""
        with ExitStack() as stack:
            known = _Known(None, None)
            try:
                published = stack.enter_context(open_published(self.settings))
                run = get_run(self.engine, str(published.manifest["run_id"]))
                register_contacts(self.settings, published, run, addresses.CONTACTS)
                known = _Known(published, stack.enter_context(open_book(self.settings, published, run.run_id)))
            except ContractViolation as error:
                log.warning("Nobody can be found by an address yet: %s", error)
            yield known

    def _row(
        self,
        name: str,
        config: AnyDestination,
        event: FeedbackEvent,
        keyed: Mapping[str, tuple[str, ...]],
        came_by: str,
    ) -> Event:
        campaign_id, channel, as_of = list_of(event.list_title)
        is_ours = campaign_id in self.campaigns
        named = channel if is_ours and channel in config.channels else None
        key = self._key(event.address)
        latest = clock.now()
        return Event(
            destination=name,
            event_id=digest_of([self.settings.salt, event.event_id], length=_ID_LENGTH),
            kind=event.kind,
            happened_at=min(event.at.astimezone(UTC), latest).replace(tzinfo=None),
            channel=named or _channel_of(event.address, config.channels),
            address_key=key,
            client_ref=self._client(keyed[key], campaign_id if is_ours else None),
            campaign_id=campaign_id if is_ours else None,
            as_of=as_of if is_ours else None,
            list_title=event.list_title,
            message_id=event.message_id,
            detail=event.detail,
            scope=event.scope,
            is_machine=event.is_machine,
            came_by=came_by,
            known_on=self._today(),
        )

    def _client(self, owners: tuple[str, ...], campaign_id: str | None) -> str | None:
        """Of several clients with one address the one who was on the list, else the first by id."""
        if len(owners) <= 1 or campaign_id is None:
            return owners[0] if owners else None
        d = deliveries.c
        query = sa.select(d.client_id).where(d.campaign_id == campaign_id, d.client_id.in_(owners))
        with self.engine.connect() as connection:
            found = connection.execute(query.order_by(d.as_of.desc(), d.client_id).limit(1)).scalar()
        return found or owners[0]

    def _sender(self, what: Unsubscribe, refs: Sequence[str]) -> str:
        """The destination that the message with the link went out by."""
        d = deliveries.c
        same = (d.campaign_id == what.campaign_id, d.channel == what.channel, d.as_of == what.as_of)
        query = sa.select(d.destination).where(*same, d.client_id.in_(refs), d.action == "add")
        with self.engine.connect() as connection:
            return connection.execute(query.order_by(d.client_id).limit(1)).scalar() or LINK

    def _has_withdrawn(self, ref: str, channel: str, purpose: str) -> bool:
        state = consent_state(self.engine, date.max, client_ref=ref).to_pylist()
        said = {(row["channel"], row["purpose"]): row["status"] for row in state}
        return said.get((channel, purpose)) == "withdrawn"

    def _taken(self, name: str, rows: Collection[Event], new: int) -> Taken:
        titles = sorted({one.list_title for one in rows if one.list_title and one.campaign_id is None})
        nobody = sum(one.client_ref is None for one in rows)
        if titles:
            log.warning("%s tells of %s lists that are not ours; what it says of people counts", name, len(titles))
        return Taken(new, len(rows) - new, nobody, tuple(titles))


@dataclass(frozen=True)
class _Known:
    """A published version and its book of addresses, or neither."""

    published: Published | None
    book: Book | None

    def find(self, keys: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        """The clients of each address key, and every record of each of these clients."""
        owners = self.book.owners(set(keys)) if self.book else {}
        return owners, self.records({client for found in owners.values() for client in found})

    def records(self, client_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Every record of each client."""
        return addresses.records(self.published, client_ids) if self.published else {}


def list_of(title: str | None) -> tuple[str | None, str | None, date | None]:
    """Campaign, channel and date of a list's title (`campaign__channel`, of a send `__date` behind it)."""
    head, _, tail = (title or "").rpartition("__")
    as_of: date | None = None
    try:
        as_of = datetime.strptime(tail, "%Y-%m-%d").date()  # noqa: DTZ007 - a business date
    except ValueError:
        head, tail = title or "", ""
    campaign_id, _, channel = head.rpartition("__")
    return (campaign_id, channel, as_of) if campaign_id and channel in _CHANNELS else (None, None, None)


def _channel_of(address: str, channels: Sequence[str]) -> str | None:
    """Of a tool with one channel that one, else the one that the address is of; None: every channel of the tool."""
    if len(channels) == 1:
        return channels[0]
    kind = "email" if "@" in address else "sms"
    return kind if kind in channels else None


def _refs(
    event: Event, keyed: Mapping[str, tuple[str, ...]], records: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Every record of every client who has the event's address."""
    return tuple(dict.fromkeys(ref for who in keyed.get(event.address_key, ()) for ref in records.get(who, (who,))))
