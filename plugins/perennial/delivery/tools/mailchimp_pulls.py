"""What is read from Mailchimp: who withdrew, and what the recipients of the audience's campaigns did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from perennial.core import clock
from perennial.delivery.tools.accounts import moment
from perennial.delivery.tools.events import event_id
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind, Withdrawal
from perennial.delivery.tools.words import bare_link

if TYPE_CHECKING:
    from perennial.delivery.tools.mailchimp import Mailchimp

_STATUSES: tuple[tuple[str, FeedbackKind], ...] = (("unsubscribed", "unsubscribe"), ("cleaned", "hard_bounce"))
_MEMBERS = "members.email_address,members.last_changed,members.status,total_items"
_ACTIVITY_DAYS = 30  # how long a campaign is asked about after it was sent
_DELIVERED_AFTER = timedelta(days=1)  # bounces have come in by then
_ACTIONS: dict[str, FeedbackKind] = {"open": "open", "click": "click"}


async def withdrawals(
    tool: Mailchimp, cursor: Mapping[str, Any]
) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
    """Members who may not be mailed any more, by when they changed; a second of overlap, so that none slips through."""
    now = dict(cursor)
    for status, kind in _STATUSES:
        params = {"status": status, "sort_field": "last_changed", "sort_dir": "ASC", "fields": _MEMBERS}
        params |= {"since_last_changed": cursor[status]} if status in cursor else {}
        async for page in tool.pages("GET /lists/{list_id}/members", "members", params):
            found = [Withdrawal(one["email_address"], kind, moment(one["last_changed"])) for one in page]
            now[status] = (max(one.at for one in found) - timedelta(seconds=1)).isoformat()
            yield found, dict(now)
    since = moment(cursor["complaint"]) if "complaint" in cursor else None
    last: datetime | None = None
    async for page in tool.pages("GET /lists/{list_id}/abuse-reports", "abuse_reports", {}):
        told = [Withdrawal(one["email_address"], "complaint", moment(one["date"])) for one in page]
        last = max([*(one.at for one in told), *([last] if last else [])])
        yield [one for one in told if since is None or one.at >= since], dict(now)
    if last is not None:
        yield [], {**now, "complaint": last.isoformat()}


async def feedback(
    tool: Mailchimp, cursor: Mapping[str, Any], list_id: str
) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    """Opens, clicks, bounces, unsubscribes, complaints and deliveries of the campaigns of the last 30 days.

    The cursor has, per campaign, the moment up to which its activity was read, and whether its deliveries were.
    """
    today = clock.now()
    segments = {int(one["id"]): str(one["name"]) async for one in _segments(tool)}
    params = {"list_id": list_id, "status": "sent", "since_send_time": (today - _days()).isoformat()}
    campaigns = [one async for page in tool.pages("GET /campaigns", "campaigns", params) for one in page]
    known = {one["id"] for one in campaigns}
    now: dict[str, Any] = {name: state for name, state in cursor.items() if name in known}
    for campaign in campaigns:
        state = dict(now.get(campaign["id"], {}))
        title = _title(campaign, segments)
        since = state.get("since")
        latest = since
        async for events in _of_campaign(tool, campaign["id"], since, title):
            latest = max([*(one.at.isoformat() for one in events), *([latest] if latest else [])])
            yield events, dict(now)
        sent_at = moment(campaign["send_time"])
        if not state.get("delivered") and sent_at + _DELIVERED_AFTER <= today:
            async for events in _delivered(tool, campaign["id"], sent_at, title):
                yield events, dict(now)
            state["delivered"] = True
        now[campaign["id"]] = {**state, **({"since": latest} if latest else {})}
        yield [], dict(now)


async def _segments(tool: Mailchimp) -> AsyncIterator[dict[str, Any]]:
    async for page in tool.pages("GET /lists/{list_id}/segments", "segments", {"type": "static"}):
        for one in page:
            yield one


def _days() -> timedelta:
    return timedelta(days=_ACTIVITY_DAYS)


def _title(campaign: Mapping[str, Any], segments: Mapping[int, str]) -> str | None:
    options = (campaign.get("recipients") or {}).get("segment_opts") or {}
    return segments.get(int(options.get("saved_segment_id") or 0))


async def _of_campaign(
    tool: Mailchimp, campaign: str, since: str | None, title: str | None
) -> AsyncIterator[list[FeedbackEvent]]:
    ids = {"campaign_id": campaign}
    from_then = moment(since) if since else None
    params = {"since": since} if since else {}
    async for page in tool.pages("GET /reports/{campaign_id}/email-activity", "emails", params, **ids):
        yield [event for one in page for event in _activity(campaign, one, title)]
    async for page in tool.pages("GET /reports/{campaign_id}/unsubscribed", "unsubscribes", {}, **ids):
        found = [_event("unsubscribe", campaign, one["email_address"], moment(one["timestamp"]), title) for one in page]
        yield [one for one in found if from_then is None or one.at >= from_then]
    given = await tool.call("GET", "/reports/{campaign_id}/abuse-reports", ids=ids)
    found = [
        _event("complaint", campaign, one["email_address"], moment(one["date"]), title)
        for one in given.get("abuse_reports", [])
    ]
    yield [one for one in found if from_then is None or one.at >= from_then]


async def _delivered(
    tool: Mailchimp, campaign: str, at: datetime, title: str | None
) -> AsyncIterator[list[FeedbackEvent]]:
    ids = {"campaign_id": campaign}
    async for page in tool.pages("GET /reports/{campaign_id}/sent-to", "sent_to", {}, **ids):
        yield [
            _event("delivered", campaign, one["email_address"], at, title)
            for one in page
            if one.get("status") == "sent"
        ]


def _activity(campaign: str, person: Mapping[str, Any], title: str | None) -> Iterator[FeedbackEvent]:
    for one in person.get("activity", []):
        kind = _ACTIONS.get(one["action"])
        if one["action"] == "bounce":
            kind = "hard_bounce" if one.get("type") == "hard" else "soft_bounce"
        if kind is not None:
            detail = bare_link(one.get("url")) if kind == "click" else one.get("type")
            yield _event(kind, campaign, person["email_address"], moment(one["timestamp"]), title, detail=detail)


def _event(
    kind: FeedbackKind, campaign: str, address: str, at: datetime, title: str | None, *, detail: str | None = None
) -> FeedbackEvent:
    made = event_id("mailchimp", kind, campaign, address.lower(), at.isoformat(), detail or "")
    return FeedbackEvent(made, kind, at, address, list_title=title, message_id=campaign, detail=detail)
