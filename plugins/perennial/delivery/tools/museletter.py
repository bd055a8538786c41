"""museletter, a self-hosted newsletter engine on Amazon SES: lists of ours are tags of one list of its.

One list, for museletter keeps who unsubscribed by list: a list for each campaign would forget it in the next one. It
has names and tags and no other field (1.5.0). Its limits are those of the machine that it runs on. Tried on the real
engine (tests/integration/test_museletter.py).
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from perennial.contracts.destinations import MuseletterConfig
from perennial.core import clock
from perennial.core.connections import Connection, ConnectionStore
from perennial.core.errors import ConfigError, PermanentError, Problem
from perennial.delivery.records import CheckStep
from perennial.delivery.tools.accounts import base_url, secret
from perennial.delivery.tools.asking import Step, checked, moment_of, sorted_chunk, unknown_field
from perennial.delivery.tools.http import Api, Gone, Manners
from perennial.delivery.tools.museletter_queue import Queue
from perennial.delivery.tools.records import (
    Chunk,
    Contact,
    FeedbackEvent,
    FeedbackKind,
    Limits,
    ListTarget,
    RemoteList,
    Submitted,
    ToolCapabilities,
    Withdrawal,
)
from perennial.delivery.tools.rows import SortedRows, normal_address
from perennial.delivery.tools.vendor import VendorAccount
from perennial.delivery.tools.withdrew import Since, Withdrew, digest_of

_PAGE = 1_000
_CONFLICT = 409
_LOOKED_UP = 200
_FIELDS = ("name", "tags")
_REASONS: dict[str, FeedbackKind] = {"bounce": "hard_bounce", "complaint": "complaint", "manual": "unsubscribe"}


class Museletter(VendorAccount[MuseletterConfig]):
    """One museletter server."""

    def __init__(
        self, name: str, config: MuseletterConfig, connections: ConnectionStore, manners: Manners | None = None
    ) -> None:
        super().__init__(name, config, connections, manners)
        self.limits = Limits(1_000, 50 * config.rate_share, 4, timeout_seconds=config.timeout_seconds)
        self._withdrew = Withdrew(self._withdrawals)
        queue, account = config.feedback_queue, config.aws_connection
        self._queue = Queue(name, queue, account, connections) if queue and account else None

    @property
    def capabilities(self) -> ToolCapabilities:
        """Events of single recipients come from the queue of SES's notifications only: its API tells sums."""
        return ToolCapabilities(
            actions=("add", "update", "remove"),
            list_types=("send", "audience"),
            repeatable=True,
            readable=True,
            knows_withdrawals=True,
            starts_sends=True,
            feedback=("delivered", "soft_bounce", "hard_bounce", "complaint") if self._queue else (),
        )

    def _target(self) -> str:
        return f"museletter by {self._config.connection}, list {self._config.list}"

    def _open(self, connection: Connection) -> Api:
        headers = {"Authorization": f"Bearer {secret(connection, 'MUSELETTER_API_KEY')}"}
        base = base_url(connection, None, "")
        return Api(self._name, base, headers=headers, limits=self.limits, manners=self._manners)

    async def check(self) -> list[CheckStep]:
        """Reachable, key and list, suppressions, and the queue of notifications if there is one."""

        async def reachable() -> str:
            return f"museletter {(await self.api.call('GET', '/health')).json()['version']}"

        async def the_list() -> str:
            return f"the list {(await self._list())['name']!r} is there"

        async def suppressions() -> str:
            await self.api.call("GET", "/v1/suppressions", params={"limit": 1})
            return "suppressions can be read"

        steps: list[Step] = [("reachable", reachable), ("list", the_list), ("suppressions", suppressions)]
        return await checked([*steps, *([("queue", self._queue.check)] if self._queue else [])])

    async def _list(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.call("GET", "/v1/lists/{ref}", ids={"ref": self._config.list})).json()
        return found

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The tag of that title. Raises ConfigError for every field but `name` and `tags` (`a;b`)."""
        for name, _ in target.fields:
            if name not in _FIELDS:
                why = "cannot be kept: museletter has names and tags only"
                fix = "name the columns for `name` and `tags` under `fields` in config/destinations.yml, and no others"
                raise unknown_field(self._name, name, why, fix)
        number = str((await self._list())["id"])
        tag = await self._tag(number, target.title)
        if tag is None:
            ids, body = {"ref": number}, {"name": target.title}
            reply = await self.api.call("POST", "/v1/lists/{ref}/tags", ids=ids, body=body, answers=(_CONFLICT,))
            made = reply.json().get("id")
            tag = str(made) if made else await self._tag(number, target.title)
        return RemoteList(target.title, {"list": number, "tag": str(tag)})

    async def _tag(self, number: str, title: str) -> str | None:
        tags = (await self.api.call("GET", "/v1/lists/{ref}/tags", ids={"ref": number})).json()["tags"]
        return next((str(one["id"]) for one in tags if one["name"] == title), None)

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Import who is new, with the tag; tag who is known, and touch no status (L14); `remove` takes the tag off."""
        rows = sorted_chunk(chunk)
        if chunk.action == "remove":
            return await self._remove(rows, where)
        if await self._tag(where.ids["list"], where.title) != where.ids["tag"]:
            raise Gone(
                Problem(f"{self._name}: tag {where.title}", "it was deleted in museletter", "run the push again")
            )
        await self._withdrew.refuse(rows)
        if rows.good:
            ids, body = {"ref": where.ids["list"]}, {"csv": _csv(rows, where.title)}
            path = "/v1/lists/{ref}/subscribers/import"
            told = (await self.api.call("POST", path, ids=ids, body=body, effect="repeatable")).json()
            if told["imported"] < len(rows.good):
                await self._update(rows, where)
        return Submitted(rows.accept_the_rest())

    async def _update(self, rows: SortedRows, where: RemoteList) -> None:
        """The tags and the name of those whom the import left as they were; museletter has no call for many."""
        for address, contact in list(rows.good.items()):
            known = await self._subscriber(where.ids["list"], address)
            if known is None:
                rows.refuse(address, "refused_by_tool", "museletter did not take the row, and does not say why")
                continue
            ids = {"id": known["id"]}
            for tag in (where.title, *_tags(contact)):
                if tag not in known["tags"]:
                    path = "/v1/subscribers/{id}/tags"
                    await self.api.call("POST", path, ids=ids, body={"name": tag}, effect="repeatable")
            name = _name(contact)
            if name and name != known["name"]:
                await self.api.call("PATCH", "/v1/subscribers/{id}", ids=ids, body={"name": name}, effect="repeatable")

    async def _remove(self, rows: SortedRows, where: RemoteList) -> Submitted:
        for address in rows.good:
            known = await self._subscriber(where.ids["list"], address)
            if known is not None and where.title in known["tags"]:
                ids = {"id": known["id"], "tag": where.ids["tag"]}
                await self.api.call("DELETE", "/v1/subscribers/{id}/tags/{tag}", ids=ids, effect="repeatable")
        return Submitted(rows.accept_the_rest())

    async def _subscriber(self, number: str, address: str) -> dict[str, Any] | None:
        """The subscriber of that address: its search looks for parts of addresses and names."""
        async for page in self._subscribers(number, {"q": address}):
            for one in page:
                if one["email"] == address:
                    return one
        return None

    async def _subscribers(self, number: str, params: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        async for page in self._pages("/v1/lists/{ref}/subscribers", "subscribers", params, ids={"ref": number}):
            yield page

    async def _pages(
        self, path: str, records: str, params: Mapping[str, Any], ids: Mapping[str, Any] | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        offset = 0
        while True:
            asked = {**params, "limit": _PAGE, "offset": offset}
            told = (await self.api.call("GET", path, params=asked, ids=ids)).json()
            page = told[records]
            if page:
                yield page
            offset += len(page)
            if not page or offset >= told["total"]:
                return

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """There are no jobs: what `submit` hands in is done when it answers."""
        del ticket
        return Submitted(sorted_chunk(chunk).accept_the_rest())

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them has the tag: a few are asked for one by one, for many all who have it are read."""
        asked = {one.client_id: address for one in contacts if (address := normal_address(one.address)) is not None}
        standing: set[str] = set()
        if len(asked) <= _LOOKED_UP:
            for address in asked.values():
                known = await self._subscriber(where.ids["list"], address)
                if known is not None and where.title in known["tags"]:
                    standing.add(address)
        else:
            async for page in self._subscribers(where.ids["list"], {"tag": where.ids["tag"]}):
                standing.update(one["email"] for one in page)
        return frozenset(client for client, address in asked.items() if address in standing)

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Suppressed addresses (bounced, complained, by hand) and who unsubscribed from the list."""
        return self._withdrew.pages(cursor)

    def go_on_from(self, cursor: Mapping[str, Any]) -> None:
        """See `RemembersWithdrawals`."""
        self._withdrew.go_on_from(cursor)

    async def _withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        told = dict(cursor)
        since = Since(cursor.get("suppressions"))
        async for page in self._pages("/v1/suppressions", "suppressions", {}):
            dated = [(one, moment_of(one["created_at"]) or clock.now()) for one in page]
            new = [(one, at) for one, at in dated if since.is_new(one["email"], at)]
            yield (
                [Withdrawal(one["email"], _REASONS.get(one["reason"], "unsubscribe"), at) for one, at in new],
                dict(told),
            )
            if since.at is not None and all(at < since.at for _, at in dated):
                break  # newest first: what follows was read before
        told["suppressions"] = since.cursor()
        since = Since(cursor.get("unsubscribed"))
        by_hand, undated = set(cursor.get("by_hand", ())), set()
        async for page in self._subscribers(self._config.list, {"status": "unsubscribed"}):
            found = []
            for one in page:
                at = moment_of(one["unsubscribed_at"])
                if at is None:  # a person set it in museletter, which notes no moment then
                    undated.add(digest_of(one["email"]))
                if since.is_new(one["email"], at) if at else digest_of(one["email"]) not in by_hand:
                    found.append(Withdrawal(one["email"], "unsubscribe", at or clock.now()))
            yield found, dict(told)
        yield [], {**told, "unsubscribed": since.cursor(), "by_hand": sorted(undated)}

    async def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """Deliveries, bounces and complaints from the queue of SES's notifications; the queue is its own cursor."""
        if self._queue is not None:
            async for page in self._queue.pages():
                yield page, dict(cursor)

    async def start_send(self, where: RemoteList, message: str) -> dict[str, str]:
        """Send a copy of the draft `message` (its id or subject in museletter) to the tag. See `StartsSends`."""
        params = {"list": where.ids["list"], "status": "draft"}
        drafts = (await self.api.call("GET", "/v1/campaigns", params=params)).json()["campaigns"]
        found = [one for one in drafts if message in (one["id"], one["subject"]) and one["tag"] is None]
        if len(found) != 1:
            fix = "write one draft without a tag in museletter, with the card's message as its subject"
            told = f"{len(found)} drafts are called {message!r}"
            raise ConfigError(Problem(f"destination {self._name}", told, fix))
        copied = {name: found[0][name] for name in ("subject", "body_markdown", "template", "track_opens")}
        body = {**copied, "tag": where.ids["tag"]}
        path = "/v1/lists/{ref}/campaigns"
        made = (await self.api.call("POST", path, ids={"ref": where.ids["list"]}, body=body)).json()["id"]
        headers = {"Idempotency-Key": f"send-{made}"}
        sent = {"confirm": True, "skip_test": True}
        path = "/v1/campaigns/{id}/send"
        told = (await self.api.call("POST", path, ids={"id": made}, body=sent, headers=headers)).json()
        if told.get("status") == "draft":
            raise PermanentError(Problem(f"destination {self._name}", "museletter did not begin", "see it there"))
        return {"campaign": str(made), "recipients": str(told["recipient_count"])}


def _name(contact: Contact) -> str:
    return str(contact.fields.get("name") or "").strip()


def _tags(contact: Contact) -> list[str]:
    return [tag.strip() for tag in str(contact.fields.get("tags") or "").split(";") if tag.strip()]


def _csv(rows: SortedRows, title: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["email", *_FIELDS])
    for address, contact in rows.good.items():
        writer.writerow([address, _name(contact), ";".join([title, *_tags(contact)])])
    return out.getvalue()
