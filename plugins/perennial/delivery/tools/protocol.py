"""The protocol of a tool: what one connector does for the engine, which chunks, marks, repeats and sums."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from perennial.delivery.records import CheckStep, Description
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


class Tool(Protocol):
    """One account of a mailing tool. The constructor opens nothing; `close` ends what the calls have opened.

    Errors of every call: PermanentError when the account as a whole says no (401, 403, a list that is gone, a plan that
    is full), RetryableError when trying later can help (429 beyond patience, 5xx, no connection), OutcomeUnknown when
    the call may have been accepted, ChunkRefused when the rows of a chunk are at fault. None of them says anything
    about a person, and none holds an address or a secret (L22).
    """

    @property
    def name(self) -> str:
        """The name in config/destinations.yml."""
        ...

    @property
    def capabilities(self) -> ToolCapabilities:
        """What it can do."""
        ...

    @property
    def limits(self) -> Limits:
        """The vendor's declared limits."""
        ...

    def describe(self) -> Description:
        """The account as people see it; holds no secret."""
        ...

    async def check(self) -> list[CheckStep]:
        """Named steps against the real tool (reachable, key, right to write, list, fields); never raises."""
        ...

    async def prepare(self, target: ListTarget) -> RemoteList:
        """Find or make the list (segment, tag) and the fields; the same target gives the same list again.

        Raises ConfigError for a field that the tool does not know and that cannot be made: none is dropped in silence.
        """
        ...

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        """Hand in one chunk within `limits`: one outcome per row, or a ticket.

        Never writes a subscription status for a contact that the tool knows already (L14).
        `remove` takes contacts off this list only; nobody is deleted, unsubscribed or archived (L13).
        """
        ...

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        """The outcomes of a job that was handed in, or None while it runs."""
        ...

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        """The client_ids of those contacts that stand on the list now."""
        ...

    def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """Pages of who withdrew since `cursor`, each with the cursor to go on from once the page is written down."""
        ...

    def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """Pages of what recipients did since `cursor`, each with the cursor to go on from."""
        ...

    async def close(self) -> None:
        """End the connections."""
        ...


class StartsSends(Protocol):
    """A tool that can begin sending to a list that was filled: a step of its own, never repeated by itself (L18)."""

    async def start_send(self, where: RemoteList, message: str) -> dict[str, str]:
        """Begin the send of the message (the tool's template or campaign) to the list; ids of what was begun.

        Raises like every call of a Tool; OutcomeUnknown when it may have begun.
        """
        ...


@runtime_checkable
class RemembersWithdrawals(Protocol):
    """A tool that would take whoever is handed in: its connector reads who withdrew there, and refuses their rows."""

    def go_on_from(self, cursor: Mapping[str, Any]) -> None:
        """Read no more than what came after `cursor` (of `withdrawals`): who withdrew before is not handed in."""
        ...
