"""Approvals, suppressions, effects, the age of consents, what a term has spent: as the ledger knows them on a date."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
import sqlalchemy as sa

from factories.published import write_config
from perennial.core.errors import PermanentError
from perennial.ledger import effects, suppressions
from perennial.ledger.approvals import Approval, approval_of, approve
from perennial.ledger.consents import append_events, young_grants
from perennial.ledger.contact_history import accepted_before, spent_since
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import approvals, deliveries

DAY = date(2017, 10, 1)


@pytest.fixture
def engine(tmp_path):
    return open_ledger(write_config(tmp_path))


def test_L11_an_approval_holds_for_its_list_and_day_until_it_expires_and_the_newest_counts(engine):
    given = Approval("news", "email", DAY, additions=50, removals=5, reason="a fair", approved_by="ann")
    approve(engine, given, hours=1)
    approve(engine, replace(given, additions=80), hours=1)
    assert approval_of(engine, "news", "email", DAY) == replace(given, additions=80)
    assert approval_of(engine, "news", "sms", DAY) is None
    assert approval_of(engine, "news", "email", DAY + timedelta(days=1)) is None
    with engine.begin() as connection:
        connection.execute(sa.update(approvals).values(expires_at=datetime(2000, 1, 1)))
    assert approval_of(engine, "news", "email", DAY) is None


def test_a_suppression_holds_from_the_date_on_which_it_was_known_until_it_is_lifted(engine):
    known = {"reason": "hard_bounce", "source": "esp"}
    suppressions.record(engine, [("a", "email"), ("b", "all")], action="suppress", known_on=DAY, **known)
    suppressions.record(engine, [("a", "email")], action="lift", known_on=DAY + timedelta(days=2), **known)

    def on(days):
        return {tuple(row.values()) for row in suppressions.suppressed(engine, DAY + timedelta(days=days)).to_pylist()}

    assert on(-1) == set()
    assert on(0) == on(1) == {("a", "email"), ("b", "all")}
    assert on(2) == {("b", "all")}


def test_L2_an_effect_is_known_from_its_date_and_a_day_has_one(engine):
    effects.record(engine, "one", DAY, low=-1.0, high=2.0, source="report")
    effects.record(engine, "one", DAY, low=0.5, high=2.0, source="report")
    assert effects.effects_of(engine, ["one", "two"], DAY) == [("one", DAY, 0.5, 2.0)]
    assert effects.effects_of(engine, ["one"], DAY - timedelta(days=1)) == []
    with pytest.raises(PermanentError, match="no interval"):
        effects.record(engine, "one", DAY, low=2.0, high=1.0, source="report")


def test_the_age_of_a_grant_counts_from_the_first_after_the_last_withdrawal(engine):
    said = [
        ("old", "granted", 9), ("old", "granted", 1),
        ("back", "granted", 9), ("back", "withdrawn", 5), ("back", "granted", 2),
        ("gone", "granted", 1), ("gone", "withdrawn", 0),
        ("edge", "granted", 3),
    ]  # fmt: skip
    rows = [
        {
            "client_ref": who,
            "channel": "email",
            "purpose": "marketing",
            "status": status,
            "changed_at": datetime(2017, 10, 1, 12) - timedelta(days=days),
            "known_on": DAY - timedelta(days=days),
        }
        for who, status, days in said
    ]
    with engine.begin() as connection:
        append_events(connection, pa.Table.from_pylist(rows), source="crm")

    def young(days):
        return set(young_grants(engine, DAY, {"email": days}).column("client_id").to_pylist())

    assert young(3) == {"back"}
    assert young(4) == {"back", "edge"}
    assert young(10) == {"back", "edge", "old"}


def test_L10_what_may_have_been_sent_counts_in_caps_and_what_was_sent_in_budgets(engine):
    shared = {
        "campaign_id": "one",
        "channel": "email",
        "action": "add",
        "destination": "x",
        "list_id": "l",
        "row_hash": "h",
    }
    sent = [("a", "accepted", 3), ("b", "unknown", 3), ("c", "rejected", 3), ("d", "accepted", 9), ("e", "accepted", 0)]
    rows = [
        {
            **shared,
            "client_id": who,
            "state": state,
            "as_of": DAY - timedelta(days=days),
            "recorded_at": datetime(2017, 10, 1),
        }
        for who, state, days in sent
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(deliveries), rows)
    counted = accepted_before(engine, DAY, DAY - timedelta(days=5)).column("client_id").to_pylist()
    assert sorted(counted) == ["a", "b"]
    assert spent_since(engine, {"one": DAY - timedelta(days=5), "two": DAY}, DAY) == {("one", "email"): 1}
    assert spent_since(engine, {"one": date.min}, DAY) == {("one", "email"): 2}
