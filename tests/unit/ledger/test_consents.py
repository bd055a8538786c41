"""Consent as of a date: later wins over earlier, a withdrawal wins at the same moment, `all` names everything (L9)."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.core.settings import load_settings
from perennial.ledger import consents
from perennial.ledger.consents import append_events, consent_state
from perennial.ledger.engine import open_ledger

DAY = date(2017, 10, 2)
COLUMNS = ["client_ref", "channel", "purpose", "status", "changed_at", "known_on"]


@pytest.fixture
def engine(tmp_path):
    return open_ledger(load_settings({"PERENNIAL_HOME": str(tmp_path)}))


def _said(channel, purpose, status, hour, *, client="c1", known_on=DAY):
    return dict(zip(COLUMNS, [client, channel, purpose, status, datetime(2017, 10, 1, hour), known_on], strict=True))


def _append(engine, *events):
    with engine.begin() as connection:
        return append_events(connection, pa.Table.from_pylist(list(events)), source="crm")


def _state(engine, as_of=DAY):
    return {
        (row["client_ref"], row["channel"], row["purpose"]): row["status"]
        for row in consent_state(engine, as_of).to_pylist()
    }


def test_L9_the_latest_change_wins_and_a_withdrawal_at_the_same_moment(engine):
    _append(
        engine,
        _said("email", "marketing", "withdrawn", 1), _said("email", "marketing", "granted", 2),
        _said("sms", "marketing", "granted", 2), _said("sms", "marketing", "withdrawn", 1),
        _said("call", "marketing", "granted", 3), _said("call", "marketing", "withdrawn", 3),
    )  # fmt: skip
    assert {channel: status for (_c, channel, _p), status in _state(engine).items()} == {
        "email": "granted", "sms": "granted", "call": "withdrawn",
    }  # fmt: skip


def test_what_became_known_later_than_the_date_is_not_seen(engine):
    _append(engine, _said("email", "m", "granted", 1), _said("email", "m", "withdrawn", 2, known_on=date(2017, 10, 3)))
    assert set(_state(engine).values()) == {"granted"}
    assert set(_state(engine, date(2017, 10, 3)).values()) == {"withdrawn"}
    assert _state(engine, date(2017, 10, 1)) == {}


@pytest.mark.parametrize(
    ("channel", "purpose", "withdrawn"),
    [
        ("all", "all", {("email", "news"), ("sms", "news"), ("email", "offers")}),
        ("email", "all", {("email", "news"), ("email", "offers")}),
        ("all", "news", {("email", "news"), ("sms", "news")}),
    ],
)
def test_L9_a_withdrawal_for_all_withdraws_everything_that_it_names(engine, channel, purpose, withdrawn):
    granted = [("email", "news"), ("sms", "news"), ("email", "offers")]
    _append(engine, *(_said(c, p, "granted", 2) for c, p in granted), _said(channel, purpose, "withdrawn", 2))
    _append(engine, *(_said(c, p, "granted", 2, client="c2") for c, p in granted))
    state = _state(engine)
    assert {(c, p) for (client, c, p), s in state.items() if client == "c1" and s == "withdrawn"} == {
        *withdrawn,
        (channel, purpose),
    }
    assert {s for (client, _c, _p), s in state.items() if client == "c2"} == {"granted"}


def test_a_grant_after_a_withdrawal_for_all_counts_for_what_it_names(engine):
    _append(
        engine,
        _said("all", "all", "withdrawn", 1),
        _said("email", "news", "granted", 2),
        _said("sms", "news", "granted", 0),
    )
    state = _state(engine)
    assert (state["c1", "email", "news"], state["c1", "sms", "news"]) == ("granted", "withdrawn")


def test_L9_a_grant_for_all_does_not_undo_the_withdrawal_of_one_purpose(engine):
    _append(engine, _said("email", "news", "withdrawn", 1), _said("email", "all", "granted", 2))
    assert _state(engine) == {("c1", "email", "news"): "withdrawn", ("c1", "email", "all"): "granted"}


def test_the_same_event_appended_again_changes_nothing(engine):
    assert _append(engine, _said("email", "m", "granted", 1)) == 1
    before = consent_state(engine, DAY)
    _append(engine, _said("email", "m", "granted", 1))
    assert consent_state(engine, DAY) == before


def test_the_state_is_a_table_with_its_columns_also_without_events(engine):
    assert consent_state(engine, DAY).schema.names == ["client_ref", "channel", "purpose", "status"]


def test_L26_many_clients_are_read_in_chunks_and_none_is_cut_in_two(engine):
    events = [_said(c, "m", "granted", 1, client=f"c{i:05d}") for i in range(4000) for c in ("call", "email", "sms")]
    _append(engine, *events, *(_said("all", "all", "withdrawn", 2, client=f"c{i:05d}") for i in range(0, 4000, 2)))
    state = consent_state(engine, DAY)
    assert state.num_rows == 14_000
    withdrawn = [row["client_ref"] for row in state.to_pylist() if row["status"] == "withdrawn"]
    assert sorted(withdrawn) == sorted(f"c{i:05d}" for i in range(0, 4000, 2) for _ in range(4))


def test_the_state_of_one_client_is_that_of_all_narrowed_to_it(engine):
    for client in ("c1", "c2"):
        _append(engine, *(_said(channel, "m", "granted", 1, client=client) for channel in ("email", "sms")))
    _append(engine, _said("all", "m", "withdrawn", 2, client="c2"))
    one = consent_state(engine, DAY, client_ref="c2").to_pylist()
    assert one == [row for row in consent_state(engine, DAY).to_pylist() if row["client_ref"] == "c2"]
    assert {row["status"] for row in one} == {"withdrawn"}


def test_reading_the_state_keeps_no_writer_waiting(engine, monkeypatch):
    _append(engine, *(_said("email", "m", "granted", 1, client=f"c{i}") for i in range(30)))
    monkeypatch.setattr(consents, "_ROWS_READ", 10)
    read = consents._as_arrow

    def write_meanwhile(rows):
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":  # elsewhere a writer that waits fails after a minute
                connection.exec_driver_sql("pragma busy_timeout = 0")
            append_events(
                connection, pa.Table.from_pylist([_said("sms", "m", "granted", 1, client=rows[0][0])]), source="x"
            )
            connection.commit()
        return read(rows)

    monkeypatch.setattr(consents, "_as_arrow", write_meanwhile)
    assert set(consent_state(engine, DAY).column("channel").to_pylist()) == {"email"}  # a snapshot
    monkeypatch.undo()
    assert consent_state(engine, DAY).num_rows == 33


EVENT = st.tuples(
    st.sampled_from(["email", "sms", "all"]),
    st.sampled_from(["m", "all"]),
    st.sampled_from(["granted", "withdrawn"]),
    st.integers(0, 3),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENT, max_size=8), st.randoms(use_true_random=False))
def test_L2_the_order_of_arrival_does_not_matter(tmp_path_factory, said, chance):
    shuffled = chance.sample(said, len(said))
    states = []
    for order in (said, shuffled):
        engine = open_ledger(load_settings({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("order"))}))
        if order:
            _append(engine, *(_said(*event) for event in order))
        states.append(consent_state(engine, DAY))
    assert states[0] == states[1]
