"""Who withdrew in a tool: told once by a cursor, and remembered by the connector, which hands none of them in (L9).

Addresses are kept as digests, in memory and in cursors alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any

from perennial.delivery.tools.asking import moment_of
from perennial.delivery.tools.records import FeedbackKind, Withdrawal
from perennial.delivery.tools.rows import SortedRows, normal_address

Pull = Callable[[Mapping[str, Any]], AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]]

_CODES: Mapping[FeedbackKind, str] = {
    "unsubscribe": "unsubscribed_in_tool",
    "complaint": "complained_in_tool",
    "hard_bounce": "bounced_in_tool",
}


def digest_of(address: str) -> str:
    """Ten hexadecimal digits of the address in its normal form."""
    return hashlib.sha256((normal_address(address) or address.strip().lower()).encode()).hexdigest()[:10]


class Withdrew:
    """Remembers what `pull` gives. `light` is a cheaper pull that is enough once `pull` has run to its end."""

    def __init__(self, pull: Pull, light: Pull | None = None) -> None:
        self._pull, self._light = pull, light or pull
        self._known: dict[str, str] = {}
        self._cursor: dict[str, Any] | None = None

    async def pages(
        self, cursor: Mapping[str, Any], pull: Pull | None = None
    ) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """The pages of the pull. Who withdrew before `cursor` is known to whoever gave it."""
        last = dict(cursor)
        async for page, after in (pull or self._pull)(cursor):
            for one in page:
                self._known[digest_of(one.address)] = _CODES.get(one.kind, "unsubscribed_in_tool")
            last = after
            yield page, after
        self._cursor = last

    def go_on_from(self, cursor: Mapping[str, Any]) -> None:
        """Who withdrew before `cursor` need not be read: whoever calls knows them, and hands none of them in."""
        if cursor:
            self._cursor = dict(cursor)

    async def refuse(self, rows: SortedRows) -> str:
        """Read what is new, and refuse the rows of those who withdrew; what `recall` needs to refuse the same again."""
        pull = self._pull if self._cursor is None else self._light
        async for _ in self.pages(self._cursor or {}, pull):
            pass
        found = {address: self._known.get(digest_of(address)) for address in rows.good}
        refused = {address: code for address, code in found.items() if code is not None}
        told = json.dumps({rows.good[address].client_id: code for address, code in refused.items()})
        for address, code in refused.items():
            rows.refuse(address, code)
        return told

    @staticmethod
    def recall(rows: SortedRows, refused: str) -> None:
        """Refuse the rows that were refused when the chunk was handed in."""
        codes = json.loads(refused)
        for address, contact in list(rows.good.items()):
            if contact.client_id in codes:
                rows.refuse(address, codes[contact.client_id])


class Since:
    """Where one list of withdrawals was read to: the newest moment, and whose entries of that moment were seen."""

    def __init__(self, cursor: Mapping[str, Any] | None) -> None:
        self.at = moment_of((cursor or {}).get("at"))
        self._before = frozenset((cursor or {}).get("seen", ()))
        self._newest, self._seen = self.at, set(self._before)

    def is_new(self, address: str, at: datetime) -> bool:
        """Whether the entry was not read before; it is from now on."""
        mark = digest_of(address)
        if self._newest is None or at > self._newest:
            self._newest, self._seen = at, {mark}
        elif at == self._newest:
            self._seen.add(mark)
        return self.at is None or at > self.at or (at == self.at and mark not in self._before)

    def cursor(self) -> dict[str, Any]:
        """To go on from, once all up to the newest moment was read."""
        return {"at": self._newest.isoformat(), "seen": sorted(self._seen)} if self._newest else {}
