"""What the parts of delivery hand each other: list headers, change sets, receipts, capabilities, named check steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

Action = Literal["add", "update", "remove"]
ACTIONS: tuple[Action, ...] = ("add", "update", "remove")
ListType = Literal["send", "audience"]
StepState = Literal["passed", "failed", "skipped"]

# The columns that every change set begins and ends with; what lies between is the list's own.
FIRST_COLUMNS = ("client_id", "action")
HASH_COLUMN = "row_hash"

# What a receipt tells of every row: an accepted row has no reason.
OUTCOMES = pa.schema(
    [
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("row_hash", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),  # accepted | rejected | unknown
        pa.field("reason", pa.string()),
    ]
)

Batches = Callable[[], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class CheckStep:
    """One named step of a check: what was looked at, whether it holds, and how to mend it when it does not."""

    name: str
    state: StepState
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What a destination can do, and its declared limits (L19).

    `rows_per_push` None means that one push takes any number of rows. `repeatable`: a push of the same list id is
    refused or has no effect the second time; `readable`: what arrived can be read back after a crash (L12).
    """

    actions: tuple[Action, ...]
    list_types: tuple[ListType, ...]
    repeatable: bool
    readable: bool
    feedback: bool
    rows_per_push: int | None = None


@dataclass(frozen=True)
class Description:
    """A destination as people see it: its name in config/destinations.yml, its kind, and where it writes."""

    name: str
    kind: str
    channels: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class ListKey:
    """Which list: campaign, channel and logical date. `name` is how files and locks call it, without the date."""

    campaign_id: str
    channel: str
    as_of: date

    @property
    def name(self) -> str:
        """`campaign__channel`."""
        return f"{self.campaign_id}__{self.channel}"

    def list_id(self, part: int) -> str:
        """`as_of/campaign__channel`, from the second part of the same day on with `.part` behind it."""
        suffix = f".{part}" if part > 1 else ""
        return f"{self.as_of.isoformat()}/{self.name}{suffix}"

    def part_of(self, list_id: str) -> int:
        """The part that a list id of this campaign and channel (of whatever day) names."""
        _, _, tail = list_id.partition("/")
        return int(tail[len(self.name) + 1 :] or 1)


@dataclass(frozen=True)
class Counts:
    """The sum of L15: sent + rejected + skipped + pending = size, with the rows of each reason."""

    size: int
    sent: int
    rejected: int
    skipped: int
    pending: int
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether the parts add up to the size."""
        return self.sent + self.rejected + self.skipped + self.pending == self.size


@dataclass(frozen=True)
class ChangeSet:
    """What a destination is asked to do with one list.

    `batches()` streams the rows in their final order with `schema`: client_id, action, the list's own columns, and
    row_hash last. It may be called again and then gives the same rows.
    """

    key: ListKey
    part: int
    list_type: ListType
    destination: str
    counts: Counts
    actions: dict[str, int]
    schema: pa.Schema
    batches: Batches

    @property
    def list_id(self) -> str:
        """The id of the list that this change set makes."""
        return self.key.list_id(self.part)


@dataclass(frozen=True)
class Receipt:
    """What a destination has accepted: read from the destination itself, so that after a crash it can be asked again.

    `outcomes()` streams `OUTCOMES`, one row per row of the change set; `path` is where the list lies if it is a file.
    `marked`: the destination wrote each row's outcome into the ledger itself, as it came.
    """

    list_id: str
    key: ListKey
    list_type: ListType
    destination: str
    counts: Counts
    path: Path | None
    outcomes: Batches
    refused: int = 0  # rows of the change set that the destination itself refused: rejected in counts and outcomes
    marked: bool = False


@dataclass(frozen=True)
class Feedback:
    """Batches of what the recipients did since a cursor, and the cursor to go on from."""

    batches: Iterator[pa.RecordBatch]
    cursor: dict[str, Any]
