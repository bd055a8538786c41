from __future__ import annotations

import json
from datetime import datetime

import pyarrow as pa
import pytest

from factories.published import AS_OF, card, client, publish_shop, put, write_config
from perennial.core.errors import PermanentError
from perennial.ledger.consents import append_events
from perennial.ledger.engine import open_ledger
from perennial.pipeline.explain import explain
from perennial.pipeline.plan import plan

CLIENTS = [
    client("a", client_key="17", departments=("DELI",)),
    client("b", client_key="18", recency_days=50, departments=("DELI", "MEAT")),
    client("c", client_key="19", value_90d=None, has_email=False),
]
CARDS = (
    card("best", audience="risky and revenue_365d > 500", priority=1),
    card("cross", next_product="department_not_yet_bought", priority=2),
    card("later", schedule={"weekdays": ["mon"]}),
    card("thanks", schedule={"anniversary_of": "signed_up_on"}),
)


@pytest.fixture
def settings(tmp_path):
    settings = write_config(tmp_path, campaigns=CARDS, segments={"risky": "churn_risk >= 0.4 and recency_days < 30"})
    said = {"purpose": "marketing", "changed_at": datetime(2017, 1, 1), "known_on": AS_OF, "channel": "email"}
    rows = [{"client_ref": "a", "status": "granted", **said}, {"client_ref": "b", "status": "granted", **said}]
    with open_ledger(settings).begin() as connection:
        append_events(connection, pa.Table.from_pylist(rows), source="crm")
    return settings


@pytest.fixture
def told(settings):
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    return lambda who: explain(settings, who, run)


def campaign(told, campaign_id):
    return next(one for one in told["campaigns"] if one["campaign"] == campaign_id)


def test_a_client_is_found_by_our_id_and_by_the_sources_key(told):
    assert told("a") == told("17")
    assert (told("17")["client_id"], told("17")["client_key"]) == ("a", "17")


def test_what_is_told_is_json_and_complete(told):
    one = json.loads(json.dumps(told("a")))
    assert one["as_of"] == "2017-10-01"
    assert one["run_id"] == "2017-10-01.r1"
    assert one["metrics"]["revenue_365d"] == 1000
    assert [(s["score"], s["value"], s["reasons"]) for s in one["scores"]] == [
        ("churn_risk", 0.5, ["has not bought for long"]),
        ("value_90d", 200.0, ["has not bought for long"]),
    ]
    assert one["consents"] == [{"channel": "email", "purpose": "marketing", "status": "granted"}]
    assert one["contacts"] == []


def test_why_in_and_why_out_is_told_by_rule_and_term(told):
    chosen, other = told("a"), told("b")
    assert (campaign(chosen, "best")["in"], campaign(chosen, "best")["rule"]) == (True, "allocated")
    assert campaign(chosen, "cross")["why"] == "the contact of the day went to best"
    assert campaign(chosen, "later")["why"] == "not scheduled on sun"
    assert campaign(chosen, "thanks")["rule"] == "not_anniversary"
    out = campaign(other, "best")
    assert (out["in"], out["rule"]) == (False, "not_in_audience")
    assert out["audience"] == [
        {"term": "risky", "holds": False, "values": {"risky": False}},
        {"term": "revenue_365d > 500", "holds": True, "values": {"revenue_365d": 1000.0}},
    ]
    [segment] = other["segments"]
    assert [term["holds"] for term in segment["terms"]] == [True, False]
    assert segment["terms"][1]["values"] == {"recency_days": 50}


def test_the_next_product_comes_with_its_reason(told):
    one = campaign(told("a"), "cross")
    assert one["next_product"] == "MEAT"
    assert one["next_product_reason"] == "33% of all clients buy MEAT (lift 1.00)"


def test_a_client_without_score_address_or_consent_is_told_so(told):
    assert campaign(told("c"), "best")["why"] == "has no address in any channel of the campaign"
    assert [score["score"] for score in told("c")["scores"]] == ["churn_risk"]


def test_an_unknown_client_is_told_with_a_way_to_look(told):
    with pytest.raises(PermanentError, match="no client has the id or key 'nobody'"):
        told("nobody")


def test_a_day_that_is_not_planned_is_told_as_such(settings):
    run = publish_shop(settings, CLIENTS)
    assert {one["rule"] for one in explain(settings, "a", run)["campaigns"]} == {"not_planned"}


def test_rules_that_changed_after_the_plan_are_told_as_such(settings, tmp_path, told):
    put(tmp_path, "segments/all.yml", {"version": 1, "segments": [{"id": "risky", "description": "", "where": "true"}]})
    assert campaign(told("b"), "best")["rule"] == "config_changed"
    assert campaign(told("a"), "best")["rule"] == "allocated"
