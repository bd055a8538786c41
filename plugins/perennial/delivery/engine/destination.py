"""A tool as a destination: what the day asks of one, done by a connector in chunks.

Unlike files, which are accepted whole, a tool answers row by row: each chunk is marked when it is answered, and the
receipt tells what the ledger has (`marked`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.destinations import ToolConfig
from perennial.core.settings import Settings
from perennial.delivery.engine.guard import Guard
from perennial.delivery.engine.in_flight import InFlight
from perennial.delivery.engine.pusher import Patience, Push, push_pieces
from perennial.delivery.engine.rows import pieces, row_map, sql_types
from perennial.delivery.engine.settling import look, settle
from perennial.delivery.records import (
    OUTCOMES,
    Capabilities,
    ChangeSet,
    CheckStep,
    Counts,
    Description,
    Feedback,
    ListKey,
    ListType,
    Receipt,
)
from perennial.delivery.tools.protocol import RemembersWithdrawals, Tool
from perennial.delivery.tools.records import ListTarget, RemoteList
from perennial.ledger import pushes
from perennial.ledger.deliveries import ListRecord
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback import cursor_of
from perennial.ledger.runs import last_run

_T = TypeVar("_T")


@dataclass(frozen=True)
class Terms:
    """What holds for the pushes of a list beside its rows: the run, the card's words, the last look, the waiting."""

    run_id: str
    guard: Guard
    purpose: str = "marketing"
    message: str = ""
    looks_only: bool = False  # what was interrupted is looked at, nothing is sent
    patience: Patience = field(default_factory=Patience)


class ToolDestination:
    """Hands lists to a tool. `make` gives a new connector: one for each push, so that nothing outlives its loop."""

    def __init__(self, name: str, kind: str, config: ToolConfig, make: Callable[[], Tool], settings: Settings) -> None:
        self._name = name
        self.kind = kind
        self.config = config
        self.make = make
        self.settings = settings
        self._terms: Terms | None = None

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
        yield from self.ask(lambda tool: tool.check())

    def ask(self, question: Callable[[Tool], Coroutine[Any, Any, _T]]) -> _T:
        """Run one question with a connector of its own, which is closed behind it."""

        async def run() -> _T:
            async with self._tool() as tool:
                return await question(tool)

        return asyncio.run(run())

    def under(self, terms: Terms) -> ToolDestination:
        """The destination for one list, under its terms."""
        made = ToolDestination(self._name, self.kind, self.config, self.make, self.settings)
        made._terms = terms
        return made

    def push(self, changes: ChangeSet, confirm: Callable[[], None]) -> Receipt:
        """Hand over one change set in chunks; gives what the ledger has of it.

        Raises the first error after all that was begun is marked; then the rows that have no outcome are pending.
        """
        terms = self._terms or self._default_terms(changes.key)
        engine = open_ledger(self.settings)
        pushes.begin_list(engine, _begun(changes, terms, self._name))
        stopped: str | None = None
        try:
            stopped = asyncio.run(self._push(engine, changes, terms, confirm))
        finally:
            record = pushes.end_list(engine, changes.list_id, stopped=stopped)
        return self._receipt(engine, record)

    async def _push(
        self, engine: sa.Engine, changes: ChangeSet, terms: Terms, confirm: Callable[[], None]
    ) -> str | None:
        mapped = row_map(self.config, changes.schema, changes.list_id)
        fields = sql_types(mapped, changes.schema)
        async with self._tool() as tool:
            self._tell(tool, engine)
            target = ListTarget(changes.key, changes.list_type, fields, terms.purpose, terms.message)
            confirm()
            place = await tool.prepare(target)
            push = Push(
                engine=engine,
                tool=tool,
                destination=self._name,
                key=changes.key,
                list_id=changes.list_id,
                place=place,
                guard=terms.guard,
                in_flight=InFlight(self.settings.home),
                confirm=confirm,
                patience=terms.patience,
            )
            await push_pieces(push, pieces(changes, tool.limits, mapped))
        return push.stopped

    def settle(
        self, key_of: Callable[[str], ListKey], list_name: str, confirm: Callable[[], None], terms: Terms
    ) -> int:
        """Bring what an interrupted push of the list left to its end; gives how many jobs are still at work."""
        engine = open_ledger(self.settings)
        records = pushes.open_chunks(engine, self._name, list_name)
        if not records:
            return 0
        try:
            return asyncio.run(self._settle(engine, records, key_of, confirm, terms))
        finally:
            for list_id in sorted({record.list_id for record in records}):
                pushes.end_list(engine, list_id)

    async def _settle(
        self,
        engine: sa.Engine,
        records: list[pushes.ChunkRecord],
        key_of: Callable[[str], ListKey],
        confirm: Callable[[], None],
        terms: Terms,
    ) -> int:
        left = 0
        async with self._tool() as tool:
            self._tell(tool, engine)
            for record in records:
                key = key_of(record.list_id)
                push = Push(
                    engine=engine,
                    tool=tool,
                    destination=self._name,
                    key=key,
                    list_id=record.list_id,
                    place=RemoteList(record.place["title"], dict(record.place["ids"])),
                    guard=terms.guard,
                    in_flight=InFlight(self.settings.home),
                    confirm=confirm,
                    patience=terms.patience,
                )
                is_current = key.as_of == terms.guard.as_of
                if terms.looks_only:
                    await look(push, record, is_current=is_current)
                else:
                    await settle(push, record, may_send=is_current)
                left += push.left
        return left

    def unfinished(self, marked: Collection[str]) -> Iterator[str]:  # noqa: ARG002 - the ledger knows by itself
        """The names of lists with a chunk whose outcome is not written."""
        records = pushes.open_chunks(open_ledger(self.settings), self._name)
        yield from sorted({record.list_name for record in records})

    def reconcile(self, list_name: str, marked: Collection[str]) -> Iterator[Receipt]:  # noqa: ARG002 - as above
        """Look at the open chunks of a list, and send nothing; gives the lists that they belong to."""
        engine = open_ledger(self.settings)
        newest = last_run(engine)
        records = pushes.open_chunks(engine, self._name, list_name)
        campaign, _, channel = list_name.partition("__")
        for list_id in sorted({record.list_id for record in records}):
            key = ListKey(campaign, channel, date.fromisoformat(list_id.partition("/")[0]))
            today = replace(key, as_of=newest.as_of if newest else key.as_of)
            terms = replace(self._default_terms(today), looks_only=True)
            self.settle(lambda _: key, list_name, lambda: None, terms)  # noqa: B023 - used up at once
            yield self._receipt(engine, pushes.read_list(engine, list_id))

    def pull_feedback(self, cursor: Mapping[str, Any]) -> Feedback:
        """Feedback of tools is pulled page by page (delivery.feedback), not through this."""
        return Feedback(iter(()), dict(cursor))

    def _default_terms(self, key: ListKey) -> Terms:
        return Terms("unknown", Guard(open_ledger(self.settings), key.channel, None, key.as_of))

    def _receipt(self, engine: sa.Engine, record: ListRecord) -> Receipt:
        names = ("size", "sent", "rejected", "skipped", "pending", "reasons")
        return Receipt(
            list_id=record.list_id,
            key=ListKey(record.campaign_id, record.channel, record.as_of),
            list_type=_list_type(record),
            destination=self._name,
            counts=Counts(**{name: getattr(record, name) for name in names}),
            path=None,
            outcomes=lambda: _outcomes(engine, record.list_id),
            marked=True,
        )

    def _tell(self, tool: Tool, engine: sa.Engine) -> None:
        """Who withdrew in the tool stands in our ledger, up to where it was read: only what is newer is read again."""
        if isinstance(tool, RemembersWithdrawals):
            tool.go_on_from(cursor_of(engine, self._name, "withdrawals"))

    @asynccontextmanager
    async def _tool(self) -> AsyncIterator[Tool]:
        tool = self.make()
        try:
            yield tool
        finally:
            await tool.close()


def _begun(changes: ChangeSet, terms: Terms, destination: str) -> ListRecord:
    """The list as it is before its first chunk: what is to be sent waits for its turn."""
    counts = changes.counts
    reasons = dict(counts.reasons)
    if counts.sent:
        reasons[pushes.WAITING] = reasons.get(pushes.WAITING, 0) + counts.sent
    return ListRecord(
        list_id=changes.list_id,
        run_id=terms.run_id,
        destination=destination,
        campaign_id=changes.key.campaign_id,
        channel=changes.key.channel,
        as_of=changes.key.as_of,
        list_type=changes.list_type,
        state="sending",
        size=counts.size,
        sent=0,
        rejected=counts.rejected,
        skipped=counts.skipped,
        pending=counts.pending + counts.sent,
        path=None,
        reasons=reasons,
        send_not_after=terms.guard.not_after,
    )


def _list_type(record: ListRecord) -> ListType:
    return "audience" if record.list_type == "audience" else "send"


def _outcomes(engine: sa.Engine, list_id: str) -> Iterator[pa.RecordBatch]:
    for rows in pushes.outcomes_of(engine, list_id):
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=OUTCOMES)
