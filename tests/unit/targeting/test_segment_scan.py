from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import rule_worlds
from factories.published import MemorySession


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_one_scan_of_random_rules_finds_whom_each_rule_means_client_by_client(seed):
    made = rule_worlds.make(seed)
    assert rule_worlds.scanned(MemorySession(made.tables), made.rules) == made.members


@pytest.mark.parametrize("count", [62, 63, 130])
def test_more_segments_than_a_word_has_bits_keep_their_own_clients(count):
    tables = rule_worlds.make(1).tables
    ids = tables["client_metrics"].column("client_id").to_pylist()
    rules = {f"only_{n}": f"client_id = '{ids[n % len(ids)]}'" for n in range(count)}
    rules |= {f"not_{n}": f"not only_{n}" for n in range(count)}
    found = rule_worlds.scanned(MemorySession(tables), rules)
    for number in range(count):
        assert found[f"only_{number}"] == {ids[number % len(ids)]}
        assert found[f"not_{number}"] == set(ids) - found[f"only_{number}"]
