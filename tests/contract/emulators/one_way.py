"""Receivers of tools that only take: a gateway known by its description, and a receiver of our signed webhook.

No vendor describes them: what they hold requests to is written here. Each keeps what arrived by the key of its chunk,
so that a repeat with the same key is known as one.
"""

from __future__ import annotations

import hashlib
import hmac

from contract.emulators.people import MailingEmulator
from contract.emulators.rigs import OneConnection, Rig
from contract.emulators.server import Answer, Asked, route
from perennial.contracts.destinations import HttpConfig, WebhookOutConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.generic import GenericHttp
from perennial.delivery.tools.webhook import Webhook


class Receiver(MailingEmulator):
    key = "a key that is long enough"

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, list[dict]] = {}  # by the key of the chunk, or one anew for each call

    def authorised(self, asked: Asked) -> Answer | None:
        if asked.headers.get("Authorization") == f"Bearer {self.key}":
            return None
        return Answer({"error": "who are you"}, 401)

    @property
    def rows_taken(self) -> list[dict]:
        return [row for rows in self.taken.values() for row in rows]

    @route("GET /account")
    def account(self, asked):
        return {"ok": True}

    @route("POST /rows")
    def take(self, asked):
        key = asked.headers.get("Idempotency-Key") or f"call {self.next_id()}"
        self.taken[key] = list(self.rows(asked.json["rows"]))
        return {"ok": True}


class WebhookReceiver(Receiver):
    def authorised(self, asked: Asked) -> Answer | None:
        at, _, given = asked.headers.get("X-Perennial-Signature", "").removeprefix("t=").partition(",v1=")
        made = hmac.new(self.key.encode(), f"{at}.".encode() + asked.body, hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(made, given) else Answer({"error": "not signed"}, 401)

    @route("POST /")
    def hook(self, asked):
        given = asked.json
        if given["type"] != "check":
            self.taken[given["id"]] = [
                {"to": row["address"], "text": row["fields"].get("TEXT")} for row in self.rows(given["rows"])
            ]
        return {}


_BODY = {"rows": {"each": {"to": "{{ address }}", "text": "{{ TEXT }}"}}}
_CALL = {"path": "/rows", "body": _BODY}


def _http(emulator, manners, **config):
    connection = Connection("gateway", "http", host=emulator.url, password=Receiver.key)
    given = {"kind": "http", "channels": ("email",), "connection": "gateway", "rows_per_call": 100, "add": _CALL}
    given |= {"update": _CALL, "remove": _CALL, "check_path": "/account", **config}
    return GenericHttp("tool", HttpConfig.model_validate(given), OneConnection(connection), None, manners)


def _with_key(emulator, manners, **config):
    return _http(emulator, manners, idempotency_header="Idempotency-Key", **config)


def _webhook(emulator, manners, **config):
    connection = Connection("gateway", "http", host=emulator.url, password=Receiver.key)
    given = {"kind": "webhook", "channels": ("email",), "connection": "gateway", **config}
    return Webhook("tool", WebhookOutConfig.model_validate(given), OneConnection(connection), manners)


def _rig(emulator, connect, call: str) -> Rig:
    return Rig(emulator, connect, hand_in=dict.fromkeys(("add", "update", "remove"), call), text="TEXT")


ONE_WAY = {
    "http": _rig(Receiver, _http, "POST /rows"),
    "http, with a key for repeats": _rig(Receiver, _with_key, "POST /rows"),
    "webhook": _rig(WebhookReceiver, _webhook, "POST /"),
}
