"""How well clients are told apart, on records whose truth is planted; 100,000 and more in tests/bench/bench_identity.py."""

from __future__ import annotations

from factories.planted_clients import plant, quality
from perennial.identity.candidates import find_candidates
from perennial.identity.linking import link
from perennial.identity.scratch import Rules

SHARED = """
select list(r.ref) from k inner join r on r.id = k.id where not k.is_role group by k.what, k.v having count(*) > 1
"""


def test_of_5000_planted_clients_999_of_1000_joined_pairs_are_right_and_95_of_100_are_found():
    planted = plant(5_000, seed=11)
    with link(planted.tables(), [], Rules(region="US")) as linked:
        client_of = {row["client_ref"]: row["client_id"] for row in linked.map_reader().read_all().to_pylist()}
        shared = [refs for (refs,) in linked.connection.execute(SHARED).fetchall()]
        found = find_candidates(linked, limit=100)
    told = quality(planted, client_of, shared)
    assert told.precision >= 0.999
    assert told.recall >= 0.95
    assert told.plain_recall >= 0.9
    right = sum(planted.truth[one["left_ref"]] == planted.truth[one["right_ref"]] for one in found)
    assert right >= 80
