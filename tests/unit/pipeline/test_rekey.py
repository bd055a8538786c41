"""What the ledger wrote under earlier client ids, by the ids of today: consents, arms, contacts, lists."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from factories import exports
from factories.planned import decide_day
from factories.published import card, client, facts, granted, outcomes
from perennial.contracts.identity import MEMBERS
from perennial.delivery.consent import ConsentNow
from perennial.delivery.rows import CONSENT
from perennial.ledger import assignments
from perennial.ledger.consents import append_events, client_consents, consent_state
from perennial.ledger.engine import open_ledger
from perennial.pipeline.rekey import arms, rekeyed

DAY = date(2017, 10, 1)
ALIASES = pa.Table.from_pylist([{"client_ref": "b", "client_id": "a"}, {"client_ref": "c", "client_id": "a"}], MEMBERS)
NOBODY = MEMBERS.empty_table()


@pytest.fixture
def engine(tmp_path):
    return open_ledger(exports.settings_with(tmp_path))


def say(engine, *said):
    events = [
        {
            "client_ref": who, "channel": channel, "purpose": purpose, "status": status,
            "changed_at": datetime(2017, month, 1), "known_on": date(2017, month, 1),
        }
        for who, channel, purpose, status, month in said
    ]  # fmt: skip
    with engine.begin() as connection:
        append_events(connection, pa.Table.from_pylist(events), source="crm")


def states(table):
    return {(row["client_id"], row["channel"]): row["status"] for row in table.to_pylist()}


def test_L9_of_a_clients_records_the_strictest_counts_and_a_record_takes_back_its_own_word_only(engine):
    say(
        engine,
        ("a", "email", "marketing", "granted", 3), ("b", "email", "marketing", "withdrawn", 5),  # withdrawn later
        ("a", "sms", "marketing", "granted", 3), ("c", "sms", "marketing", "withdrawn", 3),  # at the same moment
        ("b", "call", "marketing", "withdrawn", 3), ("a", "call", "marketing", "granted", 6),  # of another record
        ("b", "post", "marketing", "withdrawn", 3), ("b", "post", "marketing", "granted", 6),  # of the same record
        ("z", "email", "marketing", "granted", 1),
    )  # fmt: skip
    told = client_consents(engine, DAY, ALIASES)
    assert states(told) == {
        ("a", "email"): "withdrawn", ("a", "sms"): "withdrawn", ("a", "call"): "withdrawn",
        ("a", "post"): "granted", ("z", "email"): "granted",
    }  # fmt: skip
    assert states(client_consents(engine, DAY, ALIASES, client_id="a")) == {
        key: status for key, status in states(told).items() if key[0] == "a"
    }
    assert states(client_consents(engine, date(2017, 4, 1), ALIASES))["a", "email"] == "granted"
    assert states(client_consents(engine, DAY, ALIASES)) == states(told)  # asked twice on one connection


def test_L9_a_withdrawal_for_all_of_one_record_withdraws_what_another_granted(engine):
    say(engine, ("a", "email", "marketing", "granted", 7), ("b", "all", "all", "withdrawn", 5))
    assert states(client_consents(engine, DAY, ALIASES))["a", "email"] == "withdrawn"
    say(engine, ("b", "email", "marketing", "granted", 6))  # the record itself granted it after its withdrawal of all
    assert states(client_consents(engine, DAY, ALIASES))["a", "email"] == "granted"


def test_without_joined_records_the_state_is_that_of_the_records(engine):
    say(engine, ("a", "email", "marketing", "granted", 3), ("b", "email", "marketing", "withdrawn", 5))
    assert client_consents(engine, DAY, NOBODY).to_pydict() == {
        name.replace("client_ref", "client_id"): values
        for name, values in consent_state(engine, DAY).to_pydict().items()
    }


class _Registered:
    def __init__(self):
        self.tables = {}

    def register(self, name, table):
        self.tables[name] = table


def test_L9_a_list_that_holds_the_client_under_an_old_id_sees_the_withdrawal_too(engine):
    say(engine, ("a", "email", "marketing", "granted", 3), ("b", "email", "marketing", "withdrawn", 5))
    version = _Registered()
    ConsentNow(engine, version, DAY, ALIASES, live=True).refresh()
    assert states(version.tables[CONSENT]) == {(who, "email"): "withdrawn" for who in "abc"}


def draw(engine, *drawn):
    for who, arm, day in drawn:
        batch = pa.RecordBatch.from_pylist([{"campaign_id": "news", "client_id": who, "arm": arm}])
        assignments.record(engine, [batch], on=date(2017, 9, day))


def test_L8_of_joined_records_the_older_arm_stays_and_the_client_is_flagged(engine):
    draw(engine, ("a", "target", 5), ("b", "control", 2), ("z", "target", 1))
    found, mixed = arms(engine, ["news"], ALIASES, until=DAY)
    assert {row["client_id"]: row["arm"] for row in found.to_pylist()} == {"a": "control", "z": "target"}
    assert mixed == [("news", "a")]
    apart, nobody = arms(engine, ["news"], NOBODY, until=DAY)
    assert {row["client_id"]: row["arm"] for row in apart.to_pylist()} == {"a": "target", "b": "control", "z": "target"}
    assert nobody == []


def test_L8_of_two_arms_of_one_day_the_clients_own_stays_else_control(engine):
    draw(engine, ("a", "target", 5), ("b", "control", 5))
    assert arms(engine, ["news"], ALIASES, until=DAY)[0].column("arm").to_pylist() == ["target"]
    others = pa.Table.from_pylist(
        [{"client_ref": "a", "client_id": "x"}, {"client_ref": "b", "client_id": "x"}], MEMBERS
    )
    assert arms(engine, ["news"], others, until=DAY)[0].column("arm").to_pylist() == ["control"]


def test_rows_that_fall_together_are_one():
    rows = pa.table({"campaign_id": ["n", "n", "n"], "client_id": ["b", "c", "z"], "channel": ["e", "s", "e"]})
    assert rekeyed(rows, ALIASES).column("client_id").to_pylist() == ["a", "a", "z"]
    once = rekeyed(rows, ALIASES, one_per=("campaign_id", "client_id")).sort_by("client_id")
    assert once.to_pylist() == [
        {"campaign_id": "n", "client_id": "a", "channel": "e"},
        {"campaign_id": "n", "client_id": "z", "channel": "e"},
    ]
    assert rekeyed(rows, NOBODY) is rows


OLD = {"channel": "email", "value": 10.0, "cost": 1.0, "outcome": "control", "arm": "control", "rule": "allocated"}


def test_L10_who_was_held_back_under_an_old_id_counts_as_contacted_after_the_merge():
    before = outcomes([{**OLD, "campaign_id": "one", "client_id": "b", "as_of_date": date(2017, 9, 29)}])
    clients = [client("a"), client("z")]
    cards = [card("one", cool_down_days=10)]
    ledger = facts(consents=granted("a", "z"))
    extra = {"campaign_outcomes": before, "client_aliases": ALIASES}
    assert decide_day(clients, cards, ledger=ledger, extra=extra).of("one", "rule") == {
        "a": "cool_down",
        "z": "allocated",
    }
    apart = decide_day(clients, cards, ledger=ledger, extra={**extra, "client_aliases": NOBODY})
    assert apart.of("one", "rule") == {"a": "allocated", "z": "allocated"}
