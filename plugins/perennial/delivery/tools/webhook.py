"""Rows of a list posted to a program of the company's own, signed.

`POST <host of the connection>` with JSON: `id` (the same for the same rows of the same list), `type` (`list.add`,
`list.update`, `list.remove`), `list`, `campaign_id`, `channel`, `as_of`, and `rows`: client_id, client_key, address,
fields. The signature header holds `t=<unix time>,v1=<hex>`: HMAC-SHA256 with the connection's password over
`<t>.<body>`; the receiver refuses old times. `Idempotency-Key` repeats the id: a receiver that has seen it answers 2xx
and does nothing, so that a call that broke may be made again. An answer may refuse rows: `{"rejected": [{"client_id":
..., "words": ...}]}`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from perennial.contracts.destinations import WebhookOutConfig
from perennial.core import clock
from perennial.core.connections import ConnectionStore
from perennial.core.errors import ConfigError, Problem
from perennial.delivery.records import ACTIONS, CheckStep, Description
from perennial.delivery.tools.accounts import base_url, secret
from perennial.delivery.tools.asking import checked
from perennial.delivery.tools.http import Api, Manners
from perennial.delivery.tools.one_way import OneWay
from perennial.delivery.tools.records import (
    Chunk,
    Contact,
    Limits,
    ListTarget,
    RemoteList,
    RowOutcome,
    Submitted,
    ToolCapabilities,
)
from perennial.delivery.tools.rows import plain
from perennial.delivery.tools.words import masked

_MIN_SECRET = 16


class Webhook(OneWay):
    """One receiver."""

    def __init__(
        self, name: str, config: WebhookOutConfig, connections: ConnectionStore, manners: Manners | None = None
    ) -> None:
        self._name, self._config, self._connections, self._manners = name, config, connections, manners
        self._opened: Api | None = None

    @property
    def capabilities(self) -> ToolCapabilities:
        """Every verb; the receiver knows a repeat by its id."""
        return ToolCapabilities(
            actions=ACTIONS,
            list_types=("send", "audience"),
            repeatable=True,
            readable=False,
            reaches_people=self._config.reaches_people,
        )

    @property
    def limits(self) -> Limits:
        """As the destination says."""
        config = self._config
        rate = config.calls_per_second * config.rate_share
        return Limits(config.rows_per_call, rate, 1, timeout_seconds=config.timeout_seconds)

    def describe(self) -> Description:
        """The connection that says where it is."""
        target = f"webhook of the connection {self._config.connection}"
        return Description(self._name, "webhook", self._config.channels, target)

    async def check(self) -> list[CheckStep]:
        """Address, secret, and whether the receiver knows our signature: it gets a list without rows."""
        return await checked((("connection", self._check_connection), ("receiver", self._check_receiver)))

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The receiver makes of a list what it wants."""
        self._api()
        ids = {
            "campaign_id": target.key.campaign_id,
            "channel": target.key.channel,
            "as_of": target.key.as_of.isoformat(),
            "list_type": target.list_type,
            "message": target.message,
        }
        return RemoteList(target.title, ids)

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Post the rows. See `Tool.submit`."""
        rows = [_row(contact) for contact in chunk.contacts]
        body = {"id": chunk.chunk_id, "type": f"list.{chunk.action}", "list": where.title, **where.ids, "rows": rows}
        refused = _refused(await self._post(chunk.chunk_id, body))
        outcomes = []
        for contact in chunk.contacts:
            if contact.client_id in refused:
                words = masked(refused[contact.client_id]) or None
                outcomes.append(RowOutcome(contact.client_id, "rejected", "refused_by_tool", words))
            else:
                outcomes.append(RowOutcome(contact.client_id, "accepted"))
        return Submitted(tuple(outcomes))

    async def close(self) -> None:
        """End the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def _post(self, chunk_id: str, body: Mapping[str, Any]) -> Any:
        headers = {"Idempotency-Key": chunk_id}
        reply = await self._api().call("POST", "", body=body, headers=headers, effect="repeatable", signing=self._sign)
        return reply.json()

    def _sign(self, body: bytes) -> dict[str, str]:
        key = secret(self._connections.get(self._config.connection), "the shared secret").encode()
        return {self._config.header: signature(body, key, int(clock.now().timestamp()))}

    def _api(self) -> Api:
        if self._opened is None:
            connection = self._connections.get(self._config.connection)
            if len(secret(connection, "the shared secret")) < _MIN_SECRET:
                fix = "make one of 32 random characters, e.g. by `openssl rand -hex 16`"
                said = f"its password is shorter than {_MIN_SECRET} characters"
                raise ConfigError(Problem(f"connection {connection.id}", said, fix))
            url = base_url(connection, None, "")
            self._opened = Api(self._name, url, headers={}, limits=self.limits, manners=self._manners)
        return self._opened

    async def _check_connection(self) -> str:
        self._api()
        return f"connection {self._config.connection} has an address and a secret"

    async def _check_receiver(self) -> str:
        await self._post("check", {"id": "check", "type": "check", "rows": []})
        return "the receiver takes what we sign"


def signature(body: bytes, secret_key: bytes, at: int) -> str:
    """`t=<unix time>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`."""
    return f"t={at},v1={hmac.new(secret_key, f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


def _row(contact: Contact) -> dict[str, Any]:
    fields = {name: None if cell is None else plain(cell) for name, cell in contact.fields.items()}
    return {
        "client_id": contact.client_id,
        "client_key": contact.client_key,
        "address": contact.address,
        "fields": fields,
    }


def _refused(answer: Any) -> dict[str, str]:
    """client_id and words of the rows that the answer refuses."""
    rows = answer.get("rejected") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        return {}
    return {str(row.get("client_id")): str(row.get("words") or "") for row in rows if isinstance(row, dict)}
