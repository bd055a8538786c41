"""L4 by the hundred: random histories that are changed day by day, against their rebuilds, table by table.

    PYTHONPATH=plugins:tests .perennial/env/bin/python tests/bench/fuzz_incremental.py --seeds 100 --from 1000
    ... --days 8 --select "+fct_returns +int_client_days"

Prints each seed with the tables that differ and one row of each side, and ends with 1 if any did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measuring import REPOSITORY, say

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

from factories.changing_days import ChangedWarehouse, Day, differences  # noqa: E402
from factories.dbt_warehouse import Warehouse  # noqa: E402
from factories.random_days import random_days  # noqa: E402


def main() -> int:
    """All seeds; 1 when one of them differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--from", type=int, default=1000, dest="first")
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--worlds", type=int, default=1, help="histories that share one build")
    parser.add_argument("--select", default="", help="models, in dbt's syntax; all without it")
    given = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.first, given.first + given.seeds):
            found = _differences(Path(folder), random_days(seed, given.days, worlds=given.worlds), given.select.split())
            bad += bool(found)
            say(f"seed {seed}: {found or 'equal'}")
    say(f"{given.seeds} builds of {given.worlds} histories of {given.days} days, {bad} differ")
    return 1 if bad else 0


def _differences(folder: Path, history: Sequence[Day], select: list[str]) -> dict[str, object]:
    target = folder / "target"
    options = ["--select", *select] if select else []
    changed = ChangedWarehouse(Warehouse(_new(folder), target))
    statuses = changed.first(history[0], options=options)
    for day in history[1:]:
        statuses |= changed.then(day, options=options)
    anew = ChangedWarehouse(Warehouse(_new(folder), target))
    statuses |= anew.first(changed.known_on(history[-1]), options=options)
    failed: dict[str, object] = {name: said for name, said in statuses.items() if said not in {"success", "pass"}}
    return failed or differences(changed.warehouse, anew.warehouse, shown=1)


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder)) / "build.duckdb"


if __name__ == "__main__":
    sys.exit(main())
