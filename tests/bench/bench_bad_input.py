"""The world of bad input with one client of very many lines: a full build inside a memory limit, and the client's figures.

    .perennial/env/bin/python tests/bench/bench_bad_input.py --lines 5000000 --memory 1GB

The lines lie in one Parquet file, made by SQL; `--memory` is DuckDB's limit. Ends with 1 when a model or data test does
not end as it does in the small world, or a figure is wrong. CPU seconds are those of dbt in this process, with its
parsing; the memory is the peak of the whole process. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from measuring import REPOSITORY, say, say_machine, say_table

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

from factories.bad_input import AS_OF, fill_bad_world  # noqa: E402 - after the path of the package
from factories.dbt_warehouse import Warehouse  # noqa: E402

_WARNED = {"assert_a_product_is_in_one_category", "assert_ages_of_clients_are_possible"}


def main() -> int:
    """Build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--memory", default="1GB")
    given = parser.parse_args()
    os.environ["PERENNIAL_DUCKDB_MEMORY"] = given.memory
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "build.duckdb", Path(folder) / "target")
        warehouse.target.mkdir()
        fill_bad_world(warehouse, lines=given.lines, as_parquet=True)
        started, wall = time.process_time(), time.perf_counter()
        statuses = warehouse.build(AS_OF)
        cost = (time.process_time() - started, time.perf_counter() - wall)
        odd = {name: said for name, said in statuses.items() if said not in ("success", "pass") and name not in _WARNED}
        found = _figures(warehouse)
    say_machine()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    head = ["lines of one client", "memory limit", "CPU s", "wall s", "peak memory"]
    say_table(head, [[f"{given.lines:,}", given.memory, f"{cost[0]:.0f}", f"{cost[1]:.0f}", f"{peak:.2f} GB"]])
    wrong = found != _expected(given.lines)
    for name, said in odd.items():
        say(f"{name}: {said}")
    say(f"figures are {'wrong: ' + str(found) if wrong else 'as they should be'}")
    return 1 if odd or wrong else 0


def _figures(warehouse: Warehouse) -> dict[str, object]:
    names = "orders_total, units_total, revenue_total, returned_amount_total, order_days_total"
    key = "join marts.dim_clients using (client_id) where client_key = 'long'"
    return dict(warehouse.query(f"select {names} from marts.client_metrics {key}")[0])


def _expected(lines: int) -> dict[str, object]:
    sold, back, cent = lines * 19 // 20, lines // 20, Decimal("0.01")
    return {
        "orders_total": lines * 9 // 100 + 1,
        "units_total": Decimal(sold - back),
        "revenue_total": (sold - back) * cent,
        "returned_amount_total": back * cent,
        "order_days_total": 100,
    }


if __name__ == "__main__":
    raise SystemExit(main())
