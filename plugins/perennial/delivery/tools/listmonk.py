"""listmonk (6): a list of ours is a private list; rows go one by one, for an import would write statuses (L14).

The vendor declares no limit of rate: ours is 50 calls a second of one's own server. Which of a chunk's addresses are
subscribers already is asked by SQL, so that the user of the connection needs `subscribers:sql_query` beside
`subscribers:get_all`, `subscribers:manage`, `lists:get_all`, `lists:manage_all` and `bounces:get`.

L14: only a new subscriber is given a status. A known one is put on the list without one (listmonk keeps a status that
the list has for it), and its attributes are written together with all its lists and no status.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from perennial.contracts.destinations import ListmonkConfig
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, PerennialError, Problem
from perennial.core.sqltext import literal
from perennial.delivery.records import CheckStep
from perennial.delivery.tools import listmonk_pulls
from perennial.delivery.tools.accounts import Steps, base_url, secret
from perennial.delivery.tools.http import Api, Gone, Reply, words_in
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

TAG = "perennial"
_PAGE, _ASKED_AT_ONCE = 500, 100
_OK, _BAD, _MISSING, _CONFLICT = 200, 400, 404, 409
_STEPS = ("connection", "key", "subscribers")
_NAME = "name"


class Listmonk(VendorAccount[ListmonkConfig]):
    """One listmonk server."""

    @property
    def capabilities(self) -> ToolCapabilities:
        """Every call may be made again: a known address is told by 409."""
        return ToolCapabilities(
            actions=("add", "update", "remove"),
            list_types=("audience", "send"),
            repeatable=True,
            readable=True,
            knows_withdrawals=True,
            feedback=("soft_bounce", "hard_bounce", "complaint"),
        )

    @property
    def limits(self) -> Limits:
        """Ours: 50 calls a second, of which we take our share."""
        share = self._config.rate_share
        timeout = self._config.timeout_seconds
        return Limits(rows_per_call=500, calls_per_second=50 * share, connections=8, timeout_seconds=timeout)

    def _target(self) -> str:
        return f"listmonk, connection {self._config.connection}"

    def _open(self, connection: Connection) -> Api:
        url = base_url(connection, None, "/api")
        login = f"{connection.login or ''}:{secret(connection, 'the token of the API user')}"
        headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
        return Api(self._name, url, headers=headers, limits=self.limits, manners=self._manners)

    async def call(self, method: str, path: str, **more: Any) -> Reply:
        """One call; all that we make may be made again."""
        effect = "read" if method == "GET" else "repeatable"
        return await self.api.call(method, path, **{"effect": effect, **more})

    async def get(self, path: str, **more: Any) -> Any:
        """What a call reads."""
        return (await self.call("GET", path, **more)).json()["data"]

    async def pages(self, path: str, params: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of a listing, by the page size that the server says it used."""
        page, seen = 1, 0
        while True:
            given = await self.get(path, params={**params, "page": page, "per_page": _PAGE})
            rows = given.get("results") or []
            if rows:
                yield rows
            seen, page = seen + len(rows), page + 1
            if not rows or seen >= given.get("total", seen + 1):
                return

    async def check(self) -> list[CheckStep]:
        """Connection, key, the right to ask for subscribers by SQL."""
        steps = Steps([])
        try:
            connection = self._connections.get(self._config.connection)
            secret(connection, "the token of the API user")
            base_url(connection, None, "/api")
            steps.passed("connection", f"connection {connection.id} has an address and a token")
            await self.get("/lists", params={"per_page": 1})
            steps.passed("key", "listmonk lets us in")
            await self.get("/subscribers", params={"per_page": 1, "query": "subscribers.id = 0"})
            steps.passed("subscribers", "subscribers can be asked for by SQL")
        except PerennialError as error:
            steps.broke(_STEPS[len(steps.made)], error)
        return steps.skip(*_STEPS)

    async def prepare(self, target: ListTarget) -> RemoteList:
        """The list of the title; attributes need not be made. See `Tool.prepare`."""
        async for page in self.pages("/lists", {"tag": TAG, "minimal": "true"}):
            for one in page:
                if one["name"] == target.title:
                    return RemoteList(target.title, {"list": str(one["id"])})
        optin = "double" if self._config.double_opt_in else "single"
        body = {"name": target.title, "type": "private", "optin": optin, "tags": [TAG]}
        made = await self.call("POST", "/lists", body=body, effect="once")
        return RemoteList(target.title, {"list": str(made.json()["data"]["id"])})

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Who is known is put on the list and updated, who is new is made. See `Tool.submit`."""
        rows, list_id = sort_rows(chunk.contacts), int(where.ids["list"])
        if not rows.good:
            return Submitted(rows.accept_the_rest())
        await self._list_is_there(list_id)
        known = await self._known(list(rows.good))
        if chunk.action == "remove":
            await self._change_lists("remove", [one["id"] for one in known.values()], list_id)
            return Submitted(rows.accept_the_rest())
        new = [address for address in rows.good if address not in known]
        made_meanwhile = await asyncio.gather(*(self._make(rows, address, list_id) for address in new))
        if any(made_meanwhile):
            known |= await self._known([a for a, was in zip(new, made_meanwhile, strict=True) if was])
        await self._write(rows, known, list_id)
        return Submitted(rows.accept_the_rest())

    async def _list_is_there(self, list_id: int) -> None:
        reply = await self.call("GET", "/lists/{list_id}", ids={"list_id": list_id}, answers=(_BAD, _MISSING))
        if reply.status != _OK:
            fix = "it is made again in the next run"
            raise Gone(Problem(f"{self._name}: GET /lists/{{list_id}}", "the list is not in listmonk", fix))

    async def _known(self, addresses: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The subscribers of those addresses."""
        found: dict[str, dict[str, Any]] = {}
        for begin in range(0, len(addresses), _ASKED_AT_ONCE):
            asked = ", ".join(literal(one) for one in addresses[begin : begin + _ASKED_AT_ONCE])
            async for page in self.pages("/subscribers", {"query": f"subscribers.email IN ({asked})"}):
                found.update({one["email"].lower(): one for one in page})
        return found

    async def _make(self, rows: SortedRows, address: str, list_id: int) -> bool:
        """Make a subscriber; whether somebody made it meanwhile."""
        fields = dict(set_fields(rows.good[address]))
        body = {
            "email": address,
            "name": str(fields.pop(_NAME, address.partition("@")[0])),
            "status": "enabled",
            "lists": [list_id],
            "preconfirm_subscriptions": not self._config.double_opt_in,
            "attribs": fields,
        }
        reply = await self.call("POST", "/subscribers", body=body, answers=(_BAD, _CONFLICT))
        if reply.status == _BAD:
            words = words_in(reply)
            rows.refuse(address, "bad_address" if "email" in words.lower() else "refused_by_tool", masked(words))
        return reply.status == _CONFLICT

    async def _write(self, rows: SortedRows, known: Mapping[str, dict[str, Any]], list_id: int) -> None:
        for address, one in known.items():
            _refuse_who_withdrew(rows, address, one, list_id)
        left = {address: one for address, one in known.items() if address in rows.good}
        await asyncio.gather(*(self._update(rows, address, one) for address, one in left.items()))
        ids = [one["id"] for address, one in left.items() if address in rows.good and not _stands_on(one, list_id)]
        await self._change_lists("add", ids, list_id)

    async def _update(self, rows: SortedRows, address: str, one: Mapping[str, Any]) -> None:
        """Write the attributes of a known subscriber, if any differs; what we do not have stays as it is (L19)."""
        fields = dict(set_fields(rows.good[address]))
        name, has = str(fields.pop(_NAME, one["name"])), one.get("attribs") or {}
        if name == one["name"] and all(has.get(key) == value for key, value in fields.items()):
            return
        body = {
            "email": one["email"],
            "name": name,
            "lists": [each["id"] for each in one.get("lists") or []],
            "attribs": {**has, **fields},
        }
        reply = await self.call("PUT", "/subscribers/{id}", ids={"id": one["id"]}, body=body, answers=(_BAD,))
        if reply.status == _BAD:
            rows.refuse(address, "refused_by_tool", masked(words_in(reply)))

    async def _change_lists(self, action: str, ids: Sequence[int], list_id: int) -> None:
        """Put subscribers on the list or take them off it; no status is named, so that theirs stays (L14)."""
        if ids:
            body = {"ids": list(ids), "action": action, "target_list_ids": [list_id]}
            await self.call("PUT", "/subscribers/lists", body=body)

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """Nothing is handed in as a job. Raises ConfigError."""
        fix = "give the chunk to the tool that made the ticket"
        raise ConfigError(Problem(self._name, f"listmonk gives no tickets ({chunk.chunk_id}, {len(ticket)})", fix))

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """Who of them stands on the list and did not unsubscribe from it."""
        rows, list_id = sort_rows(contacts), int(where.ids["list"])
        known = await self._known(list(rows.good))
        return frozenset(
            rows.good[a].client_id for a, one in known.items() if a in rows.good and _stands_on(one, list_id)
        )

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Blocklisted subscribers, hard bounces, complaints, who left one of our lists. See `Tool.withdrawals`."""
        return listmonk_pulls.withdrawals(self, cursor)

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """Bounces and complaints. See `Tool.feedback`."""
        return listmonk_pulls.feedback(self, cursor)


def _subscription(one: Mapping[str, Any], list_id: int) -> str | None:
    return next((str(each["subscription_status"]) for each in one.get("lists") or [] if each["id"] == list_id), None)


def _stands_on(one: Mapping[str, Any], list_id: int) -> bool:
    return _subscription(one, list_id) not in {None, "unsubscribed"}


def _refuse_who_withdrew(rows: SortedRows, address: str, one: Mapping[str, Any], list_id: int) -> None:
    if one["status"] == "blocklisted" or _subscription(one, list_id) == "unsubscribed":
        rows.refuse(address, "unsubscribed_in_tool")
    elif one["status"] == "disabled":
        rows.refuse(address, "refused_by_tool", "the subscriber is disabled in listmonk")
