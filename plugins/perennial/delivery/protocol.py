"""The protocol of a destination: one file each, all through the same conformance suite (tests/contract)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from perennial.delivery.records import Capabilities, ChangeSet, CheckStep, Description, Feedback, Receipt


class Destination(Protocol):
    """Where lists go. Its constructor opens nothing: what may fail, fails in `check`, `push` or `reconcile`."""

    @property
    def name(self) -> str:
        """The name in config/destinations.yml."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, and its limits."""
        ...

    def describe(self) -> Description:
        """The destination as people see it; holds no secret."""
        ...

    def check(self) -> Iterator[CheckStep]:
        """Named steps, each passed, failed or skipped with a message; never raises for what it finds."""
        ...

    def push(self, changes: ChangeSet, confirm: Callable[[], None]) -> Receipt:
        """Hand over one change set, and tell the outcome of every row.

        `confirm` is called last before anything becomes visible to others: it raises when the lock of the list was
        lost (L16). Raises RetryableError or PermanentError when the destination as a whole said no; then nothing of
        the change set was accepted.
        """
        ...

    def unfinished(self, marked: Collection[str]) -> Iterator[str]:
        """The names (`campaign__channel`) of lists that need `reconcile`; `marked` are the list ids in the ledger."""
        ...

    def reconcile(self, list_name: str, marked: Collection[str]) -> Iterator[Receipt]:
        """Clean up after an interrupted push of one list, and give what was accepted of it but is not marked (L12).

        Called under the lock of the list. Raises ContractViolation when what was accepted can no longer be told.
        """
        ...

    def pull_feedback(self, cursor: Mapping[str, Any]) -> Feedback:
        """What came back since `cursor`; nothing where `capabilities.feedback` is False."""
        ...
