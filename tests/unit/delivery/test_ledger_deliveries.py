from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
import sqlalchemy as sa

from perennial.core.settings import load_settings
from perennial.delivery.records import OUTCOMES
from perennial.ledger import deliveries as ledger
from perennial.ledger.deliveries import ListRecord, accepted, lists_of, mark
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import deliveries

SEND = ListRecord(
    "2017-10-01/news__email", "2017-10-01.r1", "outbox", "news", "email", date(2017, 10, 1), "send", "delivered",
    2, 2, 0, 0, 0, "outbox/2017-10-01/news__email",
)  # fmt: skip
AUDIENCE = replace(SEND, list_id="2017-10-01/vip__email", campaign_id="vip", list_type="audience", path="outbox/vip")


@pytest.fixture
def engine(tmp_path):
    return open_ledger(load_settings({"PERENNIAL_HOME": str(tmp_path)}))


def outcome(client_id, action="add", row_hash="h", state="accepted", reason=None):
    return dict(zip(OUTCOMES.names, (client_id, action, row_hash, state, reason), strict=True))


def batches(*rows):
    return pa.Table.from_pylist(list(rows), schema=OUTCOMES).to_batches(max_chunksize=2)


def in_ledger(engine):
    names = ("client_id", "action", "state", "list_id", "row_hash", "reason")
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(*(deliveries.c[name] for name in names)).order_by("client_id", "action")
        ).all()
    return [tuple(row) for row in rows]


def test_a_list_and_its_rows_are_read_back_as_they_were_written(engine, monkeypatch):
    monkeypatch.setattr(ledger, "CHUNK_ROWS", 2)
    rows = [outcome(f"c{n}", row_hash=f"h{n}") for n in range(5)]
    assert mark(engine, SEND, batches(*rows)) == 5
    assert lists_of(engine, "outbox") == [SEND]
    assert lists_of(engine, "another") == []
    assert lists_of(engine, "outbox", until=date(2017, 9, 30)) == []
    found = pa.Table.from_batches(accepted(engine, [SEND])).sort_by("client_id").to_pylist()
    assert found == [
        {"client_id": f"c{n}", "action": "add", "row_hash": f"h{n}", "as_of": SEND.as_of, "nth": 0} for n in range(5)
    ]
    assert list(accepted(engine, [])) == []


def test_L12_a_list_is_marked_whole_or_not_at_all(engine):
    def broken():
        yield from batches(outcome("c1"))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        mark(engine, SEND, broken())
    assert lists_of(engine, "outbox") == []
    assert in_ledger(engine) == []


def test_L12_what_a_send_had_accepted_stays_as_it_was(engine):
    mark(engine, SEND, batches(outcome("c1", row_hash="first")))
    second = replace(SEND, list_id=SEND.list_id + ".2")
    mark(engine, second, batches(outcome("c1", row_hash="second"), outcome("c1", state="rejected", reason="late")))
    assert in_ledger(engine) == [("c1", "add", "accepted", SEND.list_id, "first", None)]


def test_L12_a_rejected_row_becomes_accepted_when_it_is_sent_later(engine):
    mark(engine, SEND, batches(outcome("c1", state="rejected", reason="no address"), outcome("c2")))
    second = replace(SEND, list_id=SEND.list_id + ".2")
    mark(engine, second, batches(outcome("c1", row_hash="new")))
    assert in_ledger(engine) == [
        ("c1", "add", "accepted", second.list_id, "new", None),
        ("c2", "add", "accepted", SEND.list_id, "h", None),
    ]


def test_an_audience_keeps_the_last_action_of_a_kind_on_a_date(engine):
    mark(engine, AUDIENCE, batches(outcome("c1", row_hash="a")))
    second, third = (replace(AUDIENCE, list_id=f"{AUDIENCE.list_id}.{n}") for n in (2, 3))
    mark(engine, second, batches(outcome("c1", "remove", "a")))
    mark(engine, third, batches(outcome("c1", row_hash="b"), outcome("c1", state="rejected", reason="never over it")))
    found = pa.Table.from_batches(accepted(engine, [AUDIENCE, second, third])).sort_by("nth").to_pylist()
    assert [(row["action"], row["row_hash"], row["nth"]) for row in found] == [("remove", "a", 1), ("add", "b", 2)]


def test_a_list_that_could_not_be_sent_is_replaced_by_the_one_that_was(engine):
    nothing = replace(SEND, state="rejected", sent=0, rejected=2, path=None, reasons={"no_email": 2})
    mark(engine, nothing, batches(outcome("c1", state="rejected", reason="r")))
    assert lists_of(engine, "outbox") == [nothing]
    mark(engine, SEND, batches(outcome("c1"), outcome("c2")))
    assert lists_of(engine, "outbox") == [SEND]
    mark(engine, nothing, batches())
    assert lists_of(engine, "outbox") == [SEND]


def test_L15_the_ledger_refuses_a_list_whose_sum_is_wrong(engine):
    with pytest.raises(sa.exc.IntegrityError, match="the_sum_is_right"):
        mark(engine, replace(SEND, pending=1), batches(outcome("c1")))
    assert in_ledger(engine) == []
