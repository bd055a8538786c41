"""Resend: contacts are imported as CSV by jobs, which are followed to their end; lists are segments.

Written against the vendor's specification (resend/resend-openapi 1.5.0) and never tried on the live service. An
import tells how many rows failed, not which: many rows are imported again in pieces, and the rows of a piece that fails
are looked up one by one. An import maps no `unsubscribed` column, so nobody's subscription is written (L14).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perennial.contracts.destinations import ResendConfig
from perennial.core.connections import Connection, ConnectionStore
from perennial.delivery.records import CheckStep
from perennial.delivery.tools.accounts import base_url, secret
from perennial.delivery.tools.asking import checked, is_number, judged_by_list, pieces, sorted_chunk, unknown_field
from perennial.delivery.tools.http import Api, Manners
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
from perennial.delivery.tools.resend_pulls import (
    events,
    pages,
    unsubscribed_by_broadcasts,
    unsubscribed_contacts,
    withdrawn,
)
from perennial.delivery.tools.rows import Plain, SortedRows, normal_address, set_fields
from perennial.delivery.tools.vendor import VendorAccount
from perennial.delivery.tools.withdrew import Withdrew

if TYPE_CHECKING:
    import aiohttp

_HOME = "https://api.resend.com"
_NOT_FOUND = 404
_LOOKED_UP = 50
_LONGEST_KEY = 50
_OWN = ("first_name", "last_name")
_KEPT = frozenset({"email", "id", "unsubscribed", "created_at", "segments", "topics"})


class Resend(VendorAccount[ResendConfig]):
    """One account of Resend. Fields are the first and last name, and contact properties, which are made."""

    capabilities = ToolCapabilities(
        actions=("add", "update", "remove"),
        list_types=("send", "audience"),
        repeatable=True,
        readable=True,
        asynchronous=True,
        knows_withdrawals=True,
        feedback=("delivered", "open", "click", "soft_bounce", "hard_bounce", "unsubscribe", "complaint"),
    )

    def __init__(
        self, name: str, config: ResendConfig, connections: ConnectionStore, manners: Manners | None = None
    ) -> None:
        super().__init__(name, config, connections, manners)
        # A CSV of 50 MB and 2 calls a second (vendor's documentation). Removals are one call each: hence not more rows.
        self.limits = Limits(1_000, 2 * config.rate_share, 2, 50_000_000, config.timeout_seconds)
        self._withdrew = Withdrew(self._all_withdrawals, light=self._suppressions)

    def _target(self) -> str:
        return f"Resend by {self._config.connection}"

    def _open(self, connection: Connection) -> Api:
        headers = {"Authorization": f"Bearer {secret(connection, 'the API key')}"}
        base = base_url(connection, _HOME, "")
        manners = self._manners or Manners(wait_headers=("retry-after", "ratelimit-reset"))
        return Api(self._name, base, headers=headers, limits=self.limits, manners=manners)

    async def check(self) -> list[CheckStep]:
        """Key, segments, properties, suppressions."""

        async def key() -> str:
            return "the connection has a key" if self.api else ""

        async def segments() -> str:
            await self.api.call("GET", "/segments", params={"limit": 1})
            return "segments can be read"

        async def properties() -> str:
            return f"{len([one async for one in pages(self.api, '/contact-properties')])} pages of properties"

        async def suppressions() -> str:
            await self.api.call("GET", "/suppressions", params={"limit": 1})
            return "suppressions can be read"

        return await checked(
            [("key", key), ("segments", segments), ("properties", properties), ("suppressions", suppressions)]
        )

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The segment of that title and the properties, made where they are missing."""
        kinds = await self._properties(target.fields)
        async for page in pages(self.api, "/segments"):
            for one in page:
                if one["name"] == target.title:
                    return RemoteList(target.title, {"segment": str(one["id"]), **kinds})
        made = (await self.api.call("POST", "/segments", body={"name": target.title})).json()
        return RemoteList(target.title, {"segment": str(made["id"]), **kinds})

    async def _properties(self, fields: Sequence[tuple[str, str]]) -> dict[str, str]:
        """`field.<name>` to the kind of the property. Raises ConfigError for what cannot be one."""
        wanted = [(name, "number" if is_number(kind) else "string") for name, kind in fields if name not in _OWN]
        if not wanted:
            return {}
        have = {one["key"]: one["type"] async for page in pages(self.api, "/contact-properties") for one in page}
        for name, kind in wanted:
            if name in _KEPT:
                raise unknown_field(self._name, name, "is Resend's own and cannot be set", "name another one")
            if not (name.isascii() and name.replace("_", "").isalnum() and len(name) <= _LONGEST_KEY):
                why = f"is not of letters, digits and _ (at most {_LONGEST_KEY})"
                raise unknown_field(self._name, name, why, "map it under fields in config/destinations.yml")
            if name not in have:
                await self.api.call("POST", "/contact-properties", body={"key": name, "type": kind})
                have[name] = kind
            if have[name] == "number" != kind:
                why = "is a number in Resend, and ours is none"
                raise unknown_field(self._name, name, why, "name another field, or delete the old one there")
        return {f"field.{name}": have[name] for name, _ in wanted}

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Import into the segment by jobs; `remove` takes contacts off this segment, one call each."""
        rows = sorted_chunk(chunk)
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        if chunk.action == "remove":
            return await self._remove(rows, where)
        refused = await self._withdrew.refuse(rows)
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        jobs = [await self._import(table, where) for table in _tables(rows, rows.good)]
        ticket = {"jobs": ",".join(jobs), "title": where.title, "ids": json.dumps(where.ids)}
        return Submitted(ticket={**ticket, "withdrew": refused})

    async def _import(self, table: Mapping[str, dict[str, Plain]], where: RemoteList) -> str:
        names = list(next(iter(table.values())))
        properties = {name: {"column": name, "type": where.ids[f"field.{name}"]} for name in names if name not in _OWN}
        columns = {"email": "email", **{name: name for name in names if name in _OWN}}
        told = {
            "column_map": json.dumps({**columns, **({"properties": properties} if properties else {})}),
            "on_conflict": "upsert",
            "segments": json.dumps([{"id": where.ids["segment"]}]),
        }
        content = _csv(table, names)

        def form() -> aiohttp.FormData:
            import aiohttp

            made = aiohttp.FormData(told)
            made.add_field("file", content, filename="contacts.csv", content_type="text/csv")
            return made

        reply = await self.api.call("POST", "/contacts/imports", form=form, effect="repeatable")
        return str(reply.json()["id"])

    async def _remove(self, rows: SortedRows, where: RemoteList) -> Submitted:
        for address in rows.good:
            await self.api.call(
                "DELETE",
                "/contacts/{contact_id}/segments/{segment_id}",
                ids={"contact_id": address, "segment_id": where.ids["segment"]},
                effect="repeatable",
                answers=(_NOT_FOUND,),  # not on it, which is what is wanted
            )
        return Submitted(rows.accept_the_rest())

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """The outcome of every row once all imports of the chunk have ended; a new ticket where it goes in pieces."""
        failed = []
        for jobs in ticket["jobs"].split(";"):
            bad = [await self._failed(job) for job in jobs.split(",")]
            if None in bad:
                return None
            failed.append(any(bad))
        rows = sorted_chunk(chunk)
        self._withdrew.recall(rows, ticket.get("withdrew", "{}"))
        if not any(failed):
            return Submitted(rows.accept_the_rest())
        where = RemoteList(ticket["title"], json.loads(ticket["ids"]))
        parts = list(pieces(rows.good, _LOOKED_UP))
        if len(parts) > len(failed):
            cut = [",".join([await self._import(table, where) for table in _tables(rows, part)]) for part in parts]
            return Submitted(ticket={**ticket, "jobs": ";".join(cut)})
        taken = []
        for part, bad_part in zip(parts, failed, strict=True):
            named = [(address, rows.good[address]) for address in part]
            taken += [
                one.client_id for address, one in named if not bad_part or await self._is_taken(address, one, where)
            ]
        return Submitted(judged_by_list(rows, taken, "Resend did not take the row, and does not say why"))

    async def _failed(self, job: str) -> bool | None:
        """Whether rows of an import failed; None while it runs."""
        told = (await self.api.call("GET", "/contacts/imports/{id}", ids={"id": job})).json()
        if told["status"] not in ("completed", "failed"):
            return None
        counts = told.get("counts") or {}
        return told["status"] == "failed" or any(int(counts.get(name) or 0) for name in ("failed", "skipped"))

    async def _is_taken(self, address: str, contact: Contact, where: RemoteList) -> bool:
        """Whether the contact is in the segment and has what was to be written."""
        reply = await self.api.call("GET", "/contacts/{id}", ids={"id": address}, answers=(_NOT_FOUND,))
        if reply.status == _NOT_FOUND:
            return False
        found = reply.json()
        have = {**(found.get("properties") or {}), **{name: found.get(name) for name in _OWN}}
        same = all(str(_bare(have.get(name))) == str(value) for name, value in set_fields(contact))
        return same and await self._is_in(address, where)

    async def _is_in(self, address: str, where: RemoteList) -> bool:
        path = "/contacts/{contact_id}/segments"
        async for page in pages(self.api, path, ids={"contact_id": address}, missing_is_empty=True):
            if any(one["id"] == where.ids["segment"] for one in page):
                return True
        return False

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them is in the segment: a few are asked for one by one, for many the segment is read."""
        asked = {one.client_id: address for one in contacts if (address := normal_address(one.address)) is not None}
        if len(asked) <= _LOOKED_UP:
            return frozenset([client for client, address in asked.items() if await self._is_in(address, where)])
        left, standing = set(asked.values()), set()
        async for page in pages(self.api, "/contacts", {"segment_id": where.ids["segment"]}):
            standing |= left & {str(one["email"]).lower() for one in page}
            if standing == left:
                break
        return frozenset(client for client, address in asked.items() if address in standing)

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Suppressions since the cursor, who unsubscribed by a broadcast, and contacts that are unsubscribed."""
        return self._withdrew.pages(cursor)

    def go_on_from(self, cursor: Mapping[str, Any]) -> None:
        """See `RemembersWithdrawals`."""
        self._withdrew.go_on_from(cursor)

    def _all_withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        more = unsubscribed_contacts if self._config.reads_contacts else unsubscribed_by_broadcasts
        return withdrawn(self.api, cursor, more)

    def _suppressions(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        return withdrawn(self.api, cursor)

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """What the recipients of broadcasts did, for two weeks after each was sent."""
        return events(self.api, cursor)


def _tables(rows: SortedRows, addresses: Iterable[str]) -> Iterator[dict[str, dict[str, Plain]]]:
    """Rows by which fields they have: an empty cell could erase what the tool has (L19), so that none is sent."""
    by_names: dict[tuple[str, ...], dict[str, dict[str, Plain]]] = {}
    for address in addresses:
        given = dict(sorted(set_fields(rows.good[address])))
        by_names.setdefault(tuple(given), {})[address] = given
    yield from by_names.values()


def _csv(table: Mapping[str, dict[str, Plain]], names: Sequence[str]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["email", *names])
    for address, given in table.items():
        writer.writerow([address, *(given[name] for name in names)])
    return out.getvalue().encode()


def _bare(value: Any) -> Any:
    """The value of a property, which may come as such or as `{"value": ...}`."""
    value = value.get("value") if isinstance(value, dict) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
