"""Stages and history of clients: the SQL that a day compiles, on random clients, against looking at every day."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import pytest

from factories.stage_oracle import ClientDay, events_of, history_of

AS_OF = date(2017, 10, 1)  # that of the fixture `compiled`
BEGIN = date(2016, 5, 20)
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))]


def random_clients(seed: int, clients: int = 14):
    """Facts and sign-ups: busy, rare and returning clients, orders that are cancelled the same day, soon or late."""
    chance = random.Random(seed)
    facts, signed = defaultdict(list), {}
    for number in range(clients):
        client, day = f"c{number:02d}", BEGIN + timedelta(days=chance.randrange(150))
        if chance.random() < 0.7:
            signed[client] = day + timedelta(days=chance.randrange(-60, 60))
        share = chance.choice([0, 0.01, 0.03, 0.1, 0.3])
        while day <= AS_OF:
            share = chance.choice([0, 0.005, 0.03, 0.1, 0.3]) if chance.random() < 0.01 else share
            if chance.random() < share:
                gone = day + timedelta(days=chance.choice([0, 1, 3, 28, 84, 90, 200]))
                voided = gone if chance.random() < 0.25 and gone <= AS_OF else None
                facts[client].append(ClientDay(day, chance.randrange(3), Decimal(chance.randrange(-3, 40)), voided))
            day += timedelta(days=1)
    return facts, signed


def known_since(facts, signed):
    seen = [
        *((c, on) for c, on in signed.items() if on <= AS_OF),
        *((c, r.on) for c, rows in facts.items() for r in rows),
    ]
    known = {}
    for client, day in seen:
        known[client] = min(day, known.get(client, day))
    return known


@pytest.fixture
def made(compiled, tmp_path):
    """Run the compiled models over facts; gives (events, history) as dicts."""

    def make(facts, signed):
        with duckdb.connect(str(tmp_path / "build.duckdb")) as connection:
            connection.execute("create schema intermediate; create schema marts")
            connection.execute(
                "create table intermediate.int_client_days (client_id text, ordered_on date, voided_on date, orders bigint, revenue decimal(18, 4), margin decimal(18, 4))"
            )
            connection.execute("create table marts.dim_clients (client_id text, signed_up_on date)")
            for client, rows in facts.items():
                for row in rows:
                    given = [client, row.on, row.voided_on, row.orders, row.revenue, 2 * row.revenue]
                    connection.execute("insert into intermediate.int_client_days values (?, ?, ?, ?, ?, ?)", given)
            for pair in signed.items():
                connection.execute("insert into marts.dim_clients values (?, ?)", list(pair))
            for name in ("client_lifecycle_events", "client_metrics_history"):
                (path,) = (p for p in compiled.rglob(f"{name}.sql") if "unit_tests" not in p.parts)
                connection.execute(f"create table marts.{name} as {path.read_text()}")
            return [
                connection.sql(f"from marts.{n}").to_arrow_table().to_pylist()
                for n in ("client_lifecycle_events", "client_metrics_history")
            ]

    return make


@pytest.mark.parametrize("seed", SEEDS)
def test_L3_stages_and_history_are_those_that_one_finds_by_looking_at_every_day(made, seed):
    facts, signed = random_clients(seed)
    known = known_since(facts, signed)
    events, history = made(facts, signed)
    by_hand = {(c, *event) for c, since in known.items() for event in events_of(facts.get(c, ()), since, AS_OF)}
    assert {(e["client_id"], e["changed_on"], e["stage_before"], e["stage"]) for e in events} == by_hand
    assert len(events) == len(by_hand) > 60
    expected = {(row["client_id"], row["as_of_date"]): row for row in history_of(facts, known, AS_OF)}
    found = {(row["client_id"], row["as_of_date"]): row for row in history}
    assert len(history) == len(found)
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: found[key][name] for name in row} == row, key
        assert found[key]["margin_365d"] == 2 * row["revenue_365d"]


def test_history_of_clients_who_only_signed_up_or_only_brought_back_has_no_fifths(made):
    facts = {"back": [ClientDay(date(2017, 7, 3), 0, Decimal(-5))]}
    events, history = made(facts, {"lead": date(2017, 8, 31), "later": date(2017, 10, 2)})
    assert {(e["client_id"], e["changed_on"], e["stage"], e["left_on"]) for e in events} == {
        ("back", date(2017, 7, 3), "lead", None), ("lead", date(2017, 8, 31), "lead", None),
    }  # fmt: skip
    months = [(row["client_id"], row["as_of_date"], row["row_kind"]) for row in history]
    assert sorted(months) == [
        ("back", date(2017, 7, 3), "change"),
        *(("back", date(2017, month, 31 if month < 9 else 30), "month_end") for month in (7, 8, 9)),
        *(("lead", date(2017, month, 31 if month < 9 else 30), "month_end") for month in (8, 9)),
    ]
    assert {(row["concentration_class"], row["rfm_recency"], row["orders_total"]) for row in history} == {
        ("C", None, 0)
    }
