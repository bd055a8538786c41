"""Asking each tool what came back: who withdrew there, and what recipients did, page by page.

A page is in the ledger, with what follows from it and the cursor behind it, before the next is asked for. A pull that
is killed goes on behind the last page; what is asked for twice is known by its id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from perennial.contracts.destinations import is_tool
from perennial.core.connections import ConnectionStore
from perennial.core.errors import PerennialError, RetryableError
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.delivery.destinations import load_destinations, open_tool
from perennial.delivery.tools.protocol import Tool
from perennial.delivery.tools.records import FeedbackEvent, Withdrawal
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback import cursor_of, save_cursor
from perennial.ledger.locks import Lock, hold
from perennial.pipeline.feedback import Intake, Taken

Stream = Literal["withdrawals", "feedback"]
STREAMS: tuple[Stream, ...] = ("withdrawals", "feedback")  # who must not be written to comes first

_TRIES, _TRY_SECONDS = 120, 0.5  # of who waits for another pull: a minute

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class PullReport:
    """What one tool told. `problem` is None when it was read to its end; what was read before it stands."""

    destination: str
    pages: int = 0
    taken: Taken = field(default_factory=Taken)
    problem: PerennialError | None = None


def pullable(settings: Settings) -> list[str]:
    """The destinations that are asked, in the order of destinations.yml."""
    return [name for name, config in load_destinations(settings).destinations.items() if is_tool(config)]


def pull(
    settings: Settings,
    destination: str | None = None,
    *,
    connections: ConnectionStore | None = None,
    streams: Sequence[Stream] = STREAMS,
) -> list[PullReport]:
    """Ask all tools, or one, for what is new since the last time; one report for each, an error of one stops only it.

    Then events of unknown addresses are given their clients, where they have become known. Raises ConfigError for an
    unknown destination.
    """
    intake = Intake(settings)
    if destination is not None:
        intake.destination(destination)
    names = [name for name in pullable(settings) if destination in (None, name)]
    reports = [_pull_one(settings, intake, name, connections, streams) for name in names]
    named = intake.settle()
    if named:
        log.info("%s events of addresses that nobody had were given to their clients", f"{named:,}")
    return reports


def pull_withdrawals(settings: Settings, destination: str, *, connections: ConnectionStore | None = None) -> PullReport:
    """Who withdrew in the tool since it was last asked: read just before each push (L9).

    Another pull that is at work is waited for, for a minute.
    """
    return _pull_one(settings, Intake(settings), destination, connections, ("withdrawals",), tries=_TRIES)


def _pull_one(
    settings: Settings,
    intake: Intake,
    name: str,
    connections: ConnectionStore | None,
    streams: Sequence[Stream],
    *,
    tries: int = 1,
) -> PullReport:
    engine = open_ledger(settings)
    pulling = _Pulling(intake, name)
    try:
        tool = open_tool(settings, name, connections=connections)
        with _alone(engine, name, tries) as lock:
            asyncio.run(pulling.all_of(tool, streams, lock))
    except PerennialError as error:
        if pulling.stream is not None:  # not when another pull is at it
            save_cursor(engine, name, pulling.stream, cursor_of(engine, name, pulling.stream), error=str(error))
        return PullReport(name, pulling.pages, pulling.taken, error)
    return PullReport(name, pulling.pages, pulling.taken)


@contextmanager
def _alone(engine: sa.Engine, name: str, tries: int) -> Iterator[Lock]:
    """One pull of a tool at a time (L16). Raises RetryableError when another one has not ended after so many tries."""
    with ExitStack() as stack:
        while True:
            tries -= 1
            try:
                lock = stack.enter_context(hold(engine, f"feedback/{name}"))
                break
            except RetryableError:
                if tries <= 0:
                    raise
                time.sleep(_TRY_SECONDS)
        yield lock


@dataclass
class _Pulling:
    """One pull of one tool."""

    intake: Intake
    name: str
    stream: Stream | None = None
    pages: int = 0
    taken: Taken = field(default_factory=Taken)

    async def all_of(self, tool: Tool, streams: Sequence[Stream], lock: Lock) -> None:
        try:
            for stream in streams:
                if stream == "withdrawals" and not tool.capabilities.knows_withdrawals:
                    continue
                if stream == "feedback" and not tool.capabilities.feedback:
                    continue
                self.stream = stream
                await self._one(tool, stream, lock)
        finally:
            await tool.close()

    async def _one(self, tool: Tool, stream: Stream, lock: Lock) -> None:
        cursor = cursor_of(self.intake.engine, self.name, stream)
        async for events, after in _pages(tool, stream, cursor):
            lock.confirm()
            self.taken += self.intake.take_in(self.name, events, came_by="pull", cursor=(stream, after))
            self.pages += 1
            cursor = after
        save_cursor(self.intake.engine, self.name, stream, cursor)


async def _pages(
    tool: Tool, stream: Stream, cursor: dict[str, Any]
) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
    if stream == "feedback":
        async for page, after in tool.feedback(cursor):
            yield page, after
        return
    async for withdrawn, after in tool.withdrawals(cursor):
        yield [_event(one) for one in withdrawn], after


def _event(one: Withdrawal) -> FeedbackEvent:
    """A withdrawal has no id of the tool's: who, what and when make it the same when it is read again."""
    what = ["withdrawal", one.kind, one.at.isoformat(), one.address.lower()]
    made = digest_of([*what, one.list_title] if one.list_title else what, length=32)
    return FeedbackEvent(
        event_id=made,
        kind=one.kind,
        at=one.at,
        address=one.address,
        list_title=one.list_title,
        scope="list" if one.list_title else "all",
    )


def problems_of(reports: Sequence[PullReport]) -> PerennialError | None:
    """The problems of all reports as one error: RetryableError when one may pass by itself."""
    errors = [report.problem for report in reports if report.problem is not None]
    if not errors:
        return None
    problems = [problem for error in errors for problem in error.problems]
    return (
        RetryableError(problems) if any(isinstance(one, RetryableError) for one in errors) else PerennialError(problems)
    )
