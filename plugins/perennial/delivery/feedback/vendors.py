"""Which parser reads the webhooks of which kind of destination."""

from __future__ import annotations

from collections.abc import Callable

from perennial.delivery.feedback import vendors_nested, vendors_plain
from perennial.delivery.feedback.parsing import Parsed

Parser = Callable[[bytes], Parsed]

PARSERS: dict[str, Parser] = {
    "mailchimp": vendors_plain.mailchimp,
    "brevo": vendors_plain.brevo,
    "listmonk": vendors_plain.listmonk,
    "sendgrid": vendors_nested.sendgrid,
    "klaviyo": vendors_nested.klaviyo,
    "resend": vendors_nested.resend,
    "museletter": vendors_nested.sns,
}
FORM_KINDS = frozenset({"mailchimp"})  # bodies that are forms; all others are JSON


def parser_of(kind: str) -> Parser:
    """The parser of a kind; what has no form of its own posts ours."""
    return PARSERS.get(kind, vendors_plain.plain_form)
