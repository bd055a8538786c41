"""What publishing and reading a table cost: whole against by changed rows, all months against those that were touched.

    .perennial/env/bin/python tests/bench/bench_publish.py --clients 1000000 --lines 8600000 --rounds 3 --dir DIR

A table of one row per client with 105 columns of the kinds of client_metrics, and a fact by month over three years. CPU
seconds of this process by step, medians of the rounds; the unit S is one scan of seven columns of the fact.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perennial.core.settings import Settings, load_settings
from perennial.warehouse.build_db import TableSpec
from perennial.warehouse.changes import Layout, write_table
from perennial.warehouse.duck import connect, parquet_list
from perennial.warehouse.parts import Source, write_parts
from perennial.warehouse.versions import PublishedTable, parts_dir, view_sql

SPEC = TableSpec("client_metrics", key=("client_id",))
FACTS = TableSpec("lines", date_column="ordered_on", key=("order_key", "line"))
CODECS = ("zstd", "lz4", "snappy", "uncompressed")


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=860_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, required=True)
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    settings = load_settings({"PERENNIAL_HOME": str(args.dir / "home")})
    found: dict[str, list[float]] = {}
    connection = connect(settings, args.dir / "build.duckdb")
    connection.execute("set threads = 2; set preserve_insertion_order = false")
    make(connection, args.clients, args.lines)
    for _ in range(args.rounds):
        shutil.rmtree(settings.home, ignore_errors=True)
        (settings.warehouse_dir / "tmp").mkdir(parents=True)
        parts_dir(settings).mkdir(parents=True)
        Bench(settings, connection, found).run()
    table = [f"| {name} | {statistics.median(seconds):.2f} |" for name, seconds in found.items()]
    head = f"| step, {args.clients:,} clients, {args.lines:,} lines | CPU s |\n|---|--:|"
    sys.stdout.write("\n".join([head, *table]) + "\n")


def make(connection: Any, clients: int, lines: int) -> None:
    """The two tables."""
    columns = [f"cast(hash(i, {n}) % {(3, 20, 100, 400)[n % 4]} as bigint) as n{n}" for n in range(40)]
    columns += [
        f"cast(hash(i, {n + 100}) % {(100, 10_000, 1_000_000)[n % 3]} / 100.0 as decimal(18, 4)) as d{n}"
        for n in range(35)
    ]
    columns += [f"date '2016-01-01' + cast(hash(i, {n + 200}) % 700 as integer) as t{n}" for n in range(10)]
    columns += [f"cast(hash(i, {n + 300}) % 1000 as double) / 7 as f{n}" for n in range(10)]
    columns += [f"'class_' || hash(i, {n + 400}) % 7 as s{n}" for n in range(10)]
    client = "'c' || substr(md5(cast(i as varchar)), 1, 20) as client_id"
    connection.execute("create schema if not exists marts")
    connection.execute(
        f"create or replace table marts.client_metrics as select {client}, {', '.join(columns)} from range({clients}) as r(i)"
    )
    connection.execute(f"""
        create or replace table marts.lines as
        select 'o' || i // 4 as order_key, i % 4 as line, 'c' || substr(md5(cast(i % {clients} as varchar)), 1, 20) as client_id,
            date '2015-01-01' + cast(i * 1095 // {lines} as integer) as ordered_on, 'p' || hash(i, 1) % 9000 as product_key,
            's' || hash(i, 2) % 300 as store_key, 'sale' as line_kind, cast(hash(i, 3) % 9 as decimal(18, 4)) as quantity,
            cast(hash(i, 4) % 10000 / 100.0 as decimal(18, 4)) as amount, cast(hash(i, 5) % 500 / 100.0 as decimal(18, 4)) as discount,
            cast(hash(i, 6) % 9000 / 100.0 as decimal(18, 4)) as revenue, hash(i, 7) % 50 = 0 as is_cancelled, 'USD' as currency
        from range({lines}) as r(i)
    """)
    connection.execute("checkpoint")


class Bench:
    """One round: each step's CPU seconds go into `found`."""

    def __init__(self, settings: Settings, connection: Any, found: dict[str, list[float]]) -> None:
        self.settings, self.connection, self.found = settings, connection, found

    def run(self) -> None:
        """All steps."""
        self.codecs()
        self.clients()
        self.months()

    def cost(self, name: str, step: Callable[[], Any]) -> Any:
        """Do the step and note what it cost."""
        before = _cpu()
        answer = step()
        self.found.setdefault(name, []).append(_cpu() - before)
        return answer

    def codecs(self) -> None:
        """Writing the client's table whole, by compression, in the order of its key."""
        for codec in CODECS:
            file = self.settings.home / f"{codec}.parquet"
            query = "select * from marts.client_metrics order by client_id"
            write = f"copy ({query}) to '{file}' (format parquet, compression {codec})"
            self.cost(f"client table whole, {codec}", lambda sql=write: self.connection.execute(sql))
            read = f"select s0, sum(d0), sum(n0), count(*) from read_parquet('{file}') group by s0"
            self.cost(f"reading 3 columns of it, {codec}", lambda sql=read: self.connection.sql(sql).fetchall())
            self.found[f"MB of it, {codec}"] = [file.stat().st_size / 1e6]
            file.unlink()

    def source(self, spec: TableSpec, former: PublishedTable | None, days: str | None = None) -> Source:
        """The table of the build as it is now."""
        rows = self.connection.execute(f"describe {spec.relation}").fetchall()
        return Source(spec, spec.relation, [(row[0], row[1]) for row in rows], former=former, days=days)

    def clients(self) -> None:
        """By changed rows: nothing, 1 %, 5 %, 20 % of the clients are other than before; then what reading costs."""
        layout = Layout(least_rows=1)
        published = self.cost("first publication, by rows", lambda: self._write(layout, None))
        for share, step in ((0, 0), (1, 100), (5, 20), (20, 5)):
            if step:
                change = f"update marts.client_metrics set n0 = n0 + 1 where hash(client_id, {share}) % {step} = 0"
                self.connection.execute(change)
            former = published
            published = self.cost(f"{share} % of the clients changed", lambda held=former: self._write(layout, held))
        for name, table in (("whole", None), ("with a quarter gone", published)):
            relation = "marts.client_metrics" if table is None else f"({view_sql(self.settings, table)})"
            if table is None:
                part = parts_dir(self.settings) / published.parts[0].path
                relation = parquet_list([part])
            sums = f"select s0, sum(d0), sum(n0), count(*) from {relation} as t group by s0"
            self.cost(f"reading 3 columns, {name}", lambda sql=sums: self.connection.sql(sql).fetchall())
            one = f"select * from {relation} as t where client_id = 'cffffffffffffffffffff'"
            self.cost(f"reading one client, {name}", lambda sql=one: self.connection.sql(sql).fetchall())

    def _write(self, layout: Layout, former: PublishedTable | None) -> PublishedTable:
        return write_table(self.settings, self.connection, self.source(SPEC, former), layout)

    def months(self) -> None:
        """A fact by month: the first time, and with one day of one month touched."""
        first = self.cost("fact, first publication", lambda: self._facts(None, None))
        scan = "select sum(quantity), sum(amount), sum(revenue), sum(discount), max(client_id), max(ordered_on), max(line_kind)"
        files = parquet_list(parts_dir(self.settings) / part.path for part in first.parts)
        self.cost("S: one scan of seven columns", lambda: self.connection.sql(f"{scan} from {files}").fetchall())
        self.connection.execute("update marts.lines set amount = amount + 1 where ordered_on = date '2017-12-01'")
        self.connection.execute("create or replace table days as select date '2017-12-01' as business_date")
        self.cost("fact, one month touched, all months hashed", lambda: self._facts(first, None))
        for part in (parts_dir(self.settings) / "lines").glob("2017-12-*"):
            if part.name not in {Path(one.path).name for one in first.parts}:
                part.unlink()
        self.cost("fact, one month touched, the build says which", lambda: self._facts(first, "days"))
        self.connection.execute("update marts.lines set amount = amount - 1 where ordered_on = date '2017-12-01'")

    def _facts(self, former: PublishedTable | None, days: str | None) -> PublishedTable:
        return write_parts(self.settings, self.connection, self.source(FACTS, former, days))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
