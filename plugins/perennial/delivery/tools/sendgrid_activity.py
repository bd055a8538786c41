"""SendGrid's activity feed: what became of each message. A paid part of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from perennial.core import clock
from perennial.delivery.tools.asking import moment_of
from perennial.delivery.tools.http import Api
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind
from perennial.delivery.tools.words import masked

_MESSAGES = 1_000
_MESSAGE_DAYS = 30  # what an account keeps at most


async def activity(api: Api, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    """Pages of events since the cursor's `until`.

    The feed has no pages of its own: a span of time with more than it tells at once is halved until it fits.
    """
    until = clock.now()
    newest = moment_of(cursor.get("until")) or until - timedelta(days=_MESSAGE_DAYS)
    spans = [(newest, until)]
    while spans:
        begin, end = spans.pop()
        messages = await _messages(api, begin, end)
        if len(messages) >= _MESSAGES and end - begin > timedelta(seconds=1):
            middle = begin + (end - begin) / 2
            spans += [(middle, end), (begin, middle)]
            continue
        events = [event for message in messages for event in await _events(api, message)]
        newest = max([newest, *(event.at for event in events)])
        yield events, {"until": newest.isoformat()}


async def _messages(api: Api, begin: datetime, end: datetime) -> list[dict[str, Any]]:
    between = " AND ".join(f'TIMESTAMP "{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"' for at in (begin, end))
    params = {"query": f"last_event_time BETWEEN {between}", "limit": _MESSAGES}
    found = (await api.call("GET", "/v3/messages", params=params)).json()
    return cast("list[dict[str, Any]]", found.get("messages") or [])


async def _events(api: Api, message: Mapping[str, Any]) -> list[FeedbackEvent]:
    kinds: list[tuple[FeedbackKind, str | None]] = []
    if message["status"] == "delivered":
        kinds.append(("delivered", None))
    if message["status"] == "not_delivered":
        kinds += await _bounce(api, message["msg_id"])
    if message["opens_count"]:
        kinds.append(("open", None))
    if message["clicks_count"]:
        kinds.append(("click", None))
    at = moment_of(message["last_event_time"]) or clock.now()
    number = message["msg_id"]
    return [
        FeedbackEvent(f"{number}:{kind}", kind, at, message["to_email"], message_id=number, detail=detail)
        for kind, detail in kinds
    ]


async def _bounce(api: Api, message_id: str) -> list[tuple[FeedbackKind, str | None]]:
    found = (await api.call("GET", "/v3/messages/{msg_id}", ids={"msg_id": message_id})).json()
    bounces = [one for one in found["events"] if one["event_name"] == "bounced"]
    kind: Literal["hard_bounce", "soft_bounce"]
    kind = "hard_bounce" if any(one.get("bounce_type") == "hard" for one in bounces) else "soft_bounce"
    return [(kind, masked(str(bounces[-1].get("reason") or "")) or None)] if bounces else []
