"""A tool as a destination: what the day asks of one, done by a connector in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perennial.contracts.destinations import ToolConfig
from perennial.core.settings import Settings
from perennial.delivery.records import Capabilities, CheckStep, Description, Feedback
from perennial.delivery.tools.protocol import Tool


class ToolDestination:
    """Hands lists to a tool. `make` gives a new connector: one for each push, so that nothing outlives its loop."""

    def __init__(self, name: str, kind: str, config: ToolConfig, make: Callable[[], Tool], settings: Settings) -> None:
        self._name = name
        self.kind = kind
        self.config = config
        self.make = make
        self.settings = settings

    @property
    def name(self) -> str:
        """The name in config/destinations.yml."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What the tool can do."""
        tool = self.make()
        can = tool.capabilities
        return Capabilities(
            actions=can.actions,
            list_types=can.list_types,
            repeatable=can.repeatable,
            readable=can.readable,
            feedback=bool(can.feedback),
            rows_per_push=tool.limits.rows_per_call,
        )

    def describe(self) -> Description:
        """The account, as the connector tells of it."""
        return self.make().describe()

    def check(self) -> Iterator[CheckStep]:
        """The connector's named steps."""
        yield from asyncio.run(self._check())

    async def _check(self) -> list[CheckStep]:
        tool = self.make()
        try:
            return await tool.check()
        finally:
            await tool.close()

    def pull_feedback(self, cursor: Mapping[str, Any]) -> Feedback:
        """Feedback of tools is pulled page by page (pipeline of feedback), not through this."""
        return Feedback(iter(()), dict(cursor))
