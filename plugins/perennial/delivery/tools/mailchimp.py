"""Mailchimp (Marketing API 3.0): a list of ours is a static segment (a tag) of one audience of the account.

Limits as the vendor documents them: 10 connections at once for a user, 120 s a call, 500 members a call, 1000
operations a batch. No number of calls a second is published: ours is ten connections at two calls a second each.

L14: a new contact is made by a call that refuses those who exist (`update_existing` false), which alone writes a
status; a known one is updated by a second call that names none. As a batch it is `status_if_new`, which Mailchimp
ignores for those it knows.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from perennial.contracts.destinations import MailchimpConfig
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, PerennialError, PermanentError, Problem
from perennial.delivery.records import CheckStep
from perennial.delivery.tools import mailchimp_batches, mailchimp_pulls
from perennial.delivery.tools.accounts import Steps, base_url, secret
from perennial.delivery.tools.http import Api, Effect, Gone, Reply
from perennial.delivery.tools.records import (
    Chunk,
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
from perennial.delivery.tools.words import masked

_PAGE = 1000
_LONGEST_TAG = 10
_FORBIDDEN = 403
_LONGEST_TEXT = 255
_LIST, _SEGMENT, _MEMBER = (
    "/lists/{list_id}",
    "/lists/{list_id}/segments/{segment_id}",
    "/lists/{list_id}/members/{hash}",
)
_NUMBERS = ("INT", "DECIMAL", "NUMERIC", "DOUBLE", "FLOAT", "REAL", "BIGINT", "SMALLINT")
_WITHDREW = {
    "unsubscribed": "unsubscribed_in_tool",
    "cleaned": "bounced_in_tool",
    "archived": "deleted_in_tool",
    "transactional": "unsubscribed_in_tool",
}


class Mailchimp(VendorAccount[MailchimpConfig]):
    """One account of Mailchimp, and the audience `list_id` of it."""

    @property
    def capabilities(self) -> ToolCapabilities:
        """Every call may be made again; batches are jobs."""
        return ToolCapabilities(
            actions=("add", "update", "remove"),
            list_types=("audience", "send"),
            repeatable=True,
            readable=True,
            asynchronous=self._config.batches,
            knows_withdrawals=True,
            feedback=("delivered", "open", "click", "soft_bounce", "hard_bounce", "unsubscribe", "complaint"),
        )

    @property
    def limits(self) -> Limits:
        """500 members a call; 20 calls a second over 10 connections, of which we take our share."""
        share = self._config.rate_share
        return Limits(
            rows_per_call=500,
            calls_per_second=20 * share,
            connections=max(1, int(10 * share)),
            timeout_seconds=self._config.timeout_seconds,
        )

    @property
    def list_id(self) -> str:
        """The audience."""
        return self._config.list_id

    def _target(self) -> str:
        return f"Mailchimp, audience {self._config.list_id}"

    def _open(self, connection: Connection) -> Api:
        key = secret(connection, "the API key")
        url = base_url(connection, _home_of(connection, key), "/3.0")
        login = b64encode(f"perennial:{key}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        return Api(self._name, url, headers=headers, limits=self.limits, manners=self._manners, is_busy=_is_busy)

    async def call(self, method: str, path: str, *, effect: Effect | None = None, **more: Any) -> Any:
        """One call below the audience; every one of Mailchimp's that we make may be made again."""
        ids = {"list_id": self._config.list_id, **more.pop("ids", {})}
        effect = effect or ("read" if method == "GET" else "repeatable")
        reply = await self.api.call(method, path, ids=ids, effect=effect, **more)
        return reply.json()

    async def check(self) -> list[CheckStep]:
        """Connection, key, audience, fields."""
        steps = Steps([])
        try:
            connection = self._connections.get(self._config.connection)
            secret(connection, "the API key")
            steps.passed("connection", f"connection {connection.id} has a key")
            await self.call("GET", "/ping")
            steps.passed("key", "Mailchimp lets us in")
            found = await self.call("GET", _LIST, params={"fields": "id,name"})
            steps.passed("audience", f"the audience is there: {found.get('name', self._config.list_id)}")
            await self._check_fields(steps)
        except PerennialError as error:
            steps.broke(_next_step(steps), error)
        return steps.skip("connection", "key", "audience", "fields")

    async def _check_fields(self, steps: Steps) -> None:
        known = await self._merge_fields()
        missing = sorted({name.upper() for name in (self._config.fields or {}).values()} - set(known) - {"EMAIL"})
        if missing and not self._config.create_fields:
            steps.failed("fields", f"the audience has no merge field {', '.join(missing)}", _FIELD_FIX)
        else:
            told = f"; made at the first push: {', '.join(missing)}" if missing else ""
            steps.passed("fields", f"the audience has {len(known)} merge fields{told}")

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The static segment of the list's title, and the merge fields. See `Tool.prepare`."""
        await self._have_fields(target)
        async for page in self.pages("GET /lists/{list_id}/segments", "segments", {"type": "static"}):
            for segment in page:
                if segment["name"] == target.title:
                    return RemoteList(target.title, {"segment": str(segment["id"])})
        body = {"name": target.title, "static_segment": []}
        made = await self.call("POST", "/lists/{list_id}/segments", body=body, effect="once")
        return RemoteList(target.title, {"segment": str(made["id"])})

    async def _have_fields(self, target: ListTarget) -> None:
        known = await self._merge_fields()
        for ours, sql_type in target.fields:
            wanted, has = _type_of(sql_type), known.get(ours.upper())
            if has is None:
                await self._make_field(ours, wanted)
            elif has in {"number", "date"} and wanted != has:
                fix = "map another column to it under `fields`"
                raise ConfigError(
                    Problem(self._name, f"the merge field {ours} takes a {has}, and we have a {wanted}", fix)
                )

    async def _make_field(self, name: str, wanted: str) -> None:
        if not self._config.create_fields:
            raise ConfigError(Problem(self._name, f"the audience has no merge field {name!r}", _FIELD_FIX))
        if len(name) > _LONGEST_TAG or not name.isascii() or not name.replace("_", "").isalnum():
            fix = "map it under `fields` to a tag of at most 10 letters, digits and _"
            raise ConfigError(Problem(self._name, f"{name!r} cannot be a merge tag of Mailchimp", fix))
        body = {"tag": name.upper(), "name": name, "type": wanted, "required": False, "public": False}
        await self.call("POST", "/lists/{list_id}/merge-fields", body=body, effect="once")

    async def _merge_fields(self) -> dict[str, str]:
        found: dict[str, str] = {}
        async for page in self.pages("GET /lists/{list_id}/merge-fields", "merge_fields", {}):
            found.update({one["tag"]: one["type"] for one in page})
        return found

    async def pages(
        self, call: str, records: str, params: Mapping[str, Any], **ids: Any
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of a listing, however many records the tool puts on one."""
        method, path = call.split(" ")
        offset = 0
        while True:
            given = await self.call(method, path, ids=ids, params={**params, "count": _PAGE, "offset": offset})
            rows = given.get(records) or []
            if rows:
                yield rows
            offset += len(rows)
            if not rows or offset >= given.get("total_items", 0):
                return

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Members first, then the segment. See `Tool.submit`."""
        rows = sort_rows(chunk.contacts, longest_text=_LONGEST_TEXT if chunk.action != "remove" else None)
        if chunk.action == "remove":
            if rows.good:
                body = {"members_to_remove": list(rows.good)}
                await self.call("POST", _SEGMENT, ids={"segment_id": where.ids["segment"]}, body=body)
            return Submitted(rows.accept_the_rest())
        if self._config.batches and rows.good:
            ticket = await mailchimp_batches.hand_in(self, rows, self._status_if_new)
            return Submitted(ticket={**ticket, "segment": where.ids["segment"]})
        await self._write(rows)
        await self.put_on(rows, where.ids["segment"])
        return Submitted(rows.accept_the_rest())

    @property
    def _status_if_new(self) -> str:
        return "pending" if self._config.double_opt_in else "subscribed"

    async def _write(self, rows: SortedRows) -> None:
        """Make those who are new, then write the fields of those who were there; nobody's status is touched (L14)."""
        if not rows.good:
            return
        made = await self._members(rows, list(rows.good), status=self._status_if_new)
        known = [a for a, error in made.items() if error and error["error_code"] == "ERROR_CONTACT_EXISTS"]
        for address, error in made.items():
            if error and address not in known:
                _refuse(rows, address, error)
        if known:
            for address, error in (await self._members(rows, known, status=None)).items():
                if error:
                    _refuse(rows, address, error)

    async def _members(
        self, rows: SortedRows, addresses: Sequence[str], *, status: str | None
    ) -> dict[str, dict[str, Any] | None]:
        """What Mailchimp says of each address: an error, or None; members who withdrew are refused here."""
        members = [
            {
                "email_address": address,
                "merge_fields": merge_fields(rows.good[address]),
                **({"status": status} if status else {}),
            }
            for address in addresses
        ]
        params = {"skip_merge_validation": "true", "skip_duplicate_check": "false"}
        body = {"members": members, "update_existing": status is None}
        given = await self.call("POST", _LIST, params=params, body=body)
        for member in given.get("updated_members", []):
            refuse_who_withdrew(rows, member)
        errors = {str(one.get("email_address", "")).lower(): one for one in given.get("errors", [])}
        return {address: errors.get(address) for address in addresses}

    async def put_on(self, rows: SortedRows, segment: str) -> None:
        """Put the members onto the segment; refused are those whom Mailchimp does not take there."""
        if not rows.good:
            return
        given = await self.call("POST", _SEGMENT, ids={"segment_id": segment}, body={"members_to_add": list(rows.good)})
        for error in given.get("errors", []):
            for address in error.get("email_addresses", []):
                rows.refuse(str(address).lower(), "refused_by_tool", masked(str(error.get("error", ""))))

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """The outcomes of a batch, once it has ended."""
        return await mailchimp_batches.follow(self, ticket, chunk)

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them stands on the segment: by its members where they are few, else one by one."""
        rows, segment = sort_rows(contacts), where.ids["segment"]
        found = await self.call("GET", _SEGMENT, ids={"segment_id": segment}, params={"fields": "id,member_count"})
        if found.get("member_count", 0) > _PAGE * len(rows.good):
            return await self._one_by_one(rows, segment)
        on: set[str] = set()
        params = {"fields": "members.email_address,total_items", "include_unsubscribed": "true"}
        async for page in self.pages(f"GET {_SEGMENT}/members", "members", params, segment_id=segment):
            on.update(rows.good[a].client_id for m in page if (a := m["email_address"].lower()) in rows.good)
        return frozenset(on)

    async def _one_by_one(self, rows: SortedRows, segment: str) -> frozenset[str]:
        async def stands(address: str) -> bool:
            try:
                found = await self.call("GET", _MEMBER, ids={"hash": hash_of(address)}, params={"fields": "tags"})
            except Gone:
                return False
            return any(str(tag["id"]) == segment for tag in found.get("tags", []))

        answers = await asyncio.gather(*(stands(address) for address in rows.good))
        pairs = zip(rows.good.values(), answers, strict=True)
        return frozenset(contact.client_id for contact, on in pairs if on)

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Unsubscribed and cleaned members, and complaints. See `Tool.withdrawals`."""
        return mailchimp_pulls.withdrawals(self, cursor)

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """What recipients of the audience's campaigns did. See `Tool.feedback`."""
        return mailchimp_pulls.feedback(self, cursor, self._config.list_id)


_FIELD_FIX = "make it in Mailchimp (Audience, Settings, Audience fields), or map the column under `fields`"


def hash_of(address: str) -> str:
    """The id of a member: the MD5 of its address in lower case."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def merge_fields(contact: Contact) -> dict[str, str | int | float]:
    """The set fields by their tags, which Mailchimp writes in capitals; it knows no booleans."""
    return {
        name.upper(): ("true" if cell else "false") if isinstance(cell, bool) else cell
        for name, cell in set_fields(contact)
    }


def refuse_who_withdrew(rows: SortedRows, member: Mapping[str, Any]) -> None:
    """A member whom the tool may not mail is not put on a list."""
    code = _WITHDREW.get(str(member.get("status")))
    if code is not None:
        rows.refuse(str(member["email_address"]).lower(), code)


def refusal_code(words: str, field: str) -> str:
    """What Mailchimp's sentence about a contact means."""
    text = words.lower()
    if field and field != "email_address":
        return "bad_field"
    if "permanently deleted" in text or "forgotten" in text:
        return "deleted_in_tool"
    if "compliance state" in text or "unsubscribe" in text:
        return "unsubscribed_in_tool"
    if "fake or invalid" in text or "valid email" in text or "email address" in text:
        return "bad_address"
    return "refused_by_tool"


def _refuse(rows: SortedRows, address: str, error: Mapping[str, Any]) -> None:
    words, field = str(error.get("error", "")), str(error.get("field") or "")
    told = f"{field}: {error.get('field_message') or words}" if field else words
    rows.refuse(address, refusal_code(words, field), masked(told))


def _home_of(connection: Connection, key: str) -> str | None:
    if connection.host is not None:
        return None
    _, dash, centre = key.rpartition("-")
    if not dash or not centre.isalnum():
        fix = "use the whole key (it ends like -us6), or write https://<dc>.api.mailchimp.com/3.0 as the host"
        raise PermanentError(Problem(f"connection {connection.id}", "the key does not name its data centre", fix))
    return f"https://{centre}.api.mailchimp.com"


def _is_busy(reply: Reply) -> bool:
    """At high volume Mailchimp answers a bare 403 that is no problem document."""
    return reply.status == _FORBIDDEN and not isinstance(reply.json(), dict)


def _next_step(steps: Steps) -> str:
    order = ("connection", "key", "audience", "fields")
    return order[len(steps.made)]


def _type_of(sql_type: str) -> str:
    name = sql_type.upper()
    if name == "DATE":
        return "date"
    return "number" if name.startswith(_NUMBERS) else "text"
