"""A connector and its emulator, as the conformance suite takes them: a new tool adds one entry to `RIGS`.

Time is ours: the client's pauses are written down and take no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contract.emulators.people import MailingEmulator
from perennial.core.connections import Connection
from perennial.delivery.tools.http import Manners
from perennial.delivery.tools.protocol import Tool


class OurTime:
    """A clock that moves only when a client pauses."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.moment

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.moment += seconds
        await asyncio.sleep(0)

    def manners(self, **more: Any) -> Manners:
        return Manners(pause=self.pause, monotonic=self.monotonic, **more)


class OneConnection:
    """A store of connections that knows one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def get(self, connection_id: str) -> Connection:
        assert connection_id == self.connection.id
        return self.connection


@dataclass(frozen=True)
class Rig:
    """One connector on its emulator.

    `connect(emulator, manners)` makes the Tool. `text`, `number` are fields that the tool has or that prepare makes, by the
    tool's names; `unknown` is one that it can neither have nor make (None: every name can be made).
    `hand_in` are the routes that hand in rows, by action, where faults are planned.
    """

    emulator: Callable[[], MailingEmulator]
    connect: Callable[..., Tool]
    hand_in: dict[str, str]
    text: str = "FIRST_NAME"
    number: str = "POINTS"
    unknown: str | None = None
    asynchronous: bool = field(default=False)


RIGS: dict[str, Rig] = {}
