from __future__ import annotations

import pytest

from factories import rule_worlds
from factories.published import MemorySession
from factories.rule_sessions import postgres_session


@pytest.mark.parametrize("seed", range(12))
def test_one_scan_on_postgresql_finds_whom_each_rule_means(postgres, tmp_path, seed):
    made = rule_worlds.make(seed, segments=20)
    with postgres_session(postgres, tmp_path, made.tables) as session:
        assert rule_worlds.scanned(session, made.rules) == made.members


def test_two_thousand_segments_are_one_statement_on_postgresql(postgres, tmp_path):
    tables = rule_worlds.make(1).tables
    rules = {f"seg_{n}": f"recency_days >= {n % 7}" for n in range(2000)}
    with postgres_session(postgres, tmp_path, tables) as session:
        found = rule_worlds.scanned(session, rules)
    days = {row["client_id"]: row["recency_days"] for row in tables["client_metrics"].to_pylist()}
    assert len(found) == 2000
    for number in range(2000):
        assert found[f"seg_{number}"] == {who for who, d in days.items() if d is not None and d >= number % 7}


@pytest.mark.parametrize("seed", range(3))
def test_who_came_and_who_left_is_the_same_on_both_engines(postgres, tmp_path, seed):
    made = rule_worlds.make(seed, segments=12)
    embedded = rule_worlds.compared(MemorySession(made.tables), made.rules)
    with postgres_session(postgres, tmp_path, made.tables) as session:
        assert rule_worlds.compared(session, made.rules) == embedded
    assert all(embedded.values())
