"""What a tool was handed and has not answered for counts as a contact: in caps (L10), and as a step of a series (L12)."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pytest
import sqlalchemy as sa

from perennial.delivery.records import OUTCOMES
from perennial.ledger import contact_history, pushes
from perennial.ledger.deliveries import ListRecord
from perennial.ledger.metadata import METADATA

DAY = date(2017, 10, 1)
LIST = "2017-10-01/news__email"


@pytest.fixture
def engine():
    made = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    METADATA.create_all(made)
    pushes.begin_list(
        made,
        ListRecord(
            LIST, "2017-10-01.r1", "kept", "news", "email", DAY, "send", "sending", 3, 0, 0, 0, 3, None,
            {pushes.WAITING: 3},
        ),
    )  # fmt: skip
    return made


def handed_over(engine, name, *clients, action="add"):
    values = {"destination": "kept", "list_id": LIST, "list_name": "news__email", "nth": 1, "action": action}
    keys = [[one, "h"] for one in clients]
    chunk = pushes.new_chunk(chunk_id=name, size=len(keys), client_keys=keys, place={"title": "t", "ids": {}}, **values)
    pushes.begin_chunk(engine, chunk)


def test_L10_L12_a_chunk_that_is_not_answered_for_counts_until_it_is_and_only_for_later_days(engine):
    handed_over(engine, "one", "a", "b")
    handed_over(engine, "two", "c")
    handed_over(engine, "gone", "d", action="remove")
    pushes.submitted(engine, "two", {"job": "7"})
    later = DAY + timedelta(days=2)

    def counted(as_of=later, since=DAY):
        return sorted(contact_history.accepted_before(engine, as_of, since).column("client_id").to_pylist())

    assert counted() == ["a", "b", "c"]
    assert counted(as_of=DAY) == []
    assert counted(since=DAY + timedelta(days=1)) == []
    taken = contact_history.accepted_of(engine, ["news"], later)
    assert sorted(map(tuple, (row.values() for row in taken.to_pylist()))) == [("news", one, DAY) for one in "abc"]
    assert contact_history.accepted_of(engine, ["other"], later).num_rows == 0
    said = {"client_id": ["a", "b"], "action": ["add"] * 2, "row_hash": ["h"] * 2, "state": ["accepted", "rejected"]}
    batch = pa.RecordBatch.from_pydict({**said, "reason": [None, "bad"]}, schema=OUTCOMES)
    pushes.finish(engine, "one", LIST, batch, {"bad_address": 1})
    assert counted() == ["a", "c"]
