"""What is pulled from Resend: its lists page by page, who withdrew, what recipients of broadcasts did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from perennial.core import clock
from perennial.delivery.tools.asking import moment_of
from perennial.delivery.tools.http import Api
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind, Withdrawal
from perennial.delivery.tools.withdrew import Since, digest_of
from perennial.delivery.tools.words import masked

_PAGE = 100
_NOT_FOUND = 404
_WATCHED = timedelta(days=14)  # how long a broadcast's recipients are read after it was sent
_ORIGINS: dict[str, FeedbackKind] = {"bounce": "hard_bounce", "complaint": "complaint", "manual": "unsubscribe"}
_TYPES: dict[str, FeedbackKind] = {
    "delivered": "delivered",
    "opened": "open",
    "clicked": "click",
    "bounced": "hard_bounce",
    "complained": "complaint",
    "unsubscribed": "unsubscribe",
}


async def pages(
    api: Api,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    ids: Mapping[str, Any] | None = None,
    missing_is_empty: bool = False,
) -> AsyncIterator[list[dict[str, Any]]]:
    """The pages of a list, each after the last id of the one before, until one is empty or says that it is the last."""
    last: str | None = None
    while True:
        asked = {**(params or {}), "limit": _PAGE, "after": last}
        answers = (_NOT_FOUND,) if missing_is_empty else ()
        reply = await api.call("GET", path, params=asked, ids=ids, answers=answers)
        told = reply.json() if reply.status != _NOT_FOUND else {}
        page = cast("list[dict[str, Any]]", told.get("data") or [])
        if page:
            yield page
        if not page or told.get("has_more") is False:
            return
        last = str(page[-1]["id"])


Addresses = Callable[[Api, datetime | None], AsyncIterator[list[str]]]


async def withdrawn(
    api: Api, cursor: Mapping[str, Any], unsubscribed: Addresses | None = None
) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
    """Suppressions since the cursor, then whom `unsubscribed` gives and the cursor does not hold.

    Resend dates an unsubscribing nowhere: its moment is the one at which we saw it, and the cursor holds digests of all
    who are unsubscribed, so that each is told once.
    """
    told = dict(cursor)
    since = Since(cursor.get("suppressions"))
    async for page in pages(api, "/suppressions"):
        dated = [(one, moment_of(one["created_at"]) or clock.now()) for one in page]
        new = [(one, at) for one, at in dated if since.is_new(one["email"], at)]
        yield [Withdrawal(one["email"], _ORIGINS[one["origin"]], at) for one, at in new], dict(told)
        if since.at is not None and all(at < since.at for _, at in dated):
            break  # newest first: what follows was read before
    told["suppressions"] = since.cursor()
    if unsubscribed is not None:
        before, now_gone, seen = set(cursor.get("unsubscribed", ())), set(), clock.now()
        async for addresses in unsubscribed(api, since.at):
            marks = {digest_of(address): address for address in addresses}
            now_gone |= set(marks)
            found = [Withdrawal(address, "unsubscribe", seen) for mark, address in marks.items() if mark not in before]
            if found:
                yield found, {**told, "unsubscribed": sorted(before | now_gone)}
        told["unsubscribed"] = sorted(now_gone)
    yield [], told


async def unsubscribed_contacts(api: Api, _since: datetime | None) -> AsyncIterator[list[str]]:
    """All contacts that are unsubscribed, in pages of all contacts."""
    async for page in pages(api, "/contacts"):
        yield [str(one["email"]) for one in page if one["unsubscribed"]]


async def unsubscribed_by_broadcasts(api: Api, since: datetime | None) -> AsyncIterator[list[str]]:
    """Who unsubscribed by a broadcast of the last weeks."""
    async for broadcast in _broadcasts(api, since):
        path = "/broadcasts/{id}/recipients"
        async for page in pages(api, path, {"type": "unsubscribed"}, ids={"id": broadcast["id"]}):
            yield [str(one["email"]) for one in page]


async def _broadcasts(api: Api, since: datetime | None) -> AsyncIterator[dict[str, Any]]:
    """The broadcasts that were sent, none that ended being watched before the cursor."""
    async for page in pages(api, "/broadcasts"):
        for one in page:
            sent = moment_of(one.get("sent_at"))
            if sent is not None and (since is None or sent >= since - _WATCHED):
                yield one


async def events(api: Api, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    """Recipients of broadcasts by what they did. Resend dates no event: each has the moment of its broadcast."""
    since = moment_of(cursor.get("since"))
    newest = since
    titles: dict[str, str] = {}
    async for page in pages(api, "/segments"):
        titles.update({str(one["id"]): str(one["name"]) for one in page})
    async for broadcast in _broadcasts(api, since):
        sent = moment_of(broadcast["sent_at"]) or clock.now()
        newest = max(sent, newest or sent)
        title = titles.get(str(broadcast.get("segment_id")))
        for kind_there, kind in _TYPES.items():
            path = "/broadcasts/{id}/recipients"
            async for page in pages(api, path, {"type": kind_there}, ids={"id": broadcast["id"]}):
                yield [_event(one, kind, broadcast["id"], sent, title) for one in page], dict(cursor)
    yield [], {**cursor, **({"since": newest.isoformat()} if newest else {})}


def _event(
    one: Mapping[str, Any], kind: FeedbackKind, broadcast: str, sent: datetime, title: str | None
) -> FeedbackEvent:
    if kind == "hard_bounce" and one.get("bounce_type") != "permanent":
        kind = "soft_bounce"
    links = one.get("clicked_links") or []
    detail = masked(str(links[0]["url"])) if kind == "click" and links else one.get("bounce_type")
    return FeedbackEvent(f"{broadcast}:{kind}:{one['id']}", kind, sent, one["email"], title, broadcast, detail)
