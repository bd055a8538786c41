"""What is read from Brevo: who withdrew, and what became of its transactional mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perennial.core import clock
from perennial.delivery.tools.accounts import moment
from perennial.delivery.tools.events import event_id
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind, Withdrawal
from perennial.delivery.tools.words import bare_link, masked

if TYPE_CHECKING:
    from perennial.delivery.tools.brevo import Brevo

_OVERLAP = timedelta(seconds=1)
_PAGE_OF_CONTACTS, _PAGE_OF_BLOCKED, _PAGE_OF_EVENTS = 1000, 100, 2500
_LONGEST_WINDOW = timedelta(days=89)  # of the events; the vendor gives 90 days
_REASONS: dict[str, FeedbackKind] = {"hardBounce": "hard_bounce", "contactFlaggedAsSpam": "complaint"}
_EVENTS: dict[str, FeedbackKind] = {
    "delivered": "delivered",
    "opened": "open",
    "loadedByProxy": "open",
    "clicks": "click",
    "hardBounces": "hard_bounce",
    "invalid": "hard_bounce",
    "softBounces": "soft_bounce",
    "spam": "complaint",
    "unsubscribed": "unsubscribe",
}


async def withdrawals(tool: Brevo, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
    """Contacts that campaigns may not mail or that left a list, then addresses that transactional mail is blocked for.

    Both listings are ordered by when a contact was made, so that a cursor moves on when one was read to its end.
    """
    now = dict(cursor)
    since = cursor.get("modified")
    last: datetime | None = moment(since) if since else None
    params = {"modifiedSince": since} if since else {}
    lists = await tool.our_lists()
    async for page in tool.pages("/contacts", "contacts", params, limit=_PAGE_OF_CONTACTS):
        changed = [moment(one["modifiedAt"]) - _OVERLAP for one in page]
        last = max([*changed, *([last] if last else [])])
        blocked = [one for one in page if one["emailBlacklisted"]]
        yield [*await asyncio.gather(*(_why(tool, one) for one in blocked)), *_left(page, lists)], dict(now)
    now |= {"modified": last.isoformat()} if last else {}
    yield [], dict(now)
    async for one in _blocked(tool, cursor, now):
        yield one


def _left(page: Iterable[Mapping[str, Any]], lists: Mapping[int, str]) -> Iterator[Withdrawal]:
    for one in page:
        for list_id in one.get("listUnsubscribed") or []:
            if list_id in lists:
                at = moment(one["modifiedAt"])
                yield Withdrawal(str(one["email"]), "unsubscribe", at, list_title=lists[list_id])


async def _blocked(
    tool: Brevo, cursor: Mapping[str, Any], now: dict[str, Any]
) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
    since: str | None = cursor.get("blocked")
    params = {"startDate": since[:10], "endDate": clock.now().date().isoformat()} if since else {}
    last = moment(since) if since else None
    async for page in tool.pages("/smtp/blockedContacts", "contacts", params, limit=_PAGE_OF_BLOCKED):
        found = [
            Withdrawal(one["email"], _REASONS.get(one["reason"]["code"], "unsubscribe"), moment(one["blockedAt"]))
            for one in page
        ]
        last = max([*(one.at for one in found), *([last] if last else [])])
        yield [one for one in found if since is None or one.at >= moment(since) - _OVERLAP], dict(now)
    yield [], {**now, **({"blocked": last.isoformat()} if last else {})}


async def _why(tool: Brevo, person: Mapping[str, Any]) -> Withdrawal:
    """Why a contact is blacklisted: its own statistics tell; a contact that is gone meanwhile withdrew."""
    found = await tool.person(str(person["email"])) or {}
    statistics = found.get("statistics") or {}
    at = moment(person["modifiedAt"])
    if statistics.get("complaints"):
        return Withdrawal(str(person["email"]), "complaint", at)
    left = statistics.get("unsubscriptions") or {}
    asked_for = left.get("userUnsubscription") or left.get("adminUnsubscription")
    if statistics.get("hardBounces") and not asked_for:
        return Withdrawal(str(person["email"]), "hard_bounce", at)
    return Withdrawal(str(person["email"]), "unsubscribe", at)


async def feedback(tool: Brevo, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    """Events of transactional mail since the cursor, 90 days at most."""
    today = clock.now()
    since = max(moment(cursor["since"]), today - _LONGEST_WINDOW) if "since" in cursor else today - _LONGEST_WINDOW
    params = {"startDate": since.date().isoformat(), "endDate": today.date().isoformat()}
    last = since if "since" in cursor else None
    async for page in tool.pages("/smtp/statistics/events", "events", params, limit=_PAGE_OF_EVENTS):
        told = [one for one in page if one["event"] in _EVENTS and moment(one["date"]) >= since]
        last = max([*(moment(one["date"]) for one in told), *([last] if last else [])], default=None)
        yield [_event(one) for one in told], dict(cursor)
    yield [], {**cursor, **({"since": last.astimezone(UTC).isoformat()} if last else {})}


def _event(one: Mapping[str, Any]) -> FeedbackEvent:
    kind, at, address = _EVENTS[one["event"]], moment(one["date"]), str(one["email"])
    detail = bare_link(one.get("link")) if kind == "click" else masked(str(one.get("reason") or "")) or None
    made = event_id("brevo", one["event"], str(one["messageId"]), address.lower(), at.isoformat(), detail or "")
    message = str(one["messageId"])
    machine = one["event"] == "loadedByProxy"
    return FeedbackEvent(made, kind, at, address, message_id=message, detail=detail, is_machine=machine)
