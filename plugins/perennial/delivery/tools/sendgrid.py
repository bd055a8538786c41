"""SendGrid (Twilio), Marketing Campaigns: contacts are upserted by a job, which is followed to its end.

Written against the vendor's specification (twilio/sendgrid-oai, 2026-01) and never tried on the live service. What it
does not say and we assume: a job's error file is CSV, a JSON array or JSON lines with the address in each row.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from perennial.contracts.destinations import SendgridConfig
from perennial.core import clock
from perennial.core.connections import Connection, ConnectionStore
from perennial.core.errors import ConfigError, PermanentError, Problem
from perennial.delivery.records import CheckStep
from perennial.delivery.tools.accounts import base_url, secret
from perennial.delivery.tools.asking import (
    checked,
    is_date,
    is_number,
    judged_by_list,
    moment_of,
    pieces,
    sorted_chunk,
    unknown_field,
)
from perennial.delivery.tools.http import Api, Manners
from perennial.delivery.tools.records import (
    Chunk,
    Contact,
    FeedbackEvent,
    FeedbackKind,
    Limits,
    ListTarget,
    RemoteList,
    RowOutcome,
    Submitted,
    ToolCapabilities,
    Withdrawal,
)
from perennial.delivery.tools.rows import SortedRows, normal_address, set_fields
from perennial.delivery.tools.sendgrid_activity import activity
from perennial.delivery.tools.sendgrid_errors import errors_in
from perennial.delivery.tools.vendor import VendorAccount
from perennial.delivery.tools.withdrew import Since, Withdrew

_HOME = "https://api.sendgrid.com"
_NOT_FOUND = 404
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SEARCHED, _PAGE = 100, 500
_LONGEST_NAME, _LONGEST_TEXT = 100, 1_000
# Own text lengths of the fields that SendGrid brings (ContactRequest of the specification).
_LENGTHS = {
    "address_line_1": 100, "address_line_2": 100, "city": 60, "country": 50, "first_name": 50, "last_name": 50,
    "state_province_region": 50, "external_id": 254, "anonymous_id": 254,
}  # fmt: skip
_OWN = frozenset({*_LENGTHS, "postal_code", "phone_number_id"})
_SUPPRESSED: dict[str, FeedbackKind] = {
    "unsubscribes": "unsubscribe",
    "bounces": "hard_bounce",
    "spam_reports": "complaint",
    "invalid_emails": "hard_bounce",
}


class SendGrid(VendorAccount[SendgridConfig]):
    """One account of SendGrid. Lists are contact lists; fields are its own or custom ones, which are made."""

    capabilities = ToolCapabilities(
        actions=("add", "update", "remove"),
        list_types=("send", "audience"),
        repeatable=True,
        readable=True,
        asynchronous=True,
        knows_withdrawals=True,
        feedback=("delivered", "open", "click", "soft_bounce", "hard_bounce"),
    )

    def __init__(
        self, name: str, config: SendgridConfig, connections: ConnectionStore, manners: Manners | None = None
    ) -> None:
        super().__init__(name, config, connections, manners)
        # 30,000 contacts or 6 MB a call (specification); 3 calls in 2 seconds is what the vendor documents for upserts.
        self.limits = Limits(30_000, 1.5 * config.rate_share, 4, 6_000_000, config.timeout_seconds)
        self._withdrew = Withdrew(self._withdrawals)

    def _target(self) -> str:
        return f"SendGrid by {self._config.connection}"

    def _open(self, connection: Connection) -> Api:
        headers = {"Authorization": f"Bearer {secret(connection, 'the API key')}"}
        base = base_url(connection, _HOME, "")
        return Api(self._name, base, headers=headers, limits=self.limits, manners=self._manners)

    async def check(self) -> list[CheckStep]:
        """Key, contacts, lists, fields, suppressions."""

        async def key() -> str:
            return "the connection has a key" if self.api else ""

        async def contacts() -> str:
            found = (await self.api.call("GET", "/v3/marketing/contacts/count")).json()
            return f"{found['contact_count']} contacts"

        async def lists() -> str:
            await self.api.call("GET", "/v3/marketing/lists", params={"page_size": 1})
            return "lists can be read"

        async def fields() -> str:
            return f"{len((await self._fields())[0])} custom fields"

        async def suppressions() -> str:
            await self._suppressed("unsubscribes", 0, 0, size=1)
            return "suppressions can be read"

        return await checked(
            [("key", key), ("contacts", contacts), ("lists", lists), ("fields", fields), ("suppressions", suppressions)]
        )

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The list of that title and the custom fields, made where they are missing."""
        if len(target.title) > _LONGEST_NAME:
            fix = "shorten the id of the campaign"
            raise ConfigError(Problem(f"destination {self._name}", "the list's title is too long", fix))
        ids = await self._field_ids(target.fields)
        return RemoteList(target.title, {"list": await self._list_id(target.title), **ids})

    async def _list_id(self, title: str) -> str:
        token: str | None = ""
        while token is not None:
            params = {"page_size": 1_000, "page_token": token or None}
            page = (await self.api.call("GET", "/v3/marketing/lists", params=params)).json()
            for one in page.get("result", ()):
                if one["name"] == title:
                    return str(one["id"])
            following = page.get("_metadata", {}).get("next")
            token = dict(parse_qsl(urlsplit(following).query)).get("page_token") if following else None
        return str((await self.api.call("POST", "/v3/marketing/lists", body={"name": title})).json()["id"])

    async def _fields(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Custom and reserved fields by their names in lower case, which may not differ by case only."""
        found = (await self.api.call("GET", "/v3/marketing/field_definitions")).json()
        return (
            {one["name"].lower(): one for one in found["custom_fields"]},
            {one["name"].lower(): one for one in found["reserved_fields"]},
        )

    async def _field_ids(self, fields: Sequence[tuple[str, str]]) -> dict[str, str]:
        """`field.<name>` to the id of the custom field. Raises ConfigError for what cannot be a field."""
        if all(name in _OWN for name, _ in fields):
            return {}
        custom, reserved = await self._fields()
        ids = {}
        for name, sql_type in fields:
            if name in _OWN:
                continue
            if name.lower() in reserved:
                raise unknown_field(self._name, name, "is SendGrid's own and cannot be set", "name another one")
            kind = _kind_of(sql_type)
            if not _NAME.fullmatch(name):
                why = "is not of letters, digits and _ (at most 100, no digit first)"
                raise unknown_field(self._name, name, why, "map it under fields in config/destinations.yml")
            have = custom.get(name.lower())
            if have is None:
                body = {"name": name, "field_type": kind}
                have = (await self.api.call("POST", "/v3/marketing/field_definitions", body=body)).json()
            elif have["field_type"] not in ("Text", kind):
                why = f"is a {have['field_type']} in SendGrid, and ours are {sql_type}"
                raise unknown_field(self._name, name, why, "name another field, or delete the old one there")
            ids[f"field.{name}"] = f"{have['id']} {have['field_type']}"
        return ids

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Upsert by a job, without any subscription status; `remove` takes contacts off this list by jobs."""
        rows = self._rows(chunk)
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        if chunk.action == "remove":
            return await self._remove(rows, where)
        refused = await self._withdrew.refuse(rows)
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        contacts = [_as_contact(address, contact, where.ids) for address, contact in rows.good.items()]
        body = {"list_ids": [where.ids["list"]], "contacts": contacts}
        reply = await self.api.call("PUT", "/v3/marketing/contacts", body=body, effect="repeatable")
        ticket = {"jobs": str(reply.json()["job_id"]), "withdrew": refused, **_kept(where)}
        return Submitted(ticket=ticket)

    async def _remove(self, rows: SortedRows, where: RemoteList) -> Submitted:
        jobs = []
        for piece in pieces(rows.good, _SEARCHED):
            found = await self._found(piece)
            there = [one["id"] for one in found.values() if where.ids["list"] in one["list_ids"]]
            if there:
                reply = await self.api.call(
                    "DELETE",
                    "/v3/marketing/lists/{id}/contacts",
                    ids={"id": where.ids["list"]},
                    params={"contact_ids": ",".join(there)},
                    effect="repeatable",
                )
                jobs.append(str(reply.json()["job_id"]))
        if not jobs:
            return Submitted(rows.accept_the_rest())
        return Submitted(ticket={"jobs": ",".join(jobs), **_kept(where)})

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """The outcome of every row once all jobs of the chunk have ended; failed rows are in an error file."""
        told = []
        for job in ticket["jobs"].split(","):
            path = "/v3/marketing/contacts/imports/{id}"
            reply = await self.api.call("GET", path, ids={"id": job}, answers=(_NOT_FOUND,))
            if reply.status == _NOT_FOUND or reply.json()["status"] == "pending":
                return None  # a job is not known for its first moments
            told.append(reply.json())
        rows = self._rows(chunk)
        if chunk.action != "remove":
            self._withdrew.recall(rows, ticket.get("withdrew", "{}"))
        if all(job["status"] == "completed" for job in told):
            return Submitted(rows.accept_the_rest())
        where = RemoteList(ticket["title"], {"list": ticket["list"]})
        if chunk.action == "remove":
            return Submitted(await self._still_there(rows, where))
        return Submitted(await self._failed(rows, told[0], where, chunk))

    async def _failed(
        self, rows: SortedRows, job: Mapping[str, Any], where: RemoteList, chunk: Chunk
    ) -> tuple[RowOutcome, ...]:
        results = job.get("results") or {}
        count, url = int(results.get("errored_count") or 0), results.get("errors_url")
        said = dict(errors_in(await self._file(url))) if url else {}
        for address, words in said.items():
            rows.refuse(address, "refused_by_tool", words)
        if job["status"] == "failed":  # all of them, says the specification
            return judged_by_list(rows, (), "SendGrid's job failed as a whole, and it does not say why")
        if len(said) >= count:
            return rows.accept_the_rest()
        if chunk.action == "add":
            good = await self.read_back(where, list(rows.good.values()))
            return judged_by_list(rows, good, "SendGrid did not take the row, and does not say why")
        unsure = [RowOutcome(contact.client_id, "unknown") for contact in rows.good.values()]
        return (*rows.outcomes, *unsure)

    async def _still_there(self, rows: SortedRows, where: RemoteList) -> tuple[RowOutcome, ...]:
        left = await self.read_back(where, list(rows.good.values()))
        for address in [address for address, one in rows.good.items() if one.client_id in left]:
            rows.refuse(address, "refused_by_tool", "SendGrid's job that takes contacts off the list failed")
        return rows.accept_the_rest()

    async def _file(self, url: str) -> bytes:
        """The error file: at an address of its own that needs no key, over https (or where the API itself is)."""
        parts = urlsplit(url)
        home = urlsplit(base_url(self._connections.get(self._config.connection), _HOME, ""))
        if parts.scheme != "https" and (parts.scheme, parts.netloc) != (home.scheme, home.netloc):
            raise PermanentError(Problem(self._name, "the address of the error file is not https", "tell SendGrid"))
        base = url.partition("?")[0]
        other = Api(self._name, base, headers={"Accept": "*/*"}, limits=self.limits, manners=self._manners)
        try:
            return (await other.call("GET", "", params=dict(parse_qsl(parts.query)))).body
        finally:
            await other.close()

    async def _found(self, addresses: Sequence[str]) -> dict[str, Any]:
        """What SendGrid knows of at most 100 addresses: contacts by address."""
        path = "/v3/marketing/contacts/search/identifiers/{identifier_type}"
        reply = await self.api.call(
            "POST",
            path,
            ids={"identifier_type": "email"},
            body={"identifiers": list(addresses)},
            effect="read",
            answers=(_NOT_FOUND,),
        )
        found = (reply.json() or {}).get("result", {}) if reply.status != _NOT_FOUND else {}
        return {address.lower(): one["contact"] for address, one in found.items() if one.get("contact")}

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them is on the list."""
        asked: dict[str, list[str]] = {}
        for contact in contacts:
            address = normal_address(contact.address)
            if address is not None:
                asked.setdefault(address, []).append(contact.client_id)
        standing: set[str] = set()
        for piece in pieces(asked, _SEARCHED):
            found = await self._found(piece)
            on = [address for address, one in found.items() if where.ids["list"] in one["list_ids"]]
            standing.update(client for address in on for client in asked.get(address, ()))
        return frozenset(standing)

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Global unsubscribes, bounces, spam reports, invalid addresses, and those who left an unsubscribe group."""
        return self._withdrew.pages(cursor)

    def go_on_from(self, cursor: Mapping[str, Any]) -> None:
        """See `RemembersWithdrawals`."""
        self._withdrew.go_on_from(cursor)

    async def _withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        told = dict(cursor)
        for kind, meaning in _SUPPRESSED.items():
            since, offset = Since(cursor.get(kind)), 0
            start = int(since.at.timestamp()) if since.at else 0
            while page := await self._suppressed(kind, start, offset):
                offset += len(page)
                yield _new(page, "created", meaning, since), dict(told)
            told[kind] = (
                since.cursor()
            )  # pages come in no declared order: only at the end is it known that all was read
            yield [], dict(told)
        since = Since(cursor.get("groups"))
        left = (await self.api.call("GET", "/v3/asm/suppressions")).json() or []
        groups = self._config.unsubscribe_groups
        left = [one for one in left if not groups or one["group_id"] in groups]
        found = _new(left, "created_at", "unsubscribe", since)
        yield found, {**told, "groups": since.cursor()}

    async def _suppressed(self, kind: str, since: int, offset: int, *, size: int = _PAGE) -> list[dict[str, Any]]:
        params = {"start_time": since, "limit": size, "offset": offset}
        headers = {"Accept": "application/json"}
        path = f"/v3/suppression/{kind}"
        return cast("list[dict[str, Any]]", (await self.api.call("GET", path, params=params, headers=headers)).json())

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """Deliveries, opens, clicks and bounces of the activity feed (an account without it answers 403)."""
        return activity(self.api, cursor)

    def _rows(self, chunk: Chunk) -> SortedRows:
        rows = sorted_chunk(chunk, longest_text=_LONGEST_TEXT)
        if chunk.action == "remove":
            return rows
        for address, contact in list(rows.good.items()):
            for name, longest in _LENGTHS.items():
                if len(str(contact.fields.get(name) or "")) > longest:
                    rows.refuse(address, "bad_field", f"{name} is longer than {longest} characters")
        return rows


def _kind_of(sql_type: str) -> str:
    if is_number(sql_type):
        return "Number"
    return "Date" if is_date(sql_type) else "Text"


def _kept(where: RemoteList) -> dict[str, str]:
    return {"title": where.title, "list": where.ids["list"]}


def _as_contact(address: str, contact: Contact, ids: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"email": address}
    custom: dict[str, Any] = {}
    for name, value in set_fields(contact):
        if name in _OWN:
            made[name] = str(value)
            continue
        number, _, kind = ids[f"field.{name}"].partition(" ")
        custom[number] = value if kind == "Number" else str(value)
    return {**made, "custom_fields": custom} if custom else made


def _new(entries: Sequence[Mapping[str, Any]], dated: str, kind: FeedbackKind, since: Since) -> list[Withdrawal]:
    found = [(str(one["email"]), moment_of(one.get(dated)) or clock.now()) for one in entries]
    return [Withdrawal(address, kind, at) for address, at in found if since.is_new(address, at)]
