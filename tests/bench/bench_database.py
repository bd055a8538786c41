"""PostgreSQL as input: what fetching and ingesting cost beside the engine's own bare read of the same rows (G24).

    .perennial/env/bin/python tests/bench/bench_database.py [--rows 1000000] [--rounds 3] [--only bare,fetch,all]

A PostgreSQL of its own is started with a table of sale lines (9 columns). CPU is that of a fresh client process (kernel's
count) and, beside it, of the server's backends (children that the postmaster reaped). `bare` is COPY in binary, thrown away.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests"), str(Path(__file__).parent)]

from measuring import PYTHON, cost_of, environment, median, say, say_machine, say_table  # noqa: E402

from factories.databases import Postgres, running_postgres  # noqa: E402

TABLE = """
    create table lines as
    select
        'B' || (n / 6)::text as basket_id, (n / 6 * 7919 % 200000)::int as household_id, (n * 31 % 9000)::int as product_id,
        timestamptz '2025-01-01' + n * interval '3 seconds' as sold_at, (1 + n % 3)::int as quantity,
        round((1 + n * 17 % 9999) / 100.0, 2) as sales_value, round((n % 90) / 100.0, 2) as discount,
        (n % 300)::int as store_id, timestamptz '2025-01-01' + n * interval '3 seconds' as updated_at
    from generate_series(0::bigint, {rows} - 1) as n;
    create index on lines (updated_at);
"""
SOURCES = """
version: 1
sources:
  shop:
    description: lines of a benchmark
    owner: bench
    dag: ingest_sales
    namespace: household
    settle_seconds: 0
    connection: {kind: database, id: bench, statement_timeout_seconds: 3600}
    entities:
      lines:
        entity: order_lines
        path: shop/lines_*.parquet
        business_date: ordered_at
        format: {type: parquet}
        database: {table: lines, watermark: updated_at}
        columns:
          order_key: {source: basket_id, pattern: "B[0-9]{1,12}"}
          client_key: household_id
          product_key: product_id
          ordered_at: sold_at
          quantity: {source: quantity, min: 0, max: 1000000}
          amount: {source: sales_value, min: 0, max: 100000}
          discount_amount: {source: discount, min: 0, max: 100000}
          store_key: store_id
"""
PEAK = "import resource, sys; sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))"
COPY = f"""
import psycopg2, sys
class Nothing:
    def write(self, data): return len(data)
with psycopg2.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.copy_expert("copy lines to stdout (format binary)", Nothing())
{PEAK}
"""
ADBC = f"""
import sys, adbc_driver_postgresql.dbapi as adbc
with adbc.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute("select * from lines")
    for batch in cursor.fetch_record_batch(): pass
{PEAK}
"""
FETCH = f"""
from perennial.core.settings import load_settings
from perennial.pipeline.fetch import fetch
[report] = fetch(load_settings())
assert report.problem is None, report.problem
{PEAK}
"""
INGEST = f"""
from perennial.core.settings import load_settings
from perennial.pipeline.ingest import ingest
[report] = ingest(load_settings())
assert report.loaded == report.landed, report
{PEAK}
"""
CASES = ("COPY, binary, thrown away", "ADBC to Arrow, thrown away", "fetch to landing", "ingest to raw, with the gate")


@dataclass(frozen=True)
class Measured:
    """CPU seconds of the client and of the server, wall seconds, peak memory of the client in MiB."""

    client: float
    server: float
    wall: float
    peak: float


class Bench:
    """The server with its table, and one measured process after the other."""

    def __init__(self, server: Postgres, rows: int) -> None:
        name = server.create(TABLE.format(rows=rows))
        server.run(name, "vacuum (analyze, freeze) lines")  # or the first read pays for it
        self.uri = server.uri(name)
        self.postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))

    def measure(self, program: str, home: Path | None = None) -> Measured:
        """One fresh process."""
        more = {"AIRFLOW_CONN_BENCH": self.uri, "PERENNIAL_CONFIG": str(home / "config") if home else ""}
        before = self.backends()
        cost = cost_of([PYTHON, "-c", program, self.uri], environment(home / "home" if home else None, **more))
        return Measured(cost.cpu, self.backends() - before, cost.wall, float(cost.said.strip().splitlines()[-1]))

    def backends(self) -> float:
        """CPU seconds of all backends, which have ended."""
        while any("[local]" in " ".join(child.cmdline()) for child in self.postmaster.children()):
            time.sleep(0.05)
        times = self.postmaster.cpu_times()
        return float(times.children_user + times.children_system)


@contextmanager
def home() -> Iterator[Path]:
    """A home with the config of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="perennial-bench-") as name:
        config = Path(name) / "config"
        config.mkdir()
        example = REPOSITORY / "config/examples/northwind"
        for file in ("perennial.yml", "policy.yml", "destinations.yml"):
            (config / file).write_text((example / file).read_text())
        (config / "sources.yml").write_text(SOURCES)
        yield Path(name)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ingest", action="store_true")
    given = parser.parse_args()
    found: dict[str, list[Measured]] = {name: [] for name in CASES}
    say_machine(given.rounds)
    with running_postgres() as server:
        bench = Bench(server, given.rows)
        for _ in range(given.rounds):
            found[CASES[0]].append(bench.measure(COPY))
            found[CASES[1]].append(bench.measure(ADBC))
            with home() as place:
                found[CASES[2]].append(bench.measure(FETCH, place))
                if not given.no_ingest:
                    found[CASES[3]].append(bench.measure(INGEST, place))
    tell(given.rows, found)


def tell(rows: int, found: dict[str, list[Measured]]) -> None:
    """The table, and the ratios to both bare reads."""
    medians = {
        name: Measured(*(median(getattr(one, part) for one in all_) for part in ("client", "server", "wall", "peak")))
        for name, all_ in found.items()
        if all_
    }
    say(f"{rows:,} rows\n")
    say_table(
        ["", "client CPU s", "server CPU s", "wall s", "peak MiB"],
        [[name, one.client, one.server, one.wall, int(one.peak)] for name, one in medians.items()],
    )
    ours = [medians[name] for name in CASES[2:] if name in medians]
    for bare in CASES[:2]:
        both = medians[bare].client + medians[bare].server
        fetch = (ours[0].client + ours[0].server) / both
        whole = sum(one.client + one.server for one in ours) / both
        say(f"to {bare}: fetch {fetch:.2f}x, fetch and ingest {whole:.2f}x (client and server together)")


if __name__ == "__main__":
    main()
