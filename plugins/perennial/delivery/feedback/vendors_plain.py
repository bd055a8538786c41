"""Webhooks of Mailchimp, Brevo, listmonk, and the plain form of everybody else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from perennial.delivery.feedback.parsing import (
    Address,
    Item,
    Key,
    Moment,
    Parsed,
    Text,
    each,
    event,
    items_of,
    link,
    our_title,
    read_form,
    read_json,
)
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind

Events = Iterable[FeedbackEvent] | None


class _Mailchimp(Item):
    """A form: `type`, `fired_at`, `data[...]`."""

    type: Literal["subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"]
    fired_at: Moment
    email: Annotated[Address | None, Field(alias="data[email]")] = None
    reason: Annotated[Text | None, Field(alias="data[reason]")] = None
    list_id: Annotated[Key, Field(alias="data[list_id]")] = ""
    campaign_id: Annotated[Key, Field(alias="data[campaign_id]")] = ""


def mailchimp(body: bytes) -> Parsed:
    """Mailchimp's audience webhooks. An unsubscribe there is one from all that the account sends."""
    return each([read_form(body)], _Mailchimp, _of_mailchimp)


def _of_mailchimp(one: _Mailchimp) -> Events:
    if one.type not in {"unsubscribe", "cleaned"} or one.email is None:
        return None
    kind: FeedbackKind = "unsubscribe" if one.type == "unsubscribe" else "hard_bounce"
    if one.reason == "abuse":
        kind = "complaint"
    return [event(kind, one.fired_at, one.email, detail=one.reason, message_id=one.campaign_id or None)]


_BREVO: dict[str, tuple[FeedbackKind, bool]] = {
    "delivered": ("delivered", False),
    "opened": ("open", False),
    "unique_opened": ("open", False),
    "proxy_open": ("open", True),
    "unique_proxy_open": ("open", True),
    "click": ("click", False),
    "hard_bounce": ("hard_bounce", False),
    "invalid_email": ("hard_bounce", False),
    "soft_bounce": ("soft_bounce", False),
    "spam": ("complaint", False),
    "unsubscribe": ("unsubscribe", False),
    "unsubscribed": ("unsubscribe", False),
    "reply": ("reply", False),
}


class _Brevo(Item):
    """One event; `ts_event` is UTC, the dates beside it are not."""

    event: Text
    email: Address
    ts_event: Moment | None = None
    ts: Moment | None = None
    campaign: Annotated[Text | None, Field(alias="campaign name")] = None
    tag: Any = None
    message_id: Annotated[Key | None, Field(alias="message-id")] = None
    camp_id: Key | None = None
    reason: Text | None = None
    url: Annotated[Text | None, Field(alias="URL")] = None
    link: Text | None = None


class _BrevoTimed(_Brevo):
    """One of the events that something follows from: it has its moment."""

    ts_event: Moment


def brevo(body: bytes) -> Parsed:
    """Brevo's marketing and transactional webhooks, single or batched."""
    found = items_of(read_json(body))
    for one in found:
        if isinstance(one, dict) and one.get("ts_event") is None and one.get("ts") is not None:
            one["ts_event"] = one["ts"]
    ours = [one for one in found if not isinstance(one, dict) or _brevo_name(one.get("event")) in _BREVO]
    parsed = each(ours, _BrevoTimed, _of_brevo)
    return Parsed(parsed.events, parsed.ignored + len(found) - len(ours), parsed.refused, parsed.problems)


def _brevo_name(name: Any) -> str:
    """`hardBounce` of the settings and `hard_bounce` of the events are one."""
    text = name if isinstance(name, str) else ""
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in text)


def _of_brevo(one: _BrevoTimed) -> Events:
    kind, is_machine = _BREVO[_brevo_name(one.event)]
    tag = one.tag if isinstance(one.tag, str) else None
    return [
        event(
            kind,
            one.ts_event,
            one.email,
            detail=link(one.url or one.link) if kind == "click" else one.reason,
            list_title=our_title(one.campaign, tag),
            message_id=one.message_id or one.camp_id,
            is_machine=is_machine,
        )
    ]


class _Listmonk(Item):
    """What listmonk takes at its own `/webhooks/bounce`, so that a relay can post it to both."""

    email: Address
    type: Literal["hard", "soft", "complaint", "unsubscribe"]
    created_at: Annotated[Moment, Field(alias="created_at")]
    campaign: Text | None = None
    campaign_uuid: Key | None = None


_LISTMONK: dict[str, FeedbackKind] = {
    "hard": "hard_bounce",
    "soft": "soft_bounce",
    "complaint": "complaint",
    "unsubscribe": "unsubscribe",
}


def listmonk(body: bytes) -> Parsed:
    """Bounces in listmonk's own form (it posts nothing by itself: the rest is pulled)."""
    return each(items_of(read_json(body)), _Listmonk, _of_listmonk)


def _of_listmonk(one: _Listmonk) -> Events:
    kind = _LISTMONK[one.type]
    return [event(kind, one.created_at, one.email, list_title=one.campaign, message_id=one.campaign_uuid)]


class _Plain(Item):
    """One event in our own form."""

    id: Annotated[Key, Field(min_length=1)]
    kind: FeedbackKind
    at: Moment
    address: Address
    list: Annotated[Text | None, Field(max_length=160)] = None
    message_id: Key | None = None
    detail: Text | None = None
    machine: bool = False
    scope: Literal["all", "list"] = "all"


def plain_form(body: bytes) -> Parsed:
    """Our own form, for SMS gateways, call centres, a mail server's bounces: `{events: [...]}`, or one, or a list."""
    found = read_json(body)
    inner = found.get("events", found) if isinstance(found, dict) else found
    return each(items_of(inner), _Plain, _of_plain)


def _of_plain(one: _Plain) -> Events:
    return [
        event(
            one.kind,
            one.at,
            one.address,
            own_id=one.id,
            detail=link(one.detail) if one.kind == "click" else one.detail,
            list_title=one.list,
            message_id=one.message_id,
            is_machine=one.machine,
            scope=one.scope,
        )
    ]
