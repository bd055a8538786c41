"""A connector on its emulator, as tests drive it: chunks followed to their end, pulls drained, one loop, our own time."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import date

from contract.emulators.rigs import OurTime, Rig
from contract.emulators.server import running
from perennial.delivery.records import ListKey
from perennial.delivery.tools.records import Chunk, Contact, ListTarget

DAY = date(2026, 11, 2)
KEY = ListKey("news", "email", DAY)


def contact(name, address=None, **fields):
    return Contact(name, f"key-{name}", address or f"{name}@example.com", fields)


class Bench:
    """One tool on its emulator, one event loop, our own time."""

    def __init__(self, rig, emulator, runner):
        self.rig, self.emulator, self.runner, self.time = rig, emulator, runner, OurTime()
        self.opened = []
        self.tool = self.another()
        self.calls = 0

    def another(self, **config):
        manners = config.pop("manners", None) or self.time.manners()
        self.opened.append(self.rig.connect(self.emulator, manners, **config))
        return self.opened[-1]

    async def close(self):
        for tool in self.opened:
            await tool.close()

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def target(self, *names, list_type="audience", key=KEY):
        types = {self.rig.text: "VARCHAR", self.rig.number: "BIGINT"}
        names = names or (self.rig.text, self.rig.number)
        return ListTarget(key, list_type, tuple((name, types.get(name, "VARCHAR")) for name in names))

    def prepared(self, **more):
        return self.run(self.tool.prepare(self.target(**more)))

    def push(self, action, contacts, where, tool=None):
        """The outcomes by client_id, a job followed to its end."""
        return self.run(self.pushed(action, contacts, where, tool or self.tool))

    async def pushed(self, action, contacts, where, tool):
        self.calls += 1
        chunk = Chunk(f"chunk-{self.calls}", action, tuple(contacts))
        submitted = await tool.submit(chunk, where)
        for _ in range(50):
            if submitted.ticket is None:
                break
            ticket = json.loads(json.dumps(submitted.ticket))
            submitted = await tool.follow(ticket, chunk) or submitted
        assert submitted.ticket is None
        told = {one.client_id: one for one in submitted.outcomes}
        assert len(told) == len(submitted.outcomes) == len(chunk.contacts)
        assert {one.client_id for one in contacts} == set(told)
        return told

    def accepted(self, action, contacts, where):
        return {name for name, one in self.push(action, contacts, where).items() if one.state == "accepted"}

    def rejected(self, action, contacts, where):
        return {name: one.code for name, one in self.push(action, contacts, where).items() if one.state == "rejected"}

    def drain(self, pull, cursor):
        """All that a pull gives, and its last cursor, which is JSON."""

        async def read():
            found, last = [], cursor
            async for page, after in pull(cursor):
                found += page
                last = json.loads(json.dumps(after))
            return found, last

        return self.run(read())

    def on(self, where):
        return self.emulator.standing_on(where.title)


@contextmanager
def opened(rig: Rig):
    """The bench of a rig; at the end nothing may have broken the specification."""
    with asyncio.Runner() as runner, running(rig.emulator()) as emulator:
        made = Bench(rig, emulator, runner)
        yield made
        runner.run(made.close())
