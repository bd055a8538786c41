"""Webhooks of SendGrid, Klaviyo and Resend, and of Amazon SNS, which tells museletter's mail."""

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
    read_json,
)
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind

Events = Iterable[FeedbackEvent] | None


class _Sendgrid(Item):
    """One event of the Event Webhook; `sg_event_id` is the same when it is posted again."""

    event: Text
    email: Address
    timestamp: Moment
    sg_event_id: Annotated[Key, Field(min_length=1)]
    sg_message_id: Key | None = None
    sg_machine_open: bool = False
    type: Text | None = None
    reason: Text | None = None
    url: Text | None = None
    category: Any = None
    singlesend_name: Text | None = None


_SENDGRID: dict[str, FeedbackKind] = {
    "delivered": "delivered",
    "open": "open",
    "click": "click",
    "bounce": "hard_bounce",
    "spamreport": "complaint",
    "unsubscribe": "unsubscribe",
    "group_unsubscribe": "unsubscribe",
}


def sendgrid(body: bytes) -> Parsed:
    """SendGrid's arrays. A bounce of type `blocked` is soft; an unsubscribe from a group is from the list alone."""
    return each(items_of(read_json(body)), _Sendgrid, _of_sendgrid)


def _of_sendgrid(one: _Sendgrid) -> Events:
    kind = _SENDGRID.get(one.event)
    if kind is None:
        return None
    if kind == "hard_bounce" and one.type == "blocked":
        kind = "soft_bounce"
    names = [one.category] if isinstance(one.category, str) else one.category
    categories = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [
        event(
            kind,
            one.timestamp,
            one.email,
            own_id=one.sg_event_id,
            detail=link(one.url) if kind == "click" else one.reason,
            list_title=our_title(one.singlesend_name, *categories),
            message_id=one.sg_message_id,
            is_machine=one.sg_machine_open,
            scope="list" if one.event == "group_unsubscribe" else "all",
        )
    ]


class _Profile(Item):
    type: Text
    attributes: dict[str, Any] = Field(default_factory=dict)


class _KlaviyoAttributes(Item):
    datetime: Moment
    event_properties: dict[str, Any] = Field(default_factory=dict)


class _KlaviyoEvent(Item):
    id: Key
    attributes: _KlaviyoAttributes


class _KlaviyoPayload(Item):
    data: _KlaviyoEvent
    included: tuple[_Profile, ...] = ()


class _Klaviyo(Item):
    """One item of a system webhook: the payload is that of Get Event."""

    topic: Annotated[Text, Field(pattern=r"^event:klaviyo\.[a-z_]+$")]
    external_id: Key | None = None
    payload: _KlaviyoPayload


class _Email(Item):
    email: Address


_KLAVIYO: dict[str, FeedbackKind] = {
    "received_email": "delivered",
    "email_delivered": "delivered",
    "opened_email": "open",
    "clicked_email": "click",
    "bounced_email": "hard_bounce",
    "marked_email_as_spam": "complaint",
    "unsubscribed_from_email_marketing": "unsubscribe",
    "unsubscribed_from_list": "unsubscribe",
    "unsubscribed": "unsubscribe",
}


def klaviyo(body: bytes) -> Parsed:
    """Klaviyo's system webhooks: `{data: [{topic, external_id, payload}]}`."""
    found = read_json(body)
    inner = found.get("data", found) if isinstance(found, dict) else found
    items = items_of(inner)
    about_us = [one for one in items if not isinstance(one, dict) or _klaviyo_kind(one.get("topic")) is not None]
    parsed = each(about_us, _Klaviyo, _of_klaviyo)
    return Parsed(parsed.events, parsed.ignored + len(items) - len(about_us), parsed.refused, parsed.problems)


def _klaviyo_kind(topic: Any) -> FeedbackKind | None:
    return _KLAVIYO.get(topic.removeprefix("event:klaviyo.")) if isinstance(topic, str) else None


def _of_klaviyo(one: _Klaviyo) -> Events:
    kind = _klaviyo_kind(one.topic)
    said = one.payload.data.attributes.event_properties
    emails = [profile.attributes.get("email") for profile in one.payload.included if profile.type == "profile"]
    address = _Email.model_validate({"email": next(filter(None, emails), None) or said.get("Recipient Email Address")})
    if kind is None:
        return None
    if kind == "hard_bounce" and str(said.get("Bounce Type", "")).lower() == "soft":
        kind = "soft_bounce"
    return [
        event(
            kind,
            one.payload.data.attributes.datetime,
            address.email,
            own_id=one.external_id or one.payload.data.id,
            detail=link(_text(said.get("URL"))) if kind == "click" else None,
            list_title=our_title(_text(said.get("Campaign Name")), _text(said.get("List"))),
            message_id=_text(said.get("$message")),
            is_machine=said.get("machine_open") is True or said.get("Apple Privacy Open") in {True, "True", "true"},
            scope="list" if one.topic.endswith(".unsubscribed_from_list") else "all",
        )
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


class _ResendBounce(Item):
    type: Literal["Undetermined", "Transient", "Permanent"]
    message: Text = ""


class _ResendSuppressed(Item):
    reason: Literal["previous_bounce", "previous_complaint"]


class _ResendClick(Item):
    link: Text
    timestamp: Moment


class _ResendData(Item):
    email_id: Key | None = None
    to: tuple[Address, ...] = ()
    email: Address | None = None
    unsubscribed: bool | None = None
    tags: dict[str, Any] | None = None
    bounce: _ResendBounce | None = None
    suppressed: _ResendSuppressed | None = None
    click: _ResendClick | None = None


class _Resend(Item):
    """One event, as the `webhooks` of Resend's specification say."""

    type: Text
    created_at: Moment
    data: _ResendData


_RESEND: dict[str, FeedbackKind] = {
    "email.delivered": "delivered",
    "email.opened": "open",
    "email.clicked": "click",
    "email.complained": "complaint",
}


def resend(body: bytes) -> Parsed:
    """Resend's webhooks; a contact that was updated to `unsubscribed` is an unsubscribe from all."""
    return each(items_of(read_json(body)), _Resend, _of_resend)


def _of_resend(one: _Resend) -> Events:
    data = one.data
    if one.type == "contact.updated":
        if not data.unsubscribed or data.email is None:
            return None
        return [event("unsubscribe", one.created_at, data.email)]
    kind = _resend_kind(one)
    if kind is None:
        return None
    tags = [value for value in (data.tags or {}).values() if isinstance(value, str)]
    told = data.bounce.message if data.bounce else None
    at = data.click.timestamp if data.click else one.created_at
    detail = link(data.click.link) if data.click else told
    title = our_title(*(tag for tag in tags if "__" in tag))
    return [event(kind, at, to, detail=detail, list_title=title, message_id=data.email_id) for to in data.to]


def _resend_kind(one: _Resend) -> FeedbackKind | None:
    if one.type == "email.bounced" and one.data.bounce:
        return "hard_bounce" if one.data.bounce.type == "Permanent" else "soft_bounce"
    if one.type == "email.suppressed" and one.data.suppressed:
        return "hard_bounce" if one.data.suppressed.reason == "previous_bounce" else "complaint"
    return _RESEND.get(one.type)


class _Recipient(Item):
    address: Annotated[Address, Field(alias="emailAddress")]
    code: Annotated[Text | None, Field(alias="diagnosticCode")] = None


class _SesBounce(Item):
    type: Annotated[Literal["Permanent", "Transient", "Undetermined"], Field(alias="bounceType")]
    recipients: Annotated[tuple[_Recipient, ...], Field(alias="bouncedRecipients")]
    timestamp: Moment


class _SesComplaint(Item):
    recipients: Annotated[tuple[_Recipient, ...], Field(alias="complainedRecipients")]
    timestamp: Moment


class _SesDelivery(Item):
    recipients: tuple[Address, ...]
    timestamp: Moment


class _SesMoment(Item):
    timestamp: Moment
    link: Text | None = None


class _SesMail(Item):
    message_id: Annotated[Key, Field(alias="messageId")]
    destination: tuple[Address, ...] = ()
    tags: dict[str, Any] = Field(default_factory=dict)


class _Ses(Item):
    """What SES tells of a message: `notificationType` of identities, `eventType` of configuration sets."""

    notification: Annotated[Text | None, Field(alias="notificationType")] = None
    event: Annotated[Text | None, Field(alias="eventType")] = None
    mail: _SesMail
    bounce: _SesBounce | None = None
    complaint: _SesComplaint | None = None
    delivery: _SesDelivery | None = None
    open: _SesMoment | None = None
    click: _SesMoment | None = None


class _Sns(Item):
    """The envelope of Amazon SNS."""

    type: Annotated[Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"], Field(alias="Type")]
    message: Annotated[str, Field(alias="Message", max_length=400_000)]


def sns(body: bytes) -> Parsed:
    """Bounces, complaints, deliveries, opens and clicks of SES in SNS's envelope.

    A confirmation of a subscription is not answered: it names an address that we would have to fetch (L23). A person
    confirms it in AWS.
    """
    return each(items_of(read_json(body)), _Sns, _of_sns)


def _of_sns(one: _Sns) -> Events:
    if one.type != "Notification":
        return None
    return list(_of_ses(_Ses.model_validate(read_json(one.message.encode()))))


def _of_ses(told: _Ses) -> Iterable[FeedbackEvent]:
    mail = told.mail
    names = [name for value in mail.tags.values() for name in (value if isinstance(value, list) else [value])]
    about = {
        "list_title": our_title(*(name for name in names if isinstance(name, str) and "__" in name)),
        "message_id": mail.message_id,
    }
    if told.bounce:
        kind: FeedbackKind = "hard_bounce" if told.bounce.type == "Permanent" else "soft_bounce"
        for who in told.bounce.recipients:
            yield event(kind, told.bounce.timestamp, who.address, detail=who.code, **about)
    if told.complaint:
        for who in told.complaint.recipients:
            yield event("complaint", told.complaint.timestamp, who.address, **about)
    if told.delivery:
        for address in told.delivery.recipients:
            yield event("delivered", told.delivery.timestamp, address, **about)
    # Who of several recipients opened or clicked is not told: only of a message to one is it known.
    if len(mail.destination) == 1:
        if told.open:
            yield event("open", told.open.timestamp, mail.destination[0], **about)
        if told.click:
            yield event("click", told.click.timestamp, mail.destination[0], detail=link(told.click.link), **about)
