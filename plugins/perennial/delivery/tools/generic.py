"""A tool that we know by its description in config/destinations.yml only: an SMS gateway, a call centre, a CRM's tasks.

What is sent is a template (Jinja, in a sandbox) over a row's fields by the tool's names, and `address`, `key` (the same
for the same client, list and verb), `client_id`, `client_key`, `campaign_id`, `channel`, `as_of`, `list`, and `text`:
the card's message of config/templates. A text that is one name alone, `"{{ value }}"`, gives the value as it is: a
number stays one. What the answer means is declared, too (`HttpAnswer`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from perennial.contracts.destinations import HttpAnswer, HttpCall, HttpConfig
from perennial.core.connections import ConnectionStore
from perennial.core.errors import ConfigError, Problem, RowRejected
from perennial.core.ids import digest_of
from perennial.delivery.messages import LIST_NAMES, Snippet, Wording
from perennial.delivery.records import CheckStep, Description
from perennial.delivery.tools.accounts import base_url, secret
from perennial.delivery.tools.asking import checked
from perennial.delivery.tools.http import Api, Effect, Manners, Reply
from perennial.delivery.tools.one_way import OneWay
from perennial.delivery.tools.records import (
    Chunk,
    ChunkRefused,
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

if TYPE_CHECKING:
    from perennial.delivery.records import Action

_ALONE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_IN_PATH = re.compile(r"\{(\w+)\}")
_OF_A_ROW = frozenset({"address", "key", "client_id", "client_key"})
_OF_A_LIST = frozenset({*LIST_NAMES, "list", "text"})
_EACH = "each"
_ABSENT = object()


class GenericHttp(OneWay):
    """One account of such a tool."""

    def __init__(
        self,
        name: str,
        config: HttpConfig,
        connections: ConnectionStore,
        templates: Path,
        manners: Manners | None = None,
    ) -> None:
        self._name, self._config, self._connections = name, config, connections
        self._templates, self._manners = templates, manners
        self._calls: dict[Action, HttpCall] = {"add": config.add}
        if config.update is not None:
            self._calls["update"] = config.update
        if config.remove is not None:
            self._calls["remove"] = config.remove
        self._opened: Api | None = None
        self._snippets: dict[str, Snippet] = {}
        self._wordings: dict[str, Wording] = {}

    @property
    def capabilities(self) -> ToolCapabilities:
        """The verbs that have a call; an audience only where there are all three."""
        whole = len(self._calls) == len(("add", "update", "remove"))
        return ToolCapabilities(
            actions=tuple(self._calls),
            list_types=("send", "audience") if whole else ("send",),
            repeatable=self._config.idempotency_header is not None,
            readable=False,
            reaches_people=self._config.reaches_people,
        )

    @property
    def limits(self) -> Limits:
        """As the destination says."""
        config = self._config
        rate = config.calls_per_second * config.rate_share
        return Limits(config.rows_per_call, rate, config.connections, timeout_seconds=config.timeout_seconds)

    def describe(self) -> Description:
        """The connection that says where it is."""
        target = f"HTTP, by the connection {self._config.connection}"
        return Description(self._name, "http", self._config.channels, target)

    async def check(self) -> list[CheckStep]:
        """Connection, templates, and `check_path` where there is one."""
        steps = [("connection", self._check_connection), ("templates", self._check_templates)]
        if self._config.check_path:
            steps.append(("answer", self._check_answer))
        return await checked(steps)

    async def prepare(self, target: ListTarget) -> RemoteList:
        """See that the calls can be filled in from the list's fields. Raises ConfigError when they cannot."""
        self._api()
        known = {*(name for name, _ in target.fields), *_OF_A_ROW, *_OF_A_LIST}
        message = target.message or target.key.campaign_id
        for action, call in self._calls.items():
            used = self._names(call)
            missing = sorted(used - known)
            if missing:
                fix = "add them to the card's merge_fields, or take them out of the call"
                said = f"`{action}` uses {', '.join(missing)}, which the list does not have"
                raise ConfigError(Problem(f"destination {self._name}", said, fix))
            if "text" in used:
                self._wording(message).require(known - {"text"})
        ids = {
            "campaign_id": target.key.campaign_id,
            "channel": target.key.channel,
            "as_of": target.key.as_of.isoformat(),
            "message": message,
        }
        return RemoteList(target.title, ids)

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Make the call of the chunk's verb. See `Tool.submit`."""
        call = self._calls[chunk.action]
        rows, outcomes = self._filled(call, chunk, where)
        if rows:
            reply = await self._call(call, chunk.chunk_id, [values for _, values in rows])
            outcomes += _judged(self._config.answer, reply, rows, self._name)
        return Submitted(tuple(outcomes))

    async def close(self) -> None:
        """End the connections."""
        if self._opened is not None:
            await self._opened.close()

    def _filled(
        self, call: HttpCall, chunk: Chunk, where: RemoteList
    ) -> tuple[list[tuple[Contact, dict[str, Any]]], list[RowOutcome]]:
        """The rows with their values, and those that lack one that the call shows."""
        rows, outcomes = [], []
        for contact in chunk.contacts:
            values = self._values(contact, chunk.action, where)
            try:
                if "text" in self._names(call):
                    values["text"] = self._wording(where.ids["message"]).said(values).text.strip()
                self._rendered(call.body, [values])
                rows.append((contact, values))
            except RowRejected as error:
                words = error.problems[0].message
                outcomes.append(RowOutcome(contact.client_id, "rejected", "missing_value", words))
        return rows, outcomes

    def _values(self, contact: Contact, action: str, where: RemoteList) -> dict[str, Any]:
        fields = {name: None if cell is None else plain(cell) for name, cell in contact.fields.items()}
        return {
            **where.ids,
            "list": where.title,
            **fields,
            "address": contact.address,
            "key": digest_of([where.title, contact.client_id, action], length=32),
            "client_id": contact.client_id,
            "client_key": contact.client_key,
        }

    async def _call(self, call: HttpCall, chunk_id: str, rows: list[dict[str, Any]]) -> Reply:
        one = rows[0] if len(rows) == 1 else {}
        headers = {name: str(self._text(text, one)) for name, text in call.headers.items()}
        if self._config.idempotency_header:
            headers[self._config.idempotency_header] = chunk_id
        body: Any = self._rendered(call.body, rows)
        if call.encode == "form":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(body or {}, doseq=True).encode()
        effect: Effect = "repeatable" if self._config.idempotency_header else "once"
        return await self._api().call(call.method, call.path, ids=one, body=body, headers=headers, effect=effect)

    def _rendered(self, given: Any, rows: list[dict[str, Any]]) -> Any:
        """The body for these rows; outside of `each` a name of a row stands for the only one."""
        if isinstance(given, Mapping) and set(given) == {_EACH}:
            return [self._rendered(given[_EACH], [row]) for row in rows]
        if isinstance(given, Mapping):
            return {name: self._rendered(value, rows) for name, value in given.items()}
        if isinstance(given, list | tuple):
            return [self._rendered(value, rows) for value in given]
        return self._text(given, _shared(rows)) if isinstance(given, str) else given

    def _text(self, text: str, values: Mapping[str, Any]) -> Any:
        alone = _ALONE.fullmatch(text.strip())
        if alone and values.get(alone.group(1)) is not None:
            return values[alone.group(1)]
        return self._snippet(text).render(values)

    def _names(self, call: HttpCall) -> set[str]:
        found = set(_IN_PATH.findall(call.path))
        waiting: list[Any] = [call.body, call.headers]
        while waiting:
            given = waiting.pop()
            if isinstance(given, Mapping):
                waiting += given.values()
            elif isinstance(given, list | tuple):
                waiting += given
            elif isinstance(given, str):
                found |= self._snippet(given).names
        return found

    def _snippet(self, text: str) -> Snippet:
        if text not in self._snippets:
            self._snippets[text] = Snippet(f"destinations.yml: {self._name}", text)
        return self._snippets[text]

    def _wording(self, message: str) -> Wording:
        if message not in self._wordings:
            self._wordings[message] = Wording(self._templates, message)
        return self._wordings[message]

    def _api(self) -> Api:
        if self._opened is None:
            connection = self._connections.get(self._config.connection)
            url = base_url(connection, None, "")
            headers = self._signed_in()
            self._opened = Api(self._name, url, headers=headers, limits=self.limits, manners=self._manners)
        return self._opened

    def _signed_in(self) -> dict[str, str]:
        how, header = self._config.auth, self._config.auth_header
        if how == "none":
            return {}
        connection = self._connections.get(self._config.connection)
        key = secret(connection, "the key")
        if how == "basic":
            both = f"{connection.login or ''}:{key}".encode()
            return {header: f"Basic {base64.b64encode(both).decode()}"}
        return {header: f"Bearer {key}" if how == "bearer" else key}

    async def _check_connection(self) -> str:
        self._api()
        return f"connection {self._config.connection} has an address" + (
            "" if self._config.auth == "none" else " and a key"
        )

    async def _check_templates(self) -> str:
        for call in self._calls.values():
            self._names(call)
        return f"calls to {', '.join(self._calls)} can be read"

    async def _check_answer(self) -> str:
        await self._api().call("GET", self._config.check_path or "/")
        return "the tool lets us in"


def _shared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a text sees: the row, or of several rows what stands in all of them alike (the list's own names)."""
    if len(rows) == 1:
        return rows[0]
    return {name: value for name, value in rows[0].items() if name in _OF_A_LIST - {"client_key", "text"}}


def _judged(
    answer: HttpAnswer, reply: Reply, rows: list[tuple[Contact, dict[str, Any]]], name: str
) -> list[RowOutcome]:
    """What became of the rows by the answer. Raises ChunkRefused where it says no to several as a whole."""
    given = reply.json()
    if answer.ok_path is not None:
        found = _at(given, answer.ok_path)
        if found is _ABSENT:
            return [RowOutcome(contact.client_id, "unknown") for contact, _ in rows]
        if found not in answer.ok_values:
            return _all_refused(answer, given, rows, name)
    if answer.rows_path is None:
        return [RowOutcome(contact.client_id, "accepted") for contact, _ in rows]
    told = _at(given, answer.rows_path)
    entries = told if isinstance(told, list) else []
    if answer.key_path is None:
        by_key = (
            dict(zip((values["key"] for _, values in rows), entries, strict=False)) if len(entries) == len(rows) else {}
        )
    else:
        by_key = {str(_at(entry, answer.key_path)): entry for entry in entries}
    return [_row_outcome(answer, contact, by_key.get(values["key"], _ABSENT)) for contact, values in rows]


def _all_refused(
    answer: HttpAnswer, given: Any, rows: list[tuple[Contact, dict[str, Any]]], name: str
) -> list[RowOutcome]:
    words = _words(answer, given)
    if len(rows) > 1:
        said = f"the answer says no{': ' + words if words else ''}"
        raise ChunkRefused(Problem(f"destination {name}", said, "the rows are tried one by one"))
    return [RowOutcome(contact.client_id, "rejected", "refused_by_tool", words) for contact, _ in rows]


def _row_outcome(answer: HttpAnswer, contact: Contact, entry: Any) -> RowOutcome:
    if entry is _ABSENT:
        return RowOutcome(contact.client_id, "unknown")
    if answer.row_ok_path is None or _at(entry, answer.row_ok_path) in answer.row_ok_values:
        return RowOutcome(contact.client_id, "accepted")
    return RowOutcome(contact.client_id, "rejected", "refused_by_tool", _words(answer, entry))


def _words(answer: HttpAnswer, given: Any) -> str | None:
    found = _at(given, answer.words_path) if answer.words_path else _ABSENT
    return masked(str(found)) if isinstance(found, str | int | float) and not isinstance(found, bool) else None


def _at(given: Any, path: str) -> Any:
    """What lies at a dotted path of names and positions; `_ABSENT` where nothing does."""
    for part in path.split(".") if path else ():
        if isinstance(given, dict) and part in given:
            given = given[part]
        elif isinstance(given, list) and part.isdigit() and int(part) < len(given):
            given = given[int(part)]
        else:
            return _ABSENT
    return given
