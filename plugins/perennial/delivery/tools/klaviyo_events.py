"""What recipients did, from the events of Klaviyo's own e-mail metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from perennial.core import clock
from perennial.delivery.tools.asking import moment_of
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind
from perennial.delivery.tools.words import masked

Pages = Callable[..., AsyncIterator[dict[str, Any]]]

_PAGE = 200
_KINDS: dict[str, FeedbackKind] = {
    "Received Email": "delivered",
    "Opened Email": "open",
    "Clicked Email": "click",
    "Bounced Email": "hard_bounce",
    "Marked Email as Spam": "complaint",
    "Unsubscribed": "unsubscribe",
    "Unsubscribed from Email Marketing": "unsubscribe",
}


async def events(pages: Pages, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    """Pages of events in the order of their time, metric by metric; the cursor holds the last second of each."""
    since = dict(cursor)
    for metric, name in [(one["id"], one["attributes"]["name"]) async for one in _metrics(pages)]:
        asked = f'and(equals(metric_id,"{metric}"),greater-or-equal(timestamp,{int(since.get(name, 0))}))'
        params = {"filter": asked, "sort": "timestamp", "include": "profile", "page[size]": _PAGE}
        async for page in pages("/api/events", params):
            people = {
                one["id"]: one["attributes"].get("email")
                for one in page.get("included") or ()
                if one["type"] == "profile"
            }
            found = [event for one in page["data"] if (event := _event(one, _KINDS[name], people)) is not None]
            moments = [int(one["attributes"].get("timestamp") or 0) for one in page["data"]]
            since[name] = max([int(since.get(name, 0)), *moments])
            yield found, dict(since)


async def _metrics(pages: Pages) -> AsyncIterator[dict[str, Any]]:
    async for page in pages("/api/metrics", {}):
        for one in page["data"]:
            if one["attributes"]["name"] in _KINDS:
                yield one


def _event(one: Mapping[str, Any], kind: FeedbackKind, people: Mapping[str, str | None]) -> FeedbackEvent | None:
    owner = ((one.get("relationships") or {}).get("profile") or {}).get("data") or {}
    address = people.get(str(owner.get("id")))
    if not address:
        return None  # a profile without an e-mail address (SMS, push)
    given = one["attributes"].get("event_properties") or {}
    if kind == "hard_bounce" and str(given.get("Bounce Type", "Hard")).lower() == "soft":
        kind = "soft_bounce"
    detail = given.get("URL") if kind == "click" else given.get("Bounce Reason")
    message = given.get("$message") or given.get("message_id")
    return FeedbackEvent(
        str(one["id"]),
        kind,
        moment_of(one["attributes"].get("timestamp") or one["attributes"].get("datetime")) or clock.now(),
        address,
        message_id=str(message) if message else None,
        detail=masked(str(detail)) if detail else None,
        is_machine=kind == "open"
        and str(given.get("machine_open", given.get("Apple Privacy Open", ""))).lower() == "true",
    )
