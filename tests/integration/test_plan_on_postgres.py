"""A day with every rule of the policy, decided by PostgreSQL and by DuckDB: the same rows (L2)."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from factories.postgres_warehouse import new_database
from factories.published import (
    AS_OF,
    MemorySession,
    card,
    client,
    days_before,
    facts,
    granted,
    outcomes,
    policy,
    scores,
    shop_tables,
    write_config,
)
from perennial.core.settings import load_settings
from perennial.targeting.catalogue import catalogue_of
from perennial.targeting.config import load_targeting
from perennial.targeting.facts import HELD, SUPPRESSED, YOUNG
from perennial.targeting.planning import OUTCOMES, decide
from perennial.warehouse.postgres.dialect import FUNCTIONS
from perennial.warehouse.postgres.reader import PublishedInPostgres
from perennial.warehouse.postgres.session import open_session

pytestmark = pytest.mark.integration

NAMES = [f"c{i:03d}" for i in range(240)]
CLIENTS = [
    client(
        name,
        value_90d=round(17.77 * (i * 37 % 101), 2),
        churn_risk=(i * 13 % 97) / 97,
        recency_days=i % 120,
        has_phone=i % 5 > 0,
        country=("DE", "US", None)[i % 3],
        first_order_on=days_before(i % 40),
    )
    for i, name in enumerate(NAMES)
]
POLICY = policy(
    channels={
        "email": {"cost": 0.01, "address": "email", "min_consent_days": 2},
        "sms": {"cost": 0.05, "address": "phone"},
        "call": {"cost": 2.0, "address": "phone", "capacity_per_day": 3},
        "account_manager": {"cost": 1.0, "consent": "not_required", "address": "none"},
    },
    caps=[
        {"contacts": 2, "days": 3},
        {"contacts": 1, "days": 9, "nature": "bonus"},
        {"contacts": 1, "days": 20, "channel": "email", "segment": "sleepers"},
    ],
    gaps=[{"after": "gift", "before": "news", "days": 5}],
    quiet={
        "holidays": [{"on": "10-01", "name": "rest", "countries": ["DE"]}],
        "hours": {"starts": "21:00", "ends": "08:00"},
        "zones": {"US": "America/New_York"},
        "channels": ["sms"],
    },
    accounts={"days": 10, "roles": ["buyer"]},
    essential={"purposes": ["service"]},
    day_budget={"money": 60.0},
    hold_out={"share": 0.1, "since": "2017-09-01"},
)
WAY = {
    "steps": [
        {"id": "one", "message": "m1"},
        {"id": "two", "message": "m2", "after_days": 3, "when": "recency_days > 20"},
        {"id": "three", "message": "m3", "after_days": 2, "channels": ["sms"], "offer": {"text": "x", "cost": 2.0}},
    ],
    "exit_when": "churn_risk > 0.9",
    "lapse_days": 8,
}
CARDS = [
    card("gift", nature="bonus", channels=["sms", "email"], offer={"text": "x", "cost": 3.0}, exclusivity={"group": "g", "days": 9}),
    card("sale", nature="bonus", exclusivity={"group": "g", "days": 9}, max_contacts_per_day=5),
    card("news", control_share=0.2, arms=[{"id": "x", "share": 0.5}, {"id": "y", "share": 0.5}], cool_down_days=6),
    card("talk", channels=["call", "account_manager"], audience="churn_risk > 0.5", pilot={"share": 0.4}, control_share=0.3),
    card("repair", purpose="service", audience="recency_days < 20"),
    card("cross", next_product="department_not_yet_bought", budget={"money_per_day": 0.2}),
    card("thanks", schedule={"anniversary_of": "signed_up_on", "window_days": 3}, channels=["email"]),
    card("first", schedule={"event": {"name": "first_order_on", "delay_days": 3, "within_days": 2}, "cron": "0 9 1 * *"}),
    card("night", channels=["sms"], schedule={"send_from": "20:30", "anniversary_of": "first_order_on", "days_before": 3}),
    card("dusk", channels=["sms"], schedule={"send_from": "20:30", "send_not_after": "23:00"}, audience="recency_days < 9"),
    card("way", control_share=0.3, re_entry_days=9, audience="recency_days > 30", channels=["email", "sms"], series=WAY),
]  # fmt: skip


def the_ledger():
    pairs = [(name, "sms" if i % 4 == 0 else "email") for i, name in enumerate(NAMES) if i % 3 == 0]
    contacts = [
        (("gift", "sale", "news")[i % 3], who, channel, days_before(1 + i % 12))
        for i, (who, channel) in enumerate(pairs)
    ]
    given = facts(
        consents=granted(*NAMES[:200]), contacts=contacts, kept=[("news", "c001", "email", "target")], arms=[("news", "c002", "x")]
    )  # fmt: skip
    service = given.consents.set_column(2, "purpose", pa.array(["service"] * given.consents.num_rows))
    return replace(
        given,
        consents=pa.concat_tables([given.consents, service]),
        suppressed=pa.Table.from_pylist([{"client_id": "c003", "channel": "all"}], schema=SUPPRESSED),
        young=pa.Table.from_pylist([{"client_id": "c004", "channel": "email", "purpose": "marketing"}], schema=YOUNG),
        held=pa.Table.from_pylist([{"client_id": "c005", "arm": "held"}], schema=HELD),
        spent={("cross", "email"): 3},
    )


def the_ways():
    """What was planned of the series before: clients at each of its steps, and some who left it."""
    places = [(name, i, ("one", "two", "three")[i % 3]) for i, name in enumerate(NAMES[:200]) if i % 2]
    rows = [
        {
            "as_of_date": days_before(1 + i % 15),
            "campaign_id": "way",
            "client_id": name,
            "outcome": "refused" if i % 11 == 0 else "control",
            "rule": "series_exited" if i % 11 == 0 else "allocated",
            "series_step": step,
        }
        for name, i, step in places
    ]
    earlier = [{**row, "as_of_date": days_before(20), "outcome": "control", "series_step": "one"} for row in rows]
    return outcomes([*rows, *earlier])


def the_tables():
    clients = [{**one, "departments": ("DELI",) if i % 2 else ("MEAT", "DELI")} for i, one in enumerate(CLIENTS)]
    cases = [
        {"client_id": NAMES[i], "interaction_kind": "complaint" if i % 2 else "resolved", "happened_on": days_before(i % 40),
         "happened_at": datetime.combine(AS_OF, datetime.min.time()) - timedelta(days=i % 40)}
        for i in range(0, 90, 3)
    ]  # fmt: skip
    return {
        "campaign_outcomes": the_ways(),
        **shop_tables(clients),
        "client_scores": scores(clients),
        "fct_interactions": pa.Table.from_pylist(cases),
        "client_groups": pa.table({"client_id": NAMES[:60], "company_id": [f"k{i // 4}" for i in range(60)]}),
        "dim_contact_persons": pa.table(
            {"client_id": NAMES[:60], "role": [("user", "Buyer")[i % 2] for i in range(60)]}
        ),
    }


def test_L2_every_rule_of_the_policy_decides_the_same_on_both_engines(postgres, tmp_path):
    memory = MemorySession(the_tables())
    with tempfile.TemporaryDirectory() as folder:
        settings = write_config(
            Path(folder), campaigns=CARDS, segments={"sleepers": "recency_days > 60"}, policy=POLICY
        )
        targeting = load_targeting(settings, catalogue_of(memory.tables()))
    decide(memory, targeting, memory.tables(), the_ledger())
    expected = memory.query(OUTCOMES).to_pylist()
    url = new_database(postgres)
    with open_session(load_settings({"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_WAREHOUSE_URL": url})) as session:
        for function in FUNCTIONS:
            session.execute(function)
        published = PublishedInPostgres(session, None)
        for name, table in the_tables().items():
            published.register(name, table)
        decide(published, targeting, memory.tables(), the_ledger())
        assert published.query(OUTCOMES).to_pylist() == expected
    rules = {row["rule"].partition("_")[0] for row in expected}
    assert rules >= {"suppressed", "consent", "no", "already", "open", "account", "pilot"}
    way = {row["rule"] for row in expected if row["campaign_id"] == "way"}
    assert way >= {"series_exited", "series_lapsed", "re_entry", "step_not_due", "step_waits", "allocated"}
    assert {row["series_step"] for row in expected if row["campaign_id"] == "way"} == {"one", "two", "three"}
    assert {"first", "dusk"} <= {row["campaign_id"] for row in expected}
    assert rules >= {"cool", "gap", "exclusive", "quiet", "cap", "other", "capacity", "daily", "lost", "allocated"}
