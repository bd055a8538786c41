"""L1 and L23: whatever lands, nothing is lost and nothing is told by a stack trace. tests/bench/fuzz_ingest.py does more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories.hostile import FORMATS, assert_all_is_accounted_for, corpus, good, hostile_zone, land_all, mutated

FILES_AT_ONCE = 6


@pytest.mark.parametrize("kind", FORMATS)
def test_L1_L23_of_a_corpus_of_hostile_files_each_is_read_or_refused_and_the_good_one_among_them_is_loaded(
    tmp_path, kind
):
    zone = hostile_zone(tmp_path, kind)
    contents = [*corpus(kind), good(kind)]
    names = land_all(zone, kind, contents)
    reports = zone.ingest("shop")
    assert_all_is_accounted_for(zone, kind, dict(zip(names, contents, strict=True)), reports)
    assert names[-1] in zone.names("archive")
    keys = {key for (key,) in zone.raw("products", "product_key")}
    assert {f"0-{n}" for n in range(20)} <= keys


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=1, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_L1_L23_good_files_that_were_damaged_are_read_or_refused(tmp_path_factory, kind, seed):
    zone = hostile_zone(tmp_path_factory.mktemp("hostile"), kind)
    contents = [mutated(kind, seed + n) for n in range(FILES_AT_ONCE)]
    names = land_all(zone, kind, contents)
    reports = zone.ingest("shop")
    assert_all_is_accounted_for(zone, kind, dict(zip(names, contents, strict=True)), reports)
