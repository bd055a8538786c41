"""Lists through the engine to the connectors of mailing tools, on emulators held to the vendors' specifications."""

from dataclasses import replace
from importlib import import_module

import pyarrow as pa
import pytest

from contract.emulators.rigs import RIGS, OurTime
from contract.emulators.server import Breaks, Resets, TooMany, running
from factories.change_sets import change_set, nothing_to_confirm
from factories.exports import AS_OF, settings_with
from perennial.core.errors import PermanentError
from perennial.delivery.engine.destination import ToolDestination
from perennial.delivery.engine.pusher import Patience
from perennial.delivery.records import OUTCOMES

pytestmark = pytest.mark.integration

for _module in ("mailchimp", "brevo", "listmonk"):
    import_module(f"contract.emulators.{_module}")


class Pushing:
    """The engine, a tool on its emulator, a ledger of its own."""

    def __init__(self, rig, emulator, home):
        self.rig, self.emulator, self.time = rig, emulator, OurTime()
        made = self.connect()
        self.to = ToolDestination("tool", made.describe().kind, made._config, self.connect, settings_with(home))

    def connect(self):
        return self.rig.connect(self.emulator, self.time.manners(), fields={"first_name": self.rig.text})

    def push(self, clients, **more):
        changes = change_set(clients, to="tool", **more)
        terms = replace(self.to._default_terms(changes.key), patience=Patience(pause=self.time.pause))
        receipt = self.to.under(terms).push(changes, nothing_to_confirm)
        assert receipt.counts.is_right
        table = pa.Table.from_batches(receipt.outcomes(), schema=OUTCOMES)
        return {row["client_id"]: (row["state"], row["reason"]) for row in table.to_pylist()}, receipt.counts


@pytest.fixture(params=["mailchimp", "mailchimp, batches", "brevo", "listmonk"])
def pushing(request, tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", f"{AS_OF}T12:00:00+00:00")
    rig = RIGS[request.param]
    with running(rig.emulator()) as emulator:
        yield Pushing(rig, emulator, tmp_path)


def test_L15_a_list_goes_over_in_chunks_and_every_row_is_told(pushing):
    pushing.emulator.give("c3@example.com", withdrew="unsubscribe")
    told, counts = pushing.push([f"c{number}" for number in range(1, 9)])
    assert (counts.sent, counts.rejected, counts.pending) == (7, 1, 0)
    assert told["c3"][0] == "rejected"
    assert {state for name, (state, _) in told.items() if name != "c3"} == {"accepted"}
    title = next(one.title for one in pushing.emulator.lists.values())
    assert pushing.emulator.standing_on(title) == {f"c{n}@example.com" for n in range(1, 9) if n != 3}


def test_L12_troubles_on_the_way_lose_nobody_and_add_nobody_twice(pushing):
    route = pushing.rig.hand_in["add"]
    pushing.emulator.plan(route, TooMany(5))
    pushing.emulator.plan(route, Resets(after=True))
    pushing.emulator.plan(route, Breaks(500, rows=1))
    _, counts = pushing.push([f"c{number}" for number in range(1, 6)])
    assert (counts.sent, counts.rejected, counts.pending) == (5, 0, 0)
    assert len(pushing.emulator.people) == 5


def test_credentials_that_are_revoked_leave_every_row_pending_and_nobody_marked(pushing):
    pushing.emulator.plan(pushing.rig.hand_in["add"], Breaks(503))
    pushing.emulator.revoke()
    with pytest.raises(PermanentError, match=r"signed in|allowed"):
        pushing.push(["c1", "c2"])
    assert pushing.emulator.people == {}
