"""Who is one client, through the chain: build, publication, plan, and what people decide."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from factories.two_shops import ANN, BOB, CAMPAIGN, CARL, DAY, WEB_ANN, WEB_BOB, land, published_run, two_shops
from perennial.core.errors import PermanentError
from perennial.ledger import identity as ledger_identity
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import open_run, version_of
from perennial.pipeline.clients import candidates, decide, show
from perennial.pipeline.day import open_day
from perennial.pipeline.explain import explain
from perennial.pipeline.identity import log_changes
from perennial.pipeline.plan import plan
from perennial.warehouse.publish import private_contacts_path
from perennial.warehouse.reader import open_published

SPENT = {ANN: 110, BOB: 20, WEB_BOB: 200, CARL: 30}


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """Three runs of one day: by the rules, with Bob joined by a person, and after that was undone."""
    settings = two_shops(tmp_path_factory.mktemp("shops"))
    land(settings)
    runs = [published_run(settings)]
    plan(settings, runs[0])
    decision = decide(settings, "merge", ("W2", "2"), "he said so on the phone", "someone")
    runs.append(published_run(settings))
    ledger_identity.undo(open_ledger(settings), decision, reason="it was his brother", decided_by="someone")
    runs.append(published_run(settings))
    return settings, runs


def ask(shops, number, sql):
    settings, runs = shops
    with open_published(settings, version_of(open_ledger(settings), runs[number].run_id)) as published:
        return published.query(sql).to_pylist()


def spent(shops, number):
    rows = ask(shops, number, "select client_id, revenue_total from client_metrics")
    return {row["client_id"]: row["revenue_total"] for row in rows}


def test_orders_of_two_sources_are_one_clients_revenue(shops):
    assert spent(shops, 0) == {who: Decimal(much) for who, much in SPENT.items()}
    (ann,) = ask(shops, 0, f"from dim_clients where client_id = '{ANN}'")
    assert (ann["client_key"], ann["source"], ann["is_in_crm"]) == ("1", "crm", True)
    assert ann["signed_up_on"] == date(2016, 1, 1)  # the CRM's word before the web shop's: its precedence is smaller
    assert ask(shops, 0, "select client_ref, client_id, rule, evidence from client_aliases") == [
        {"client_ref": WEB_ANN, "client_id": ANN, "rule": "email_name", "evidence": "e-mail a***@e***.com"}
    ]


def test_the_address_of_a_joined_client_is_the_most_believed_one(shops):
    settings, runs = shops
    with open_published(settings) as published:
        published.register_parquet("people", private_contacts_path(settings, runs[0]))
        people = {row["client_id"]: row for row in published.query("from people").to_pylist()}
    assert set(people) == set(SPENT)
    assert (people[ANN]["email"], people[ANN]["phone"]) == ("ann@example.com", "+12025550101")


def test_L9_a_withdrawal_of_one_record_is_the_clients(shops):
    outcomes = ask(shops, 0, f"select client_id, outcome, rule from campaign_outcomes where campaign_id = '{CAMPAIGN}'")
    assert {row["client_id"]: (row["outcome"], row["rule"]) for row in outcomes} == {
        ANN: ("refused", "withdrawn"),
        BOB: ("target", "allocated"),
        WEB_BOB: ("target", "allocated"),
        CARL: ("target", "allocated"),
    }
    settings, runs = shops
    told = explain(settings, "W1", runs[0])
    assert told["client_id"] == ANN
    assert told["consents"] == [{"channel": "email", "purpose": "marketing", "status": "withdrawn"}]


def test_a_persons_decision_moves_metrics_in_the_next_build_and_its_undoing_moves_them_back_byte_for_byte(shops):
    settings, runs = shops
    assert spent(shops, 1) == {ANN: 110, BOB: 220, CARL: 30}
    first, last = (_parts(settings, runs[number]) for number in (0, 2))
    planned = {"campaign_outcomes", "client_segments", "client_segments_history", "segment_sizes"}
    assert {name: parts for name, parts in first.items() if name not in planned} == last
    assert spent(shops, 2) == spent(shops, 0)


def _parts(settings, run):
    """By published table its parts, which are named by their content."""
    with open_published(settings, version_of(open_ledger(settings), run.run_id)) as published:
        tables = published.version.tables
        return {name: table.parts for name, table in tables.items() if name != "ledger_runs"}


def test_L2_an_earlier_run_keeps_to_the_decisions_that_it_knew(shops):
    settings, runs = shops
    assert [run.revision for run in runs] == [1, 2, 3]
    assert [run.decision_id for run in runs] == [None, 1, 2]
    engine = open_ledger(settings)
    assert ledger_identity.decisions(engine, as_of=DAY, until=1)[0].decision == "merge"
    assert ledger_identity.decisions(engine, as_of=DAY, until=2) == []
    assert ledger_identity.decisions(engine, as_of=date(2017, 9, 30)) == []
    assert open_day(settings).run_id == runs[2].run_id
    earlier = open_run(engine, date(2017, 9, 30), (), "x")
    assert earlier.decision_id is None


def test_the_log_tells_what_was_joined_and_split_and_why_once(shops):
    settings, runs = shops
    log = list(reversed(ledger_identity.log_of(open_ledger(settings))))
    told = [(one["client_ref"], one["event"], one["to_client_id"], one["because"]) for one in log]
    assert told == [
        (WEB_ANN, "merged", ANN, "email_name: e-mail a***@e***.com"),
        (WEB_BOB, "merged", BOB, "decision 1"),
        (WEB_BOB, "split", WEB_BOB, "nothing joins it any more"),
    ]
    assert log_changes(settings, runs[2]) == 0


def test_one_client_is_shown_with_records_and_decisions(shops):
    settings, _ = shops
    told = show(settings, WEB_ANN)
    assert told["client_id"] == ANN
    assert [(one["client_ref"], one["rule"]) for one in told["records"]] == [(ANN, None), (WEB_ANN, "email_name")]
    assert told["mixed_arms"] == []
    assert [one["event"] for one in told["log"]] == ["merged"]


def test_candidates_come_from_the_newest_build(shops):
    settings, _ = shops
    assert candidates(settings, limit=5) == {"clients": [], "companies": []}


def test_a_decision_needs_two_records_and_an_undoing_one_that_holds(shops):
    settings, _ = shops
    with pytest.raises(PermanentError, match="are one record"):
        decide(settings, "merge", ("1", ANN), "why not", "someone")
    with pytest.raises(PermanentError, match="no client has the id or key"):
        decide(settings, "merge", ("1", "nobody"), "why not", "someone")
    with pytest.raises(PermanentError, match="does not hold"):
        ledger_identity.undo(open_ledger(settings), 1, reason="again", decided_by="someone")
    with pytest.raises(PermanentError, match="there is no decision 99"):
        ledger_identity.undo(open_ledger(settings), 99, reason="again", decided_by="someone")
