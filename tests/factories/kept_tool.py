"""A mailing tool of our own that keeps what it got in a file, so that it outlives whoever pushes to it.

It can be made like any vendor: with or without jobs, with calls that may or may not be made twice, readable or not.
`faults` are read from the file beside it: by the number of the call, what goes wrong with it.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from perennial.contracts.destinations import MailchimpConfig
from perennial.core.errors import PermanentError, Problem, RetryableError
from perennial.delivery.records import ACTIONS, CheckStep, Description
from perennial.delivery.tools.records import (
    Chunk,
    ChunkRefused,
    Contact,
    FeedbackEvent,
    Limits,
    ListTarget,
    OutcomeUnknown,
    RemoteList,
    RowOutcome,
    Submitted,
    ToolCapabilities,
    Withdrawal,
)

_TABLES = """
create table if not exists calls (nth integer primary key, action text, rows integer, job text);
create table if not exists jobs (job text primary key, body text, looks integer, is_done integer);
create table if not exists members (list text, address text, fields text, primary key (list, address));
create table if not exists messages (list text, address text);
create table if not exists unsubscribed (address text primary key, at text);
create table if not exists faults (nth integer primary key, what text);
"""


@dataclass(frozen=True)
class Manner:
    """How the tool is made."""

    repeatable: bool = True
    readable: bool = True
    asynchronous: bool = False
    reaches_people: bool = False
    rows_per_call: int = 5
    connections: int = 2
    looks: int = 2  # a job is done when it was looked at so often
    bad: tuple[str, ...] = ()  # addresses that the tool refuses, one by one
    poison: tuple[str, ...] = ()  # addresses for which it refuses the whole chunk


@dataclass
class KeptTool:
    """One account; everything that it knows is in `path`."""

    path: Path
    manner: Manner = field(default_factory=Manner)
    name: str = "kept"

    def __post_init__(self) -> None:
        self.db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        self.db.executescript(_TABLES)

    @property
    def capabilities(self) -> ToolCapabilities:
        m = self.manner
        return ToolCapabilities(
            actions=ACTIONS,
            list_types=("send", "audience"),
            repeatable=m.repeatable,
            readable=m.readable,
            asynchronous=m.asynchronous,
            knows_withdrawals=True,
            reaches_people=m.reaches_people,
        )

    @property
    def limits(self) -> Limits:
        return Limits(self.manner.rows_per_call, calls_per_second=1_000, connections=self.manner.connections)

    def describe(self) -> Description:
        return Description(self.name, "mailchimp", ("email", "sms"), "a file")

    async def check(self) -> list[CheckStep]:
        return [CheckStep("reachable", "passed", "the file is there")]

    async def prepare(self, target: ListTarget) -> RemoteList:
        return RemoteList(target.title, {"list": target.title})

    async def submit(self, chunk: Chunk, where: RemoteList) -> Submitted:
        job = f"job-{chunk.chunk_id}"
        fault = self._begin(chunk, job)
        if fault == "die_before":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault in {"401", "503"}:
            kind = PermanentError if fault == "401" else RetryableError
            raise kind(Problem(self.name, f"answered {fault}", "try later"))
        if fault == "reset_before":
            raise OutcomeUnknown(Problem(self.name, "the connection broke", "run it again"))
        if any(one.address in self.manner.poison for one in chunk.contacts):
            raise ChunkRefused(Problem(self.name, "a row of the chunk is bad", "mend it"))
        if self.manner.asynchronous:
            self._keep_job(job, chunk, where)
            answer = Submitted(ticket={"job": job})
        else:
            answer = Submitted(self._take(chunk.action, chunk.contacts, where.ids["list"]))
        if fault == "die_after":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "reset_after":
            raise OutcomeUnknown(Problem(self.name, "the connection broke", "run it again"))
        return answer

    async def follow(self, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
        row = self.db.execute("select body, looks, is_done from jobs where job = ?", [ticket["job"]]).fetchone()
        if row is None:
            return Submitted(tuple(RowOutcome(one.client_id, "unknown") for one in chunk.contacts))
        body, looks = json.loads(row[0]), row[1] + 1
        self.db.execute("update jobs set looks = ? where job = ?", [looks, ticket["job"]])
        if looks < self.manner.looks:
            return None
        outcomes = self._outcomes(chunk.contacts)
        if not row[2]:
            with self.db:
                self.db.execute("begin immediate")
                self._apply(body["action"], [(a, f) for a, f in body["rows"]], body["list"])
                self.db.execute("update jobs set is_done = 1 where job = ?", [ticket["job"]])
        return Submitted(outcomes)

    async def read_back(self, where: RemoteList, contacts: Sequence[Contact]) -> frozenset[str]:
        there = self.members(where.ids["list"])
        return frozenset(one.client_id for one in contacts if one.address in there)

    async def withdrawals(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[Withdrawal], dict[str, Any]]]:
        rows = self.db.execute("select address, at from unsubscribed order by address").fetchall()
        yield [Withdrawal(one, "unsubscribe", datetime.fromisoformat(at)) for one, at in rows], dict(cursor)

    async def feedback(self, cursor: Mapping[str, Any]) -> AsyncIterator[tuple[list[FeedbackEvent], dict[str, Any]]]:
        yield [], dict(cursor)

    async def close(self) -> None:
        self.db.close()

    # What the tests ask it.

    def members(self, title: str) -> dict[str, dict[str, Any]]:
        """Address and fields of everybody on a list."""
        rows = self.db.execute("select address, fields from members where list = ?", [title]).fetchall()
        return {address: json.loads(fields) for address, fields in rows}

    def messages(self) -> Counter[tuple[str, str]]:
        """How often each (list, address) was taken by an `add`."""
        return Counter(self.db.execute("select list, address from messages").fetchall())

    def calls(self) -> list[tuple[str, int]]:
        """Action and rows of each call, in order."""
        return self.db.execute("select action, rows from calls order by nth").fetchall()

    def break_at(self, **faults: str) -> None:
        """`n3="reset_after"`: what goes wrong with the third call."""
        for name, what in faults.items():
            self.db.execute("insert or replace into faults values (?, ?)", [int(name[1:]), what])

    def unsubscribe(self, address: str, at: str = "2017-10-01T05:00:00+00:00") -> None:
        """Somebody leaves in the tool."""
        self.db.execute("insert or replace into unsubscribed values (?, ?)", [address, at])

    def _begin(self, chunk: Chunk, job: str) -> str | None:
        with self.db:
            self.db.execute("begin immediate")
            self.db.execute(
                "insert into calls (action, rows, job) values (?, ?, ?)", [chunk.action, len(chunk.contacts), job]
            )
            [nth] = self.db.execute("select max(nth) from calls").fetchone()
            row = self.db.execute("select what from faults where nth = ?", [nth]).fetchone()
        return row[0] if row else None

    def _keep_job(self, job: str, chunk: Chunk, where: RemoteList) -> None:
        good = [one for one in chunk.contacts if one.address not in self.manner.bad]
        body = {"action": chunk.action, "list": where.ids["list"], "rows": [(o.address, o.fields) for o in good]}
        text = json.dumps(body, default=str)
        statement = "insert or ignore into jobs values (?, ?, 0, 0)"
        if not self.manner.repeatable:
            statement = "insert into jobs values (? || '-' || hex(randomblob(4)), ?, 0, 0)"
        self.db.execute(statement, [job, text])

    def _take(self, action: str, contacts: Sequence[Contact], title: str) -> tuple[RowOutcome, ...]:
        good = [(one.address, one.fields) for one in contacts if one.address not in self.manner.bad]
        with self.db:
            self.db.execute("begin immediate")
            self._apply(action, good, title)
        return self._outcomes(contacts)

    def _apply(self, action: str, rows: Sequence[tuple[str, Any]], title: str) -> None:
        for address, fields in rows:
            if action == "remove":
                self.db.execute("delete from members where list = ? and address = ?", [title, address])
                continue
            known = self.db.execute("select 1 from members where list = ? and address = ?", [title, address]).fetchone()
            text = json.dumps({name: value for name, value in fields.items() if value is not None}, default=str)
            self.db.execute("insert or replace into members values (?, ?, ?)", [title, address, text])
            if action == "add" and not (known and self.manner.repeatable):
                self.db.execute("insert into messages values (?, ?)", [title, address])

    def _outcomes(self, contacts: Sequence[Contact]) -> tuple[RowOutcome, ...]:
        return tuple(
            RowOutcome(one.client_id, "rejected", "bad_address", "Invalid Resource; looks fake")
            if one.address in self.manner.bad
            else RowOutcome(one.client_id, "accepted")
            for one in contacts
        )


def config(**more: Any) -> MailchimpConfig:
    """The settings of a destination that stands for one of our kinds."""
    return MailchimpConfig(kind="mailchimp", channels=("email", "sms"), connection="kept", list_id="l1", **more)
