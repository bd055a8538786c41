"""What tools have in common that only take: no job to follow, nothing to read back, nothing that comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn

from perennial.core.errors import ContractViolation, Problem
from perennial.delivery.tools.records import Chunk, Contact, FeedbackEvent, RemoteList, Submitted, Withdrawal


class OneWay:
    """The calls of `Tool` that such a tool does not have; its capabilities say so, and nobody makes them."""

    _name: str

    @property
    def name(self) -> str:
        """The name in config/destinations.yml."""
        return self._name

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:  # noqa: ARG002
        """There are no jobs."""
        self._no("has no jobs to follow")

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:  # noqa: ARG002
        """It cannot be asked."""
        self._no("cannot be asked what it took")

    async def withdrawals(
        self,
        cursor: Mapping[str, Any],  # noqa: ARG002
    ) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        """It knows of none."""
        pages: tuple[tuple[list[Withdrawal], dict[str, Any]], ...] = ()
        for page in pages:
            yield page

    async def feedback(
        self,
        cursor: Mapping[str, Any],  # noqa: ARG002
    ) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        """Nothing comes back."""
        pages: tuple[tuple[list[FeedbackEvent], dict[str, Any]], ...] = ()
        for page in pages:
            yield page

    def _no(self, what: str) -> NoReturn:
        raise ContractViolation(Problem(f"destination {self._name}", f"it {what}", "tell us: it should not be asked"))
