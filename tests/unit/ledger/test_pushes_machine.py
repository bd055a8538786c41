"""L12, L15: the ledger of pushes as a state machine: whatever happens in whatever order, the sum of every list is right,
what was accepted stays accepted, and nobody has two outcomes."""

from collections import Counter
from datetime import date

import pyarrow as pa
import sqlalchemy as sa
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perennial.delivery.records import OUTCOMES
from perennial.ledger import pushes
from perennial.ledger.deliveries import ListRecord
from perennial.ledger.tables import METADATA, deliveries

IDS = [f"c{n}" for n in range(8)]
LIST = "2017-10-01/news__email"
STATES = ("accepted", "rejected", "unknown", "not taken")


class Pushes(RuleBasedStateMachine):
    """`waiting`, `flying` and `outcome` are what must be so; the ledger is asked after each step."""

    @initialize()
    def begin(self):
        self.engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        METADATA.create_all(self.engine)
        self.waiting = set(IDS)
        self.flying = {}
        self.outcome = {}
        self.skipped = 0
        self.numbers = 0
        pushes.begin_list(self.engine, self._list())

    def _list(self):
        size = len(IDS)
        return ListRecord(
            LIST, "2017-10-01.r1", "kept", "news", "email", date(2017, 10, 1), "send", "sending",
            size, 0, 0, 0, size, None, {pushes.WAITING: size},
        )  # fmt: skip

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def send_a_chunk(self, data):
        rows = data.draw(st.lists(st.sampled_from(sorted(self.waiting)), min_size=1, max_size=4, unique=True))
        name = f"chunk{self.numbers}"
        self.numbers += 1
        values = {
            "destination": "kept",
            "list_id": LIST,
            "list_name": "news__email",
            "nth": self.numbers,
            "action": "add",
        }
        keys = [[one, f"hash-{one}"] for one in rows]
        chunk = pushes.new_chunk(
            chunk_id=name, size=len(rows), client_keys=keys, place={"title": "t", "ids": {}}, **values
        )
        assert pushes.begin_chunk(self.engine, chunk) == 1
        self.waiting -= set(rows)
        self.flying[name] = rows

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def the_tool_answers(self, data):
        name = data.draw(st.sampled_from(sorted(self.flying)))
        rows = self.flying.pop(name)
        said = {one: data.draw(st.sampled_from(STATES)) for one in rows}
        told = [one for one in rows if said[one] != "not taken"]
        batch = pa.RecordBatch.from_pydict(
            {
                "client_id": told,
                "action": ["add"] * len(told),
                "row_hash": [f"hash-{one}" for one in told],
                "state": [said[one] for one in told],
                "reason": ["it is bad" if said[one] == "rejected" else None for one in told],
            },
            schema=OUTCOMES,
        )
        codes = Counter("bad_address" for one in told if said[one] == "rejected")
        pushes.finish(self.engine, name, LIST, batch, codes)
        self.outcome |= {one: said[one] for one in told}
        self.waiting |= set(rows) - set(told)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def the_tool_says_no(self, data):
        name = data.draw(st.sampled_from(sorted(self.flying)))
        pushes.refused(self.engine, name)
        self.waiting |= set(self.flying.pop(name))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def it_becomes_a_job(self, data):
        pushes.submitted(self.engine, data.draw(st.sampled_from(sorted(self.flying))), {"job": "7"})

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def somebody_withdraws_before_her_turn(self, data):
        one = data.draw(st.sampled_from(sorted(self.waiting)))
        pushes.move(self.engine, LIST, pushes.Moved(skipped=1, reasons=(("consent_withdrawn", 1),)))
        self.waiting.discard(one)
        self.skipped += 1

    @rule(as_accepted=st.booleans())
    def a_person_settles(self, as_accepted):
        unknown = [one for one, state in self.outcome.items() if state == "unknown"]
        assert pushes.settle_unknown(self.engine, LIST, as_accepted=as_accepted) == len(unknown)
        for one in unknown:
            if as_accepted:
                self.outcome[one] = "accepted"
            else:
                del self.outcome[one]
                self.waiting.add(one)

    @rule()
    def the_push_ends_and_another_begins(self):
        pushes.end_list(self.engine, LIST)
        pushes.begin_list(self.engine, self._list()) if self._sent() else None

    def _sent(self):
        return sum(state == "accepted" for state in self.outcome.values())

    @invariant()
    def the_sum_is_right_and_every_row_has_its_outcome(self):
        record = pushes.read_list(self.engine, LIST)
        counted = Counter(self.outcome.values())
        assert (record.sent, record.rejected, record.skipped) == (
            counted["accepted"],
            counted["rejected"],
            self.skipped,
        )
        assert record.sent + record.rejected + record.skipped + record.pending == record.size == len(IDS)
        waits = len(self.waiting) + sum(map(len, self.flying.values()))
        assert sum(record.reasons.get(code, 0) for code in (pushes.WAITING, "in_progress")) == waits
        assert record.reasons.get("unknown_outcome", 0) == counted["unknown"]
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(deliveries.c.client_id, deliveries.c.state)).all()
        assert dict(rows) == self.outcome
        assert len(rows) == len(self.outcome)

    @invariant()
    def what_is_in_flight_is_known_by_its_rows(self):
        found = {one.chunk_id: [pair[0] for pair in one.client_keys] for one in pushes.open_chunks(self.engine, "kept")}
        assert found == self.flying

    def teardown(self):
        self.engine.dispose()


Pushes.TestCase.settings = hypothesis_settings(max_examples=40, stateful_step_count=15, deadline=None)
TestPushes = Pushes.TestCase
