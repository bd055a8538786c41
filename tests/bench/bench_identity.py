"""Who is one client: quality on planted truth, and what it costs.

    python tests/bench/bench_identity.py quality [CLIENTS] [SEEDS]    # default 100000 3
    python tests/bench/bench_identity.py cost                         # 100,000 and 1,000,000 records, fresh processes
    python tests/bench/bench_identity.py nothing                      # 1,000,000 records that share nothing: the check alone

Clients, their records and mistakes are those of tests/factories/planted_clients.py. CPU is the kernel's count of the
process, memory its largest resident set; planting is left out of the first and in the second.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS.parent / "plugins"), str(Path(__file__).parent)]

from measuring import PYTHON, cost_of, environment  # noqa: E402 - the path comes first

SHARED = """
select list(r.ref) from k inner join r on r.id = k.id where not k.is_role group by k.what, k.v having count(*) > 1
"""


def quality_of(clients: int, seed: int) -> dict[str, Any]:
    """Precision, recall, and what the candidates would add, of so many planted clients."""
    from factories.planted_clients import plant, quality
    from perennial.identity.candidates import find_candidates
    from perennial.identity.linking import link
    from perennial.identity.scratch import Rules

    planted = plant(clients, seed=seed)
    with link(planted.tables(), [], Rules(region="US")) as linked:
        client_of = {row["client_ref"]: row["client_id"] for row in linked.map_reader().read_all().to_pylist()}
        shared = [refs for (refs,) in linked.connection.execute(SHARED).fetchall()]
        found = find_candidates(linked)
    told = quality(planted, client_of, shared)
    right = [one for one in found if planted.truth[one["left_ref"]] == planted.truth[one["right_ref"]]]
    after = quality(planted, _joined(client_of, right), shared)
    missed, missed_findable = told.true - told.right, told.findable - told.found
    return {
        "seed": seed, "clients": clients, "records": len(planted.records), "pairs": told.true,
        "findable": told.findable, "precision": told.precision, "recall": told.recall, "plain_recall": told.plain_recall,
        "candidates": len(found), "right_candidates": len(right) / len(found),
        "share_of_missed": (after.right - told.right) / missed,
        "share_of_missed_findable": (after.found - told.found) / missed_findable,
    }  # fmt: skip


def _joined(client_of: dict[str, str], pairs: list[dict[str, Any]]) -> dict[str, str]:
    """The map as it would be, had a person accepted these pairs."""
    head: dict[str, str] = {}

    def of(client: str) -> str:
        while client in head:
            client = head[client]
        return client

    for one in pairs:
        left, right = sorted((of(one["left_client"]), of(one["right_client"])))
        if left != right:
            head[right] = left
    refs = {*client_of, *(one[name] for one in pairs for name in ("left_ref", "right_ref"))}
    return {ref: of(client_of.get(ref, ref)) for ref in refs}


def linked_once(clients: int) -> None:
    """One process: plant, link, tell CPU seconds of linking and the largest resident set."""
    from factories.planted_clients import plant
    from perennial.identity.linking import link
    from perennial.identity.scratch import Rules

    tables = plant(clients, seed=1).tables()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with link(tables, [], Rules(region="US")) as linked:
        rows = sum(batch.num_rows for batch in linked.map_reader())
    told = {
        "records": tables[0].num_rows, "joined_or_grouped": rows, "cpu": time.process_time() - started,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "mb_before": before / 1024,
    }  # fmt: skip
    print(json.dumps(told))  # noqa: T201 - what it is for


def nothing_shared(records: int) -> None:
    """The look at keys of a shop where nobody shares anything: SQL alone."""
    import duckdb

    from perennial.pipeline.identity import look

    connection = duckdb.connect(":memory:")
    connection.execute(f"""
create schema raw;
create table raw.clients as
select 'c' || lpad(cast(n as varchar), 15, '0') as client_ref, 'ann' || n || '@example.com' as email,
    '+1202' || lpad(cast(n as varchar), 7, '0') as phone, date '1950-01-01' + cast(n % 20000 as integer) as birth_date,
    cast(n as varchar) as postcode, null::varchar as tax_number, null::varchar as card_number,
    null::varchar as household_key, null::varchar as company_key, date '2017-10-01' as _business_date
from range({records}) as t (n)
""")
    started = time.process_time()
    for statement in look("2017-10-01", []):
        connection.execute(statement)
    (wanted,) = connection.execute("select count(*) from wanted").fetchall()[0]
    print(json.dumps({"records": records, "wanted": wanted, "cpu": time.process_time() - started}))  # noqa: T201 - what it is for


def main() -> None:
    """Print what was asked for as Markdown rows or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "cost", "nothing", "once"))
    parser.add_argument("numbers", nargs="*", type=int)
    asked = parser.parse_args()
    if asked.what == "quality":
        clients, seeds = (*asked.numbers, *(100_000, 3)[len(asked.numbers) :])
        for seed in range(1, seeds + 1):
            print(json.dumps(quality_of(clients, seed)), flush=True)  # noqa: T201 - what it is for
    elif asked.what == "once":
        linked_once(asked.numbers[0])
    elif asked.what == "nothing":
        nothing_shared(1_000_000)
    else:
        for clients in (47_000, 470_000):
            for _round in range(3 if clients < 100_000 else 1):
                print(json.dumps(cost_of([PYTHON, __file__, "once", str(clients)], environment()).data()), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
