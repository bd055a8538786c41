"""A tool on this machine for measuring: it posts each chunk as JSON through our calls over HTTP, and believes a 200."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from factories.exports import AS_OF
from perennial.delivery.records import ACTIONS, ChangeSet, CheckStep, Counts, Description, ListKey
from perennial.delivery.tools.http import Api
from perennial.delivery.tools.records import (
    Chunk,
    Contact,
    Limits,
    ListTarget,
    RemoteList,
    RowOutcome,
    Submitted,
    ToolCapabilities,
)

_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in ("client_id", "action", "client_key", "email", "first_name", "offer_code", "row_hash")
    ]
)
_BATCH_ROWS = 50_000


class BenchTool:
    """The server of tests/bench/bench_push.py as a tool."""

    name = "bench"
    capabilities = ToolCapabilities(ACTIONS, ("send", "audience"), repeatable=True, readable=False)

    def __init__(self, port: int, rows_per_call: int, connections: int) -> None:
        self.limits = Limits(rows_per_call, calls_per_second=1e9, connections=connections)
        self._api = Api("bench", f"http://127.0.0.1:{port}", headers={}, limits=self.limits)

    def describe(self) -> Description:
        return Description("bench", "mailchimp", ("email",), "this machine")

    async def check(self) -> list[CheckStep]:
        return []

    async def prepare(self, target: ListTarget) -> RemoteList:
        return RemoteList(target.title)

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        people = [{"email": one.address, "fields": one.fields} for one in chunk.contacts]
        await self._api.call("POST", "/contacts", body=people, effect="repeatable")
        return Submitted(tuple(RowOutcome(one.client_id, "accepted") for one in chunk.contacts))

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        return None

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        return frozenset()

    async def close(self) -> None:
        await self._api.close()


def changes(rows: int) -> ChangeSet:
    """A list of so many new rows, made batch by batch."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, _BATCH_ROWS):
            numbers = range(start, min(start + _BATCH_ROWS, rows))
            size = len(numbers)
            columns = [
                [f"c{n:015x}" for n in numbers],
                ["add"] * size,
                [str(n) for n in numbers],
                [f"c{n:015x}@example.com" for n in numbers],
                [f"First {n}" for n in numbers],
                ["TEN"] * size,
                [f"{n:032x}" for n in numbers],
            ]
            yield pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=_SCHEMA)

    key = ListKey("news", "email", AS_OF)
    actions = {"add": rows, "update": 0, "remove": 0}
    return ChangeSet(key, 1, "send", "bench", Counts(rows, rows, 0, 0, 0), actions, _SCHEMA, batches)
