"""PostgreSQL as the warehouse: a full build, a day's change, publication, and one hand-written query (G3, G6).

    .perennial/env/bin/python tests/bench/bench_postgres.py --sales tx_100k.parquet

`--sales` is what ../shared/bench/gen.py wrote; homes and the new day are those of bench_warehouse. A server of our own
runs on a Unix socket. CPU seconds are the server's (its processes and those that ended) and ours together. The
hand-written query is `full_sql` of ../shared/bench/sqls.py over a table of the same lines. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from measuring import PYTHON, REPOSITORY, cost_of, environment, say, say_machine, say_table

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

from bench_warehouse import _land, _settings  # noqa: E402 - after the path of the package

_INSIDE = """
import sys
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.build import build, publish
settings = load_settings()
run = last_run(open_ledger(settings))
publish(settings, run) if sys.argv[1] == "publish" else build(settings, run, full=sys.argv[1] == "full")
"""
_TYPES = (
    "customer_id bigint, order_id bigint, ts timestamp, product_id integer, category text, quantity smallint, "
    "unit_price double precision, cost double precision, channel text"
)


class Server:
    """The PostgreSQL that is measured, and the CPU seconds of its processes."""

    def __init__(self, postgres: Any) -> None:
        self.postgres = postgres
        self.pid = int((postgres.data / "postmaster.pid").read_text().splitlines()[0])

    def cpu(self) -> float:
        """Of the postmaster, its ended children, and those alive."""
        seconds = sum(_ticks(self.pid)[:4])
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if _parent(path) == self.pid:
                    seconds += sum(_ticks(int(path.name))[:2])
            except OSError:  # it has ended meanwhile
                continue
        return seconds / os.sysconf("SC_CLK_TCK")

    def measured(self, do: Callable[[], float]) -> tuple[float, float]:
        """CPU seconds (`do` gives its own) and seconds by the clock."""
        before, started = self.cpu(), time.perf_counter()
        ours = do()
        return ours + self.cpu() - before, time.perf_counter() - started


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()


def _ticks(pid: int) -> list[int]:
    return [int(value) for value in _stat(pid)[11:15]]


def _parent(path: Path) -> int:
    return int(_stat(int(path.name))[1])


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sales", type=Path, required=True)
    parser.add_argument("--reference", type=Path, default=REPOSITORY.parent / "shared")
    arguments = parser.parse_args()
    from factories.databases import running_postgres

    with tempfile.TemporaryDirectory() as folder, running_postgres() as postgres:
        report(Path(folder), Server(postgres), arguments.sales.resolve(), arguments.reference)


def report(folder: Path, server: Server, sales: Path, reference: Path) -> None:
    """One table: the hand-written query, then the steps of two days."""
    from factories.postgres_warehouse import new_database

    say_machine(1)
    _tune(server)
    rows = [["hand-written query", *_shown(_by_hand(server, sales, reference))]]
    url = new_database(server.postgres)
    home, nothing = folder / "home", folder / "nothing"
    empty = new_database(server.postgres)
    for day in ("first", "next"):
        for place, source, database in ((nothing, None, empty), (home, sales, url)):
            _land(place, source, later=day == "next")
            of = "without a line" if source is None else "of history"
            for step in ["full", "publish"] if day == "first" else ["change", "publish"]:
                cost = server.measured(lambda p=place, d=database, s=step: _step(p, d, s))
                rows.append([f"{step}, {day} day, {of}", *_shown(cost)])
    cost = server.measured(lambda: _step(home, url, "full"))
    rows.append(["full, next day, of history", *_shown(cost)])
    say_table(["step", "CPU s", "seconds"], rows)
    say(f"\nLines: {_lines(home)}.")


def _tune(server: Server) -> None:
    for name, value in (("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("jit", "off")):
        server.postgres.run("postgres", f"alter system set {name} = '{value}'")
    server.postgres.stop()
    server.postgres.start()
    server.pid = int((server.postgres.data / "postmaster.pid").read_text().splitlines()[0])


def _step(home: Path, url: str, step: str) -> float:
    env = environment(home, PERENNIAL_WAREHOUSE_URL=url)
    return cost_of([PYTHON, "-c", _INSIDE, step], env).cpu


def _by_hand(server: Server, sales: Path, reference: Path) -> tuple[float, float]:
    import duckdb
    import psycopg2

    sys.path.insert(0, str(reference / "bench"))
    import sqls

    uri = server.postgres.uri(server.postgres.create())
    with closing(psycopg2.connect(uri)) as connection, tempfile.NamedTemporaryFile(suffix=".csv") as file:
        connection.autocommit = True
        duckdb.execute(f"copy (from '{sales}') to '{file.name}' (format csv, header false)")
        with connection.cursor() as cursor:
            cursor.execute(f"create table tx ({_TYPES})")
            cursor.copy_expert("copy tx from stdin (format csv)", file)
            cursor.execute("vacuum analyze tx")
            cursor.execute("set work_mem = '128MB'")
            query = f"create unlogged table m_out as {sqls.full_sql('tx', 'p')}"

            def run() -> float:
                cursor.execute(query)
                return 0.0

            return server.measured(run)


def _lines(home: Path) -> str:
    import duckdb

    [(count,)] = duckdb.execute(f"select count(*) from '{_settings(home).raw}/order_lines/*.parquet'").fetchall()
    return f"{count:,}"


def _shown(cost: tuple[float, float]) -> list[str]:
    return [f"{value:.1f}" for value in cost]


if __name__ == "__main__":
    main()
