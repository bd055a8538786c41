"""What every emulated mailing tool keeps: people by their address in lower case, and lists with their members."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from contract.emulators.server import Emulator

START = datetime(2026, 11, 1, 8, tzinfo=UTC)


@dataclass
class Person:
    """One contact. `withdrew` is None while the tool may mail it, else unsubscribe, complaint or hard_bounce."""

    id: int
    address: str
    fields: dict[str, Any] = field(default_factory=dict)
    withdrew: str | None = None
    changed: datetime = START
    statuses: list[str] = field(default_factory=list)  # each subscription status that a client of the API wrote


@dataclass
class MailingList:
    """One list, segment or tag."""

    id: int
    title: str
    members: dict[str, Any] = field(default_factory=dict)


class MailingEmulator(Emulator):
    """A mailing tool: its state is what the conformance suite looks at. The tool's clock moves by `tick`."""

    def __init__(self) -> None:
        super().__init__()
        self.people: dict[str, Person] = {}
        self.lists: dict[int, MailingList] = {}
        self.now = START
        self.page_limit: int | None = None  # a page size that is smaller than the asked one
        self.plan_is_full = False  # no further contact fits into the account
        self._last_id = 100

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def tick(self, **by: float) -> datetime:
        """Move the tool's clock (a second, unless told otherwise)."""
        self.now += timedelta(**(by or {"seconds": 1}))
        return self.now

    def own_headers(self) -> dict[str, str]:
        return {"Date": format_datetime(self.now, usegmt=True)}

    def give(
        self, address: str, *, withdrew: str | None = None, on: str | None = None, fields: dict[str, Any] | None = None
    ) -> Person:
        """A contact that the tool knows before we come: by hand, from a form, from another list of the account."""
        person = Person(self.next_id(), address, dict(fields or {}), withdrew, self.tick())
        self.people[address.lower()] = person
        if on is not None:
            self.list_called(on).members[address.lower()] = self.now
        return person

    def list_called(self, title: str) -> MailingList:
        """The list of that title; KeyError where there is none."""
        return next(one for one in self.lists.values() if one.title == title)

    def standing_on(self, title: str) -> set[str]:
        """The addresses (lower case) on the list of that title; nobody where there is none."""
        return {address for one in self.lists.values() if one.title == title for address in one.members}

    def delete_list(self, title: str) -> None:
        """Somebody deletes the list in the tool."""
        del self.lists[self.list_called(title).id]

    def revoke(self) -> None:
        """The key stops working. Subclasses compare with `self.key`."""
        self.key = "revoked-" + self.key

    key = "k" * 8  # what the connection holds
