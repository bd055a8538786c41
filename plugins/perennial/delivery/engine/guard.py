"""What is asked once more just before each chunk: is it too late, and who has withdrawn since the list was made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from perennial.core import clock
from perennial.delivery.engine.rows import Piece
from perennial.ledger.consents import states_of
from perennial.ledger.suppressions import suppressed_among

_ALL = "all"
WITHDRAWN, SUPPRESSED = "consent_withdrawn", "suppressed"


@dataclass(frozen=True)
class Guard:
    """The last look before rows leave the house.

    `purpose` None: the card is gone, and a withdrawal for whatever purpose counts. `records` are the other records
    (client_ref) of joined clients. `not_after` (UTC, without a zone): past it nothing is pushed (L17). `quiet_from`:
    from then on somebody of the list has quiet hours.
    """

    engine: sa.Engine
    channel: str
    purpose: str | None
    as_of: date
    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    not_after: datetime | None = None
    quiet_from: datetime | None = None

    def stopped(self) -> str | None:
        """The code of what stands against sending anything now; removals go on."""
        now = clock.now().replace(tzinfo=None)
        if self.not_after is not None and now > self.not_after:
            return "too_late"
        return "quiet_hours" if self.quiet_from is not None and now >= self.quiet_from else None

    def gone(self, piece: Piece) -> dict[str, str]:
        """Who of the piece must not be added or changed any more, each with the code of the reason.

        What the ledger knows at this moment counts, whatever date it was learned on.
        """
        if piece.action == "remove":
            return {}
        ids = piece.rows.column("client_id").to_pylist()
        owners = {ref: one for one in ids for ref in (one, *self.records.get(one, ()))}
        found = {owners[ref]: WITHDRAWN for ref in self._withdrawn(owners)}
        found |= {owners[ref]: SUPPRESSED for ref in suppressed_among(self.engine, owners, self.channel)}
        return found

    def _withdrawn(self, refs: Collection[str]) -> list[str]:
        """Like `delivery.rows`: what she said of this channel and purpose, else what she said of all."""
        said: dict[str, list[tuple[bool, str]]] = {}
        for row in states_of(self.engine, date.max, refs):
            of_channel = row.channel in (self.channel, _ALL)
            if of_channel and (self.purpose is None or row.purpose in (self.purpose, _ALL)):
                exact = self.purpose is not None and (row.channel, row.purpose) == (self.channel, self.purpose)
                said.setdefault(row.client_ref, []).append((exact, row.status))
        return [ref for ref, words in said.items() if _is_withdrawn(words)]


def _is_withdrawn(words: Iterable[tuple[bool, str]]) -> bool:
    listed = list(words)
    exact = [status for is_exact, status in listed if is_exact]
    return "withdrawn" in (exact or [status for _, status in listed])


def records_of(aliases: pa.Table) -> dict[str, tuple[str, ...]]:
    """The other records of each joined client; `aliases` are (client_ref, client_id)."""
    found: dict[str, tuple[str, ...]] = {}
    rows: list[dict[str, Any]] = aliases.to_pylist()
    for row in rows:
        if row["client_ref"] != row["client_id"]:
            found[row["client_id"]] = (*found.get(row["client_id"], ()), row["client_ref"])
    return found
