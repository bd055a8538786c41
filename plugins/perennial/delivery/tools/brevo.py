"""Brevo (API v3): lists in a folder of ours, rows as imports that are followed and then read back.

Limits as the vendor documents them (general tier): 10 calls a second on /contacts, 100 an hour elsewhere; an import
takes 10 MB, 8 advised; 150 addresses a removal. The answer of an import says nothing about its rows, so that every row
is read back: who did not arrive, whose attribute was dropped and whom Brevo may not mail is told (L15).

L14: an import never names `emailBlacklist`, which alone would change whether a contact is mailed. Who left one list of
ours by its link is read with the withdrawals before a push; before an update it is looked up anew, for an import puts
people on the list.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from perennial.contracts.destinations import BrevoConfig
from perennial.core import clock
from perennial.core.connections import Connection, ConnectionStore
from perennial.core.errors import ConfigError, PerennialError, Problem
from perennial.delivery.records import CheckStep
from perennial.delivery.tools import brevo_pulls
from perennial.delivery.tools.accounts import Steps, base_url, secret
from perennial.delivery.tools.http import Api, Gone, Manners, Reply
from perennial.delivery.tools.records import (
    Chunk,
    ChunkRefused,
    Contact,
    FeedbackEvent,
    Limits,
    ListTarget,
    RemoteList,
    Submitted,
    ToolCapabilities,
    Withdrawal,
)
from perennial.delivery.tools.rows import SortedRows, set_fields, sort_rows
from perennial.delivery.tools.vendor import VendorAccount

_LISTS, _LIST, _ON_LIST = "/contacts/lists", "/contacts/lists/{list_id}", "/contacts/lists/{list_id}/contacts"
_PAGE, _PAGE_OF_LISTS, _REMOVED_AT_ONCE = 500, 50, 150
_MARGIN = timedelta(minutes=5)  # between the tool's clocks
_STEPS = ("connection", "key", "folder", "fields")
_OTHER_CALLS_PER_SECOND = 100 / 3600
_BAD = 400
_FIELD_FIX = "make it in Brevo (Contacts, Settings, Contact attributes), or map the column under `fields`"
_NOT_TAKEN = "Brevo's import did not take the row, and does not say why"


class Brevo(VendorAccount[BrevoConfig]):
    """One account of Brevo."""

    def __init__(
        self, name: str, config: BrevoConfig, connections: ConnectionStore, manners: Manners | None = None
    ) -> None:
        named = replace(manners or Manners(), wait_headers=("retry-after", "x-sib-ratelimit-reset"))
        super().__init__(name, config, connections, named)
        self._others: Api | None = None

    @property
    def capabilities(self) -> ToolCapabilities:
        """Imports are jobs, and may be made again."""
        return ToolCapabilities(
            actions=("add", "update", "remove"),
            list_types=("audience", "send"),
            repeatable=True,
            readable=True,
            asynchronous=True,
            knows_withdrawals=True,
            feedback=("delivered", "open", "click", "soft_bounce", "hard_bounce", "unsubscribe", "complaint"),
        )

    @property
    def limits(self) -> Limits:
        """10 calls a second on contacts, of which we take our share."""
        return Limits(
            rows_per_call=10_000,
            calls_per_second=10 * self._config.rate_share,
            connections=5,
            bytes_per_call=8_000_000,
            timeout_seconds=self._config.timeout_seconds,
        )

    def _target(self) -> str:
        return f"Brevo, folder {self._config.folder}"

    def _open(self, connection: Connection) -> Api:
        return self._account(connection, self.limits, pool="")

    def _account(self, connection: Connection, limits: Limits, *, pool: str) -> Api:
        url = base_url(connection, "https://api.brevo.com", "/v3")
        headers = {"api-key": secret(connection, "the API key")}
        return Api(self._name, url, headers=headers, limits=limits, manners=self._manners, pool=pool)

    @property
    def _other_calls(self) -> Api:
        """The calls that are not on contacts: the vendor counts them apart."""
        if self._others is None:
            rate = _OTHER_CALLS_PER_SECOND * self._config.rate_share
            limits = replace(self.limits, calls_per_second=rate, connections=1)
            self._others = self._account(self._connections.get(self._config.connection), limits, pool="others")
        return self._others

    async def call(self, method: str, path: str, **more: Any) -> Reply:
        """One call."""
        api = self.api if path.startswith("/contacts") else self._other_calls
        return await api.call(method, path, **more)

    async def get(self, path: str, **more: Any) -> Any:
        """What a call reads."""
        return (await self.call("GET", path, **more)).json()

    async def pages(
        self, path: str, records: str, params: Mapping[str, Any], *, limit: int, ids: Mapping[str, Any] | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of a listing, however many records the tool puts on one."""
        offset = 0
        while True:
            given = await self.get(path, ids=ids, params={**params, "limit": limit, "offset": offset, "sort": "asc"})
            rows = given.get(records) or []
            if rows:
                yield rows
            offset += len(rows)
            if not rows or offset >= given.get("count", offset + 1):
                return

    async def check(self) -> list[CheckStep]:
        """Connection, key, folder, attributes."""
        steps = Steps([])
        try:
            connection = self._connections.get(self._config.connection)
            secret(connection, "the API key")
            steps.passed("connection", f"connection {connection.id} has a key")
            await self.get(_LISTS, params={"limit": 1})
            steps.passed("key", "Brevo lets us in")
            there = await self._folder() is not None
            told = "is there" if there else "is made at the first push"
            steps.passed("folder", f"the folder {self._config.folder} {told}")
            await self._check_fields(steps)
        except PerennialError as error:
            steps.broke(_STEPS[len(steps.made)], error)
        return steps.skip(*_STEPS)

    async def _check_fields(self, steps: Steps) -> None:
        known = await self._attributes()
        missing = sorted({name.upper() for name in (self._config.fields or {}).values()} - set(known) - {"EMAIL"})
        if missing and not self._config.create_fields:
            steps.failed("fields", f"the account has no attribute {', '.join(missing)}", _FIELD_FIX)
        else:
            told = f"; made at the first push: {', '.join(missing)}" if missing else ""
            steps.passed("fields", f"the account has {len(known)} attributes{told}")

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The list of the title in our folder, and the attributes. See `Tool.prepare`."""
        await self._have_fields(target)
        folder = await self._folder()
        if folder is None:
            made = await self.call("POST", "/contacts/folders", body={"name": self._config.folder})
            folder = int(made.json()["id"])
        async for page in self.pages(_LISTS, "lists", {}, limit=_PAGE_OF_LISTS):
            for one in page:
                if one["name"] == target.title and one["folderId"] == folder:
                    return RemoteList(target.title, {"list": str(one["id"])})
        made = await self.call("POST", _LISTS, body={"name": target.title, "folderId": folder})
        return RemoteList(target.title, {"list": str(made.json()["id"])})

    async def _folder(self) -> int | None:
        async for page in self.pages("/contacts/folders", "folders", {}, limit=_PAGE_OF_LISTS):
            for one in page:
                if one["name"] == self._config.folder:
                    return int(one["id"])
        return None

    async def _have_fields(self, target: ListTarget) -> None:
        known = await self._attributes()
        for name, sql_type in target.fields:
            wanted, has = _type_of(sql_type), known.get(name.upper())
            if has is None:
                await self._make_field(name, wanted)
            elif has not in {"text", wanted}:
                fix = "map another column to it under `fields`"
                raise ConfigError(Problem(self._name, f"the attribute {name} takes {has}, and we have {wanted}", fix))

    async def _make_field(self, name: str, wanted: str) -> None:
        if not self._config.create_fields:
            raise ConfigError(Problem(self._name, f"the account has no attribute {name!r}", _FIELD_FIX))
        if not name.isascii() or not name.replace("_", "").isalnum():
            fix = "map it under `fields` to a name of letters, digits and _"
            raise ConfigError(Problem(self._name, f"{name!r} cannot be an attribute of Brevo", fix))
        ids = {"category": "normal", "name": name.upper()}
        await self.call("POST", "/contacts/attributes/{category}/{name}", ids=ids, body={"type": wanted})

    async def _attributes(self) -> dict[str, str]:
        given = await self.get("/contacts/attributes")
        normal = [one for one in given["attributes"] if one["category"] in {"normal", "category"}]
        return {one["name"].upper(): str(one.get("type", "text")) for one in normal}

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """An import to follow; removals are done at once. See `Tool.submit`."""
        rows = sort_rows(chunk.contacts)
        if chunk.action == "remove":
            await self._take_off(list(rows.good), where.ids["list"])
            return Submitted(rows.accept_the_rest())
        if chunk.action == "update":
            await self._refuse_who_left(rows, int(where.ids["list"]))
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        reply = await self._import(rows, where)
        since = _told_moment(reply) - _MARGIN
        ticket = {"process": str(reply.json()["processId"]), "list": where.ids["list"], "since": since.isoformat()}
        return Submitted(ticket=ticket)

    async def _refuse_who_left(self, rows: SortedRows, list_id: int) -> None:
        """Who should be on the list and is not: those who left it by its link are not put back."""
        missing = sorted(set(rows.good) - await self._standing(list(rows.good), list_id))
        for address, person in zip(missing, await asyncio.gather(*map(self.person, missing)), strict=True):
            if person is not None and list_id in (person.get("listUnsubscribed") or []):
                rows.refuse(address, "unsubscribed_in_tool")

    async def _import(self, rows: SortedRows, where: RemoteList) -> Reply:
        body = {
            "jsonBody": [
                {"email": address, "attributes": {name.upper(): cell for name, cell in set_fields(contact)}}
                for address, contact in rows.good.items()
            ],
            "listIds": [int(where.ids["list"])],
            "updateExistingContacts": True,
            "emptyContactsAttributes": False,
            "disableNotification": True,
        }
        try:
            return await self.call("POST", "/contacts/import", body=body, effect="repeatable")
        except ChunkRefused:
            await self.get(_LIST, ids={"list_id": where.ids["list"]})  # raises Gone when the list is what is wrong
            raise

    async def _take_off(self, addresses: Sequence[str], list_id: str) -> None:
        for begin in range(0, len(addresses), _REMOVED_AT_ONCE):
            reply = await self.call(
                "POST",
                f"{_ON_LIST}/remove",
                ids={"list_id": list_id},
                body={"emails": list(addresses[begin : begin + _REMOVED_AT_ONCE])},
                effect="repeatable",
                answers=(_BAD,),
            )
            if reply.status == _BAD:  # all of them are off the list already, or the list is gone
                await self.get(_LIST, ids={"list_id": list_id})

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """None while the import runs; at its end every row is read back."""
        state = await self.get("/processes/{process_id}", ids={"process_id": ticket["process"]})
        if state["status"] != "completed":
            return None
        rows, list_id = sort_rows(chunk.contacts), int(ticket["list"])
        left = set(rows.good)
        params = {"modifiedSince": _as_brevo(datetime.fromisoformat(ticket["since"]))}
        blocked: list[str] = []
        async for page in self.pages(_ON_LIST, "contacts", params, limit=_PAGE, ids={"list_id": list_id}):
            for person in page:
                _judge(rows, person, blocked)
                left.discard(str(person.get("email", "")).lower())
            if not left:
                break
        await self._look_up(rows, sorted(left), list_id, blocked)
        await self._take_off(blocked, ticket["list"])
        return Submitted(rows.accept_the_rest())

    async def _look_up(self, rows: SortedRows, addresses: Sequence[str], list_id: int, blocked: list[str]) -> None:
        """Those whom the listing of what was changed does not show, one by one."""
        for address, person in zip(addresses, await asyncio.gather(*map(self.person, addresses)), strict=True):
            if person is not None and list_id in (person.get("listUnsubscribed") or []):
                rows.refuse(address, "unsubscribed_in_tool")
            elif person is None or list_id not in person.get("listIds", []):
                rows.refuse(address, "refused_by_tool", _NOT_TAKEN)
            else:
                _judge(rows, person, blocked)

    async def person(self, address: str) -> dict[str, Any] | None:
        """The contact of that address; None where there is none."""
        try:
            params = {"identifierType": "email_id"}
            found: dict[str, Any] = await self.get("/contacts/{identifier}", ids={"identifier": address}, params=params)
        except Gone:
            return None
        return found

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them stands on the list."""
        rows = sort_rows(contacts)
        on = await self._standing(list(rows.good), int(where.ids["list"]))
        return frozenset(rows.good[address].client_id for address in on & set(rows.good))

    async def _standing(self, addresses: Sequence[str], list_id: int) -> set[str]:
        """Who stands on the list: by its contacts where they are few, else one by one."""
        size = (await self.get(_LIST, ids={"list_id": list_id}))["uniqueSubscribers"]
        if size > _PAGE * len(addresses):
            pairs = zip(addresses, await asyncio.gather(*map(self.person, addresses)), strict=True)
            return {address for address, one in pairs if one is not None and list_id in one.get("listIds", [])}
        on: set[str] = set()
        async for page in self.pages(_ON_LIST, "contacts", {}, limit=_PAGE, ids={"list_id": list_id}):
            on.update(str(one.get("email", "")).lower() for one in page)
        return on

    async def our_lists(self) -> dict[int, str]:
        """The titles of the lists in our folder."""
        folder = await self._folder()
        found: dict[int, str] = {}
        async for page in self.pages(_LISTS, "lists", {}, limit=_PAGE_OF_LISTS):
            found |= {int(one["id"]): str(one["name"]) for one in page if one["folderId"] == folder}
        return found

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Blacklisted contacts, who left a list of ours, blocked addresses. See `Tool.withdrawals`."""
        return brevo_pulls.withdrawals(self, cursor)

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """Events of transactional mail; those of campaigns come by webhook. See `Tool.feedback`."""
        return brevo_pulls.feedback(self, cursor)

    async def close(self) -> None:
        """End the connections."""
        await super().close()
        if self._others is not None:
            await self._others.close()


def _judge(rows: SortedRows, person: Mapping[str, Any], blocked: list[str]) -> None:
    """Refuse the row of somebody whom Brevo may not mail, or whose attribute it dropped."""
    address = str(person.get("email", "")).lower()
    contact = rows.good.get(address)
    if contact is None:
        return
    if person.get("emailBlacklisted"):
        blocked.append(address)
        rows.refuse(address, "unsubscribed_in_tool")
        return
    has = {name.upper() for name in person.get("attributes", {})}
    dropped = [name for name, _ in set_fields(contact) if name.upper() not in has]
    if dropped:
        rows.refuse(address, "bad_field", f"Brevo dropped {', '.join(sorted(dropped))}")


def _type_of(sql_type: str) -> str:
    name = sql_type.upper()
    if name == "DATE":
        return "date"
    if name == "BOOLEAN":
        return "boolean"
    numbers = ("INT", "BIGINT", "SMALLINT", "DECIMAL", "NUMERIC", "DOUBLE", "FLOAT", "REAL")
    return "float" if name.startswith(numbers) else "text"


def _told_moment(reply: Reply) -> datetime:
    """When the tool answered, by its own clock where it tells it."""
    told = reply.headers.get("date")
    return parsedate_to_datetime(told).astimezone(UTC) if told else clock.now()


def _as_brevo(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
