"""Klaviyo: profiles are imported by a job, which is followed to its end; lists are Klaviyo's lists.

Written against the vendor's specification (klaviyo/openapi, revision 2026-07-15) and never tried on the live service.
An import names no subscription, so nobody is subscribed by it: whom Klaviyo may mail, it decides by its own consents
(L14).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from perennial.contracts.destinations import KlaviyoConfig
from perennial.core import clock
from perennial.core.connections import Connection, ConnectionStore
from perennial.delivery.records import CheckStep
from perennial.delivery.tools.accounts import base_url, secret
from perennial.delivery.tools.asking import checked, judged_by_list, moment_of, pieces, sorted_chunk, unknown_field
from perennial.delivery.tools.http import Api, Effect, Manners, Reply
from perennial.delivery.tools.klaviyo_events import events
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
from perennial.delivery.tools.vendor import VendorAccount
from perennial.delivery.tools.withdrew import Since, Withdrew
from perennial.delivery.tools.words import masked

REVISION = "2026-07-15"
_HOME = "https://a.klaviyo.com"
_JSON_API = "application/vnd.api+json"
_LOOKED_UP, _TAKEN_OFF, _PAGE = 50, 1_000, 100
_LONGEST_PROFILE = 100_000  # bytes (specification)
_OWN = frozenset({"external_id", "first_name", "last_name", "locale", "organization", "phone_number", "title", "image"})
_PLACE = frozenset(
    {"address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip"}
)
_EPOCH = "2000-01-01T00:00:00Z"
_SUPPRESSED: dict[str, FeedbackKind] = {
    "HARD_BOUNCE": "hard_bounce",
    "INVALID_EMAIL": "hard_bounce",
    "SPAM_COMPLAINT": "complaint",
    "UNSUBSCRIBE": "unsubscribe",
    "USER_SUPPRESSED": "unsubscribe",
}
_MARKETING = "subscriptions.email.marketing"


class Klaviyo(VendorAccount[KlaviyoConfig]):
    """One account of Klaviyo. Any field that is not Klaviyo's own becomes a property of the profile."""

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
        self, name: str, config: KlaviyoConfig, connections: ConnectionStore, manners: Manners | None = None
    ) -> None:
        super().__init__(name, config, connections, manners)
        # 10,000 profiles or 5 MB a job; 10 calls/s for a moment and 150 a minute for long (specification).
        self.limits = Limits(10_000, 2.5 * config.rate_share, 8, 5_000_000, config.timeout_seconds)
        self._withdrew = Withdrew(self._withdrawals)

    def _target(self) -> str:
        return f"Klaviyo by {self._config.connection}"

    def _open(self, connection: Connection) -> Api:
        headers = {
            "Authorization": f"Klaviyo-API-Key {secret(connection, 'the private API key')}",
            "revision": REVISION,
            "Accept": _JSON_API,
        }
        base = base_url(connection, _HOME, "")
        return Api(self._name, base, headers=headers, limits=self.limits, manners=self._manners)

    async def _call(
        self, method: str, path: str, *, body: Any = None, effect: Effect | None = None, **more: Any
    ) -> Reply:
        headers = {"Content-Type": _JSON_API} if body is not None else None
        return await self.api.call(method, path, body=body, headers=headers, effect=effect, **more)

    async def check(self) -> list[CheckStep]:
        """Key, lists, profiles, jobs."""

        async def key() -> str:
            return "the connection has a key" if self.api else ""

        async def lists() -> str:
            await self._call("GET", "/api/lists", params={"page[size]": 1})
            return "lists can be read"

        async def profiles() -> str:
            await self._call("GET", "/api/profiles", params={"page[size]": 1, "fields[profile]": "email"})
            return "profiles can be read"

        async def jobs() -> str:
            await self._call("GET", "/api/profile-bulk-import-jobs", params={"page[size]": 1})
            return "imports can be read"

        return await checked([("key", key), ("lists", lists), ("profiles", profiles), ("imports", jobs)])

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The list of that title, made where it is missing. Raises ConfigError for a field that is Klaviyo's secret."""
        for name, _ in target.fields:
            if name.startswith("$") or name in {"email", "id"}:
                raise unknown_field(self._name, name, "is kept by Klaviyo for itself", "name another one")
            if name.startswith("location.") and name.removeprefix("location.") not in _PLACE:
                raise unknown_field(self._name, name, "is no part of a place in Klaviyo", "see docs/delivery.md")
        asked = f"equals(name,{_quoted(target.title)})"
        found = (await self._call("GET", "/api/lists", params={"filter": asked})).json()["data"]
        same = [one for one in found if one["attributes"]["name"] == target.title]
        if not same:
            body = {"data": {"type": "list", "attributes": {"name": target.title}}}
            same = [(await self._call("POST", "/api/lists", body=body)).json()["data"]]
        return RemoteList(target.title, {"list": str(same[0]["id"])})

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Import by a job that puts the profiles on the list; `remove` takes profiles off this list at once."""
        rows = self._rows(chunk)
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        if chunk.action == "remove":
            return await self._remove(rows, where)
        refused = await self._withdrew.refuse(rows)
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        profiles = [_as_profile(address, contact) for address, contact in rows.good.items()]
        body = {
            "data": {
                "type": "profile-bulk-import-job",
                "attributes": {"profiles": {"data": profiles}},
                "relationships": {"lists": {"data": [{"type": "list", "id": where.ids["list"]}]}},
            }
        }
        reply = await self._call("POST", "/api/profile-bulk-import-jobs", body=body, effect="repeatable")
        ticket = {"job": str(reply.json()["data"]["id"]), "title": where.title, "list": where.ids["list"]}
        return Submitted(ticket={**ticket, "withdrew": refused})

    async def _remove(self, rows: SortedRows, where: RemoteList) -> Submitted:
        there = await self._standing(where, list(rows.good))
        for piece in pieces(sorted(there.values()), _TAKEN_OFF):
            await self._call(
                "DELETE",
                "/api/lists/{id}/relationships/profiles",
                ids={"id": where.ids["list"]},
                body={"data": [{"type": "profile", "id": one} for one in piece]},
                effect="repeatable",
            )
        return Submitted(rows.accept_the_rest())

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """The outcome of every row once the job has ended; Klaviyo tells the rows that failed."""
        path = "/api/profile-bulk-import-jobs/{job_id}"
        job = (await self._call("GET", path, ids={"job_id": ticket["job"]})).json()["data"]["attributes"]
        if job["status"] in ("queued", "processing"):
            return None
        rows = self._rows(chunk)
        self._withdrew.recall(rows, ticket.get("withdrew", "{}"))
        where = RemoteList(ticket["title"], {"list": ticket["list"]})
        if job["status"] == "cancelled":
            good = await self.read_back(where, list(rows.good.values()))
            return Submitted(judged_by_list(rows, good, "the import was cancelled in Klaviyo"))
        failed = int(job.get("failed_count") or 0)
        return Submitted(await self._failed(rows, ticket["job"], failed, where) if failed else rows.accept_the_rest())

    async def _failed(self, rows: SortedRows, job: str, failed: int, where: RemoteList) -> tuple[RowOutcome, ...]:
        sent = list(rows.good)
        named: set[str] = set()
        path = "/api/profile-bulk-import-jobs/{id}/import-errors"
        async for page in self._pages(path, {"page[size]": _PAGE}, ids={"id": job}):
            for error in page["data"]:
                address = _address_of(error["attributes"], sent)
                if address is not None:
                    named.add(address)
                    rows.refuse(address, "refused_by_tool", masked(str(error["attributes"]["detail"])))
        if len(named) >= failed:
            return rows.accept_the_rest()
        good = await self.read_back(where, list(rows.good.values()))
        return judged_by_list(rows, good, "Klaviyo did not take the row, and does not say why")

    async def _pages(
        self, path: str, params: Mapping[str, Any], ids: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The pages of a list, by the cursor in the link to the next one."""
        cursor: str | None = ""
        while cursor is not None:
            asked = {**params, "page[cursor]": cursor or None}
            page = (await self._call("GET", path, params=asked, ids=ids)).json()
            yield page
            following = (page.get("links") or {}).get("next")
            cursor = dict(parse_qsl(urlsplit(following).query)).get("page[cursor]") if following else None

    async def _standing(self, where: RemoteList, addresses: Sequence[str]) -> dict[str, str]:
        """Of those addresses the ones on the list, with the ids of their profiles."""
        there = {}
        for piece in pieces(addresses, _LOOKED_UP):
            params = {
                "filter": f"any(email,[{','.join(_quoted(address) for address in piece)}])",
                "fields[profile]": "email",
                "page[size]": _PAGE,
            }
            async for page in self._pages("/api/lists/{id}/profiles", params, ids={"id": where.ids["list"]}):
                there.update({one["attributes"]["email"].lower(): one["id"] for one in page["data"]})
        return there

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them is on the list."""
        asked = {contact.client_id: normal_address(contact.address) for contact in contacts}
        there = await self._standing(where, sorted({address for address in asked.values() if address}))
        return frozenset(client for client, address in asked.items() if address in there)

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Profiles that are suppressed for e-mail marketing, and those who left a single list, by their moment."""
        return self._withdrew.pages(cursor)

    def go_on_from(self, cursor: Mapping[str, Any]) -> None:
        """See `RemembersWithdrawals`."""
        self._withdrew.go_on_from(cursor)

    async def _withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        told = dict(cursor)
        for place in ("suppression", "list_suppressions"):
            since = Since(cursor.get(place))
            at = f"{_MARKETING}.{place}.timestamp"
            start = since.at.isoformat().replace("+00:00", "Z") if since.at else _EPOCH
            params = {
                "filter": f"greater-or-equal({at},{start})",
                "sort": at,
                "additional-fields[profile]": "subscriptions",
                "fields[profile]": "email,subscriptions",
                "page[size]": _PAGE,
            }
            async for page in self._pages("/api/profiles", params):
                found = [one for profile in page["data"] for one in _withdrawals(profile, place)]
                new = [one for one in found if since.is_new(one.address, one.at)]
                told[place] = since.cursor()  # pages come in the order of the moments
                yield new, dict(told)

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """The events of Klaviyo's own e-mail metrics, each metric from its own moment on."""
        return events(self._pages, cursor)

    def _rows(self, chunk: Chunk) -> SortedRows:
        rows = sorted_chunk(chunk)
        if chunk.action != "remove":
            for address, contact in list(rows.good.items()):
                if len(json.dumps(_as_profile(address, contact))) > _LONGEST_PROFILE:
                    rows.refuse(address, "bad_field", f"the row is longer than {_LONGEST_PROFILE} bytes")
        return rows


def _quoted(text: str) -> str:
    """A value in a filter: in double quotes, which are escaped as JSON does."""
    return json.dumps(text)


def _as_profile(address: str, contact: Contact) -> dict[str, Any]:
    own: dict[str, Any] = {"email": address}
    place: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, value in set_fields(contact):
        if name in _OWN:
            own[name] = str(value)
        elif name.startswith("location."):
            place[name.removeprefix("location.")] = str(value)
        else:
            properties[name] = value
    more = {"location": place, "properties": properties}
    return {"type": "profile", "attributes": {**own, **{name: given for name, given in more.items() if given}}}


def _address_of(error: Mapping[str, Any], sent: Sequence[str]) -> str | None:
    """Whose row it is: by the profile that Klaviyo shows, else by its place in the call."""
    payload = error.get("original_payload")
    inner = payload.get("attributes", payload) if isinstance(payload, dict) else {}
    address = inner.get("email") if isinstance(inner, dict) else None
    if isinstance(address, str) and address.lower() in sent:
        return address.lower()
    steps = str((error.get("source") or {}).get("pointer") or "").split("/")
    place = next((int(step) for step in steps if step.isascii() and step.isdigit()), None)
    return sent[place] if place is not None and place < len(sent) else None


def _withdrawals(profile: Mapping[str, Any], place: str) -> list[Withdrawal]:
    marketing = profile["attributes"].get("subscriptions", {}).get("email", {}).get("marketing", {})
    return [
        Withdrawal(
            profile["attributes"]["email"],
            _SUPPRESSED.get(one["reason"], "unsubscribe"),
            moment_of(one["timestamp"]) or clock.now(),
        )
        for one in marketing.get(place) or ()
    ]
