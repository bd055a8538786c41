"""What the engine of delivery and a tool's connector hand each other. Contacts are personal data: in memory only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from perennial.core.errors import PermanentError, RetryableError
from perennial.delivery.records import Action, ListKey, ListType

Cell = str | int | float | bool | Decimal | date | datetime | None
RowState = Literal["accepted", "rejected", "unknown"]
FeedbackKind = Literal[
    "delivered", "open", "click", "soft_bounce", "hard_bounce", "unsubscribe", "complaint", "reply", "redemption"
]


@dataclass(frozen=True)
class Limits:
    """A vendor's limits as declared (L19), and the share of them that we use; the source stands in the connector."""

    rows_per_call: int
    calls_per_second: float
    connections: int
    bytes_per_call: int | None = None
    timeout_seconds: float = 60.0


@dataclass(frozen=True)
class ToolCapabilities:
    """What a tool can do.

    `repeatable`: the same chunk sent again has no second effect. `readable`: whether a contact stands on a list can be
    read back. `asynchronous`: what `submit` hands in is a job that is followed to its end. `feedback`: the kinds of
    events that can be pulled. `knows_withdrawals`: its suppressions can be read before a push. `reaches_people`: what
    is submitted goes out to people at once, so that the client's quiet hours hold it back; False where only a list is
    filled. `starts_sends`: the tool is a `StartsSends` too.
    """

    actions: tuple[Action, ...]
    list_types: tuple[ListType, ...]
    repeatable: bool
    readable: bool
    asynchronous: bool = False
    knows_withdrawals: bool = False
    reaches_people: bool = False
    starts_sends: bool = False
    feedback: tuple[FeedbackKind, ...] = ()


@dataclass(frozen=True)
class ListTarget:
    """A list as we call it, and the fields that its rows have, by the tool's names with their SQL types.

    `purpose` and `message` are the card's: what a recipient withdraws from, and which template says it.
    """

    key: ListKey
    list_type: ListType
    fields: tuple[tuple[str, str], ...] = ()
    purpose: str = "marketing"
    message: str = ""

    @property
    def title(self) -> str:
        """What the list is called in the tool: an audience by campaign and channel, a send by its date too."""
        return self.key.name if self.list_type == "audience" else f"{self.key.name}__{self.key.as_of.isoformat()}"


@dataclass(frozen=True)
class RemoteList:
    """Where a list lies in the tool: ids as the tool gives them (JSON values, no personal data)."""

    title: str
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contact:
    """One row of a chunk. `fields` by the tool's names; None means unset, and never erases (L19)."""

    client_id: str
    client_key: str
    address: str = field(repr=False)
    fields: dict[str, Cell] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Chunk:
    """Rows of one action that go in one call; `chunk_id` is the same for the same rows of the same list."""

    chunk_id: str
    action: Action
    contacts: tuple[Contact, ...] = field(repr=False)


@dataclass(frozen=True)
class RowOutcome:
    """What became of one row. A rejected row has a code of delivery.reasons and the tool's own words (masked)."""

    client_id: str
    state: RowState
    code: str | None = None
    words: str | None = None


@dataclass(frozen=True)
class Submitted:
    """The answer to a chunk: outcomes, or the ticket of a job that is followed (JSON values, no personal data)."""

    outcomes: tuple[RowOutcome, ...] = ()
    ticket: dict[str, str] | None = None


@dataclass(frozen=True)
class Withdrawal:
    """Somebody whom the tool no longer may address: unsubscribed, complained, bounced hard. `at` in UTC.

    `list_title` where somebody left that one list of ours, and may be addressed through others.
    """

    address: str = field(repr=False)
    kind: FeedbackKind
    at: datetime
    list_title: str | None = None


@dataclass(frozen=True)
class FeedbackEvent:
    """What a recipient did. `event_id` is the tool's own, or a digest of what makes the event; `at` in UTC."""

    event_id: str
    kind: FeedbackKind
    at: datetime
    address: str = field(repr=False)
    list_title: str | None = None
    message_id: str | None = None
    detail: str | None = None  # of a bounce its reason, of a click its link: no personal data
    is_machine: bool = False
    # Of an unsubscribe: from all that the tool sends, or from the one list alone (then its campaign's purpose counts).
    scope: Literal["all", "list"] = "all"


class ChunkRefused(PermanentError):  # noqa: N818
    """The tool refused a chunk as a whole for what is in it: the engine splits it until the bad row stands alone."""


class OutcomeUnknown(RetryableError):  # noqa: N818
    """The call broke after it may have been accepted: repeated where that is harmless, else read back, else a person.

    Never raised for an answer which tells whether it was: a 5xx after a call that must not be made twice does not tell.
    """
