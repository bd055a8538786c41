"""What is read from listmonk: who withdrew, what bounced, and who left one of our lists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from perennial.core import clock
from perennial.core.sqltext import literal
from perennial.delivery.tools.accounts import moment
from perennial.delivery.tools.events import event_id
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind, Withdrawal

if TYPE_CHECKING:
    from perennial.delivery.tools.listmonk import Listmonk

_OVERLAP = timedelta(seconds=1)
_KINDS: dict[str, FeedbackKind] = {"hard": "hard_bounce", "soft": "soft_bounce", "complaint": "complaint"}
_OF_A_DAY = re.compile(r"__\d{4}-\d\d-\d\d$")
_LIST_DAYS = 90  # how long a list of one day is asked who left it


async def withdrawals(
    tool: Listmonk, cursor: Mapping[str, Any]
) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
    """Blocklisted subscribers in the order in which they changed, hard bounces and complaints, who left one list."""
    now = dict(cursor)
    query = "subscribers.status = 'blocklisted'"
    if "blocklisted" in cursor:
        query += f" AND subscribers.updated_at >= {literal(str(cursor['blocklisted']))}"
    async for page in tool.pages("/subscribers", {"query": query, "order_by": "updated_at", "order": "ASC"}):
        now["blocklisted"] = (max(moment(one["updated_at"]) for one in page) - _OVERLAP).isoformat()
        yield list(await asyncio.gather(*(_why(tool, one) for one in page))), dict(now)
    last: datetime | None = None
    async for found in _bounces(tool, cursor.get("bounces")):
        last = max([*(at for _, _, at in found), *([last] if last else [])], default=None)
        gone = [Withdrawal(one["email"], kind, at) for one, kind, at in found if kind != "soft_bounce"]
        yield gone, dict(now)
    now |= {"bounces": last.isoformat()} if last else {}
    yield [], dict(now)
    left = cursor.get("left")
    async for one in _recent_lists(tool):
        async for gone in _left(tool, one, cursor.get("left")):
            left = _max(left, (each.at for each in gone))
            yield gone, dict(now)
    yield [], {**now, **({"left": left} if left else {})}


async def _why(tool: Listmonk, one: Mapping[str, Any]) -> Withdrawal:
    """Why a subscriber is blocklisted: its own bounces tell, else it asked for it."""
    bounces = await tool.get("/subscribers/{id}/bounces", ids={"id": one["id"]})
    kinds = {_KINDS.get(str(each["type"])) for each in bounces or []}
    kind: FeedbackKind = "hard_bounce" if "hard_bounce" in kinds else "unsubscribe"
    return Withdrawal(str(one["email"]), "complaint" if "complaint" in kinds else kind, moment(one["updated_at"]))


async def _bounces(
    tool: Listmonk, since: str | None
) -> AsyncIterator[list[tuple[dict[str, Any], FeedbackKind, datetime]]]:
    """Bounces, the latest first, down to the cursor."""
    until = moment(since) if since else None
    async for page in tool.pages("/bounces", {"order_by": "created_at", "order": "desc"}):
        told = [(one, _KINDS[one["type"]], moment(one["created_at"])) for one in page if one["type"] in _KINDS]
        yield [each for each in told if until is None or each[2] >= until]
        if until is not None and any(at < until for _, _, at in told):
            return


async def feedback(
    tool: Listmonk, cursor: Mapping[str, Any]
) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    """Bounces and complaints; who opened and clicked, listmonk's API does not tell by person."""
    now, last = dict(cursor), _max(cursor.get("bounces"), ())
    async for found in _bounces(tool, cursor.get("bounces")):
        last = _max(last, (at for _, _, at in found))
        yield [_bounce(one, kind, at) for one, kind, at in found], dict(now)
    yield [], {**now, **({"bounces": last} if last else {})}


def _max(last: str | None, moments: Iterable[datetime]) -> str | None:
    return max([*(at.isoformat() for at in moments), *([last] if last else [])], default=None)


async def _recent_lists(tool: Listmonk) -> AsyncIterator[dict[str, Any]]:
    from perennial.delivery.tools.listmonk import TAG

    oldest = clock.now() - timedelta(days=_LIST_DAYS)
    async for page in tool.pages("/lists", {"tag": TAG, "minimal": "true"}):
        for one in page:
            if not _OF_A_DAY.search(one["name"]) or moment(one["created_at"]) >= oldest:
                yield one


async def _left(tool: Listmonk, of: Mapping[str, Any], since: str | None) -> AsyncIterator[list[Withdrawal]]:
    params = {"list_id": of["id"], "subscription_status": "unsubscribed"}
    async for page in tool.pages("/subscribers", params):
        gone = [
            Withdrawal(one["email"], "unsubscribe", moment(each["updated_at"]), list_title=of["name"])
            for one in page
            for each in one["lists"]
            if each["id"] == of["id"]
        ]
        yield [one for one in gone if since is None or one.at >= moment(since)]


def _bounce(one: Mapping[str, Any], kind: FeedbackKind, at: datetime) -> FeedbackEvent:
    campaign = one.get("campaign") or {}
    message = str(campaign["id"]) if campaign.get("id") else None
    return FeedbackEvent(event_id("listmonk", "bounce", str(one["id"])), kind, at, one["email"], message_id=message)
