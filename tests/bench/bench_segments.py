"""Segments of a million clients: one scan into bits against a query per segment, on DuckDB and PostgreSQL (G14).

    .perennial/env/bin/python tests/bench/bench_segments.py [--clients 1000000] [--rounds 3] [--engine duckdb]

Random rules as ../shared/bench/c_gen.py has them: 2 to 4 terms over metrics, scores and attributes, a quarter of them
with an alternative. A query per segment writes its clients into a table of its own, from one table that holds all
columns; the one scan is the product's own, over the same table, and once more over metrics, attributes and scores as
they are published, which it joins first. CPU seconds are those of the process, and of the server's processes for
PostgreSQL; medians of interleaved rounds after one that warms up. Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from measuring import REPOSITORY, median, say, say_machine, say_table

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

import duckdb  # noqa: E402 - after the path of the package
import pyarrow as pa  # noqa: E402

from perennial.contracts.targeting import Segment  # noqa: E402
from perennial.targeting.catalogue import METRICS, SCORES_TABLE  # noqa: E402
from perennial.targeting.config import Targeting  # noqa: E402
from perennial.targeting.rules import compile_rule  # noqa: E402
from perennial.targeting.scan import Known, Scan, known_of  # noqa: E402
from perennial.targeting.session import make_table  # noqa: E402

AS_OF = date(2026, 1, 1)
Measured = tuple[float, float]
_COLUMNS = """
    'c' || lpad(to_hex(i), 15, '0') as client_id,
    date '2026-01-01' as as_of_date,
    cast(hash(i, 1) % 700 as bigint) as recency_days,
    cast(1 + hash(i, 2) % 12 as bigint) as orders_365d,
    cast((hash(i, 3) % 90000) / 100.0 as decimal(18, 4)) as revenue_365d,
    cast((hash(i, 4) % 20000) / 100.0 as decimal(18, 4)) as revenue_90d,
    cast((hash(i, 5) % 20000) / 100.0 as decimal(18, 4)) as average_order_365d,
    cast(hash(i, 6) % 6 as bigint) as departments_180d,
    (hash(i, 7) % 1000) / 5000.0 as return_rate_365d
"""
_ATTRIBUTES = """
    ['DE','FR','ES','IT','PL','NL','SE','PT','AT','BE'][cast(hash(i, 8) % 10 as integer) + 1] as country,
    ['none','bronze','silver','gold'][cast(hash(i, 9) % 4 as integer) + 1] as tier,
    ['m','f','x'][cast(hash(i, 10) % 3 as integer) + 1] as gender,
    cast(18 + hash(i, 11) % 63 as bigint) as age,
    ['web','app','store','phone'][cast(hash(i, 12) % 4 as integer) + 1] as signup_channel,
    hash(i, 13) % 10 < 7 as has_email
"""
_SCORES = {"churn_risk": "(hash(i, 14) % 100000) / 100000.0", "value_90d": "(hash(i, 15) % 100000) / 100.0"}


def rules(count: int, seed: int = 11) -> list[str]:
    """So many random rules, the same every time."""
    pick = random.Random(seed)
    some: list[Callable[[], str]] = [
        lambda: f"recency_days <= {pick.choice([7, 14, 30, 60, 90, 180])}",
        lambda: f"recency_days > {pick.choice([30, 60, 90, 180, 365])}",
        lambda: f"orders_365d >= {pick.choice([2, 3, 5, 8])}",
        lambda: f"revenue_365d >= {pick.choice([50, 100, 200, 500])}",
        lambda: f"revenue_90d > {pick.choice([0, 25, 100])}",
        lambda: f"average_order_365d between {pick.choice([10, 20, 30])} and {pick.choice([60, 90, 150])}",
        lambda: f"churn_risk >= {pick.choice([0.3, 0.5, 0.7])}",
        lambda: f"value_90d >= {pick.choice([100, 300, 500])}",
        lambda: f"country in ('DE', 'FR', '{pick.choice(['ES', 'IT', 'PL'])}')",
        lambda: f"tier in ('gold', '{pick.choice(['silver', 'bronze'])}')",
        lambda: f"age between {pick.choice([18, 25, 30])} and {pick.choice([45, 55, 65])}",
        lambda: f"gender = '{pick.choice(['m', 'f'])}'",
        lambda: f"departments_180d >= {pick.choice([2, 3, 4])}",
        lambda: f"return_rate_365d < {pick.choice([0.05, 0.1])}",
        lambda: f"signup_channel <> '{pick.choice(['web', 'phone'])}'",
    ]
    made = []
    for _ in range(count):
        rule = " and ".join(term() for term in pick.sample(some, pick.randint(2, 4)))
        if pick.random() < 0.25:
            rule = f"({rule}) or ({pick.choice(some)()} and tier = 'gold' and has_email)"
        made.append(rule)
    return made


def tables(clients: int) -> dict[str, pa.Table]:
    """`everything` is one table of all columns; the other three are as they are published."""
    rows = f"from range({clients}) as r(i)"
    wide = ", ".join(f"{sql} as {name}" for name, sql in _SCORES.items())
    scores = " union all ".join(
        f"select 'c' || lpad(to_hex(i), 15, '0') as client_id, date '2026-01-01' as as_of_date, '{name}' as score, "
        f"{sql} as value {rows}"
        for name, sql in _SCORES.items()
    )
    with duckdb.connect() as connection:
        return {
            "everything": connection.sql(f"select {_COLUMNS}, {_ATTRIBUTES}, {wide} {rows}").to_arrow_table(),
            "client_metrics": connection.sql(f"select {_COLUMNS} {rows}").to_arrow_table(),
            "dim_clients": connection.sql(
                f"select 'c' || lpad(to_hex(i), 15, '0') as client_id, {_ATTRIBUTES} {rows}"
            ).to_arrow_table(),
            "client_scores": connection.sql(scores).to_arrow_table(),
        }


class _Duck:
    """DuckDB with tables of its own, as fast as a table can be read."""

    def __init__(self, given: dict[str, pa.Table], folder: Path) -> None:
        self._connection = duckdb.connect(str(folder / "clients.duckdb"), config={"threads": 2})
        for name, table in given.items():
            self._connection.register("arriving", table)
            self._connection.execute(f"create table {name} as select * from arriving")
        self._tables = list(given)

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        described = {name: self._connection.execute(f"describe {name}").fetchall() for name in self._tables}
        return {name: [(row[0], row[1]) for row in rows] for name, rows in described.items()}

    def query(self, sql: str, params: Any = ()) -> pa.Table:
        return self._connection.sql(sql, params=params or None).to_arrow_table()

    def execute(self, sql: str, params: Any = ()) -> None:
        self._connection.execute(sql, params or None).fetchall()

    def register(self, name: str, table: pa.Table) -> None:
        self._connection.register(name, table)


@contextmanager
def _session(engine: str, given: dict[str, pa.Table], folder: Path) -> Iterator[tuple[Any, Callable[[], float]]]:
    """A session and a clock of CPU seconds."""
    if engine == "duckdb":
        yield _Duck(given, folder), time.process_time
        return
    from bench_postgres import Server, _tune

    from factories.databases import running_postgres
    from factories.rule_sessions import postgres_session

    with running_postgres() as postgres:
        server = Server(postgres)
        _tune(server)
        with postgres_session(postgres, folder, given) as session:
            yield session, lambda: time.process_time() + server.cpu()


def _targeting(texts: list[str], known: Known) -> Targeting:
    segments = tuple(Segment(id=f"s{n}", description="", where=text) for n, text in enumerate(texts))
    compiled = {
        one.id: compile_rule(one.where, catalogue=known.catalogue, segments=(), where=one.id, prefix=one.id)
        for one in segments
    }
    return Targeting(segments, (), None, compiled, {})  # type: ignore[arg-type]


def _joined(session: Any) -> Known:
    return known_of(session, {n: c for n, c in session.tables().items() if n != "everything"}, AS_OF)


def _one_scan(session: Any, texts: list[str], *, joined: bool) -> Callable[[], None]:
    known = _joined(session)
    if not joined:  # all names in the one table
        known = known_of(session, {METRICS: session.tables()["everything"]}, AS_OF)
        names = {name: type(one)(one.kind, METRICS) for name, one in known.catalogue.names.items()}
        known = Known(AS_OF, known.tables, type(known.catalogue)(names), {})
    plan = Scan(_targeting(texts, known), known).statement([], [], columns=())
    select = plan.select
    if not joined:
        select = select.replace(
            f"from {METRICS} as m left join dim_clients as d on d.client_id = m.client_id", "from everything as m"
        )
    assert joined == (SCORES_TABLE in select)
    return lambda: make_table(session, "t_bits", select, plan.params)


def _queries(session: Any, texts: list[str]) -> Callable[[], None]:
    def run() -> None:
        for number, text in enumerate(texts):
            make_table(session, f"t_own_{number}", f"select client_id from everything where {text}")

    return run


def _measured(do: Callable[[], None], clock: Callable[[], float]) -> Measured:
    before, started = clock(), time.perf_counter()
    do()
    return clock() - before, time.perf_counter() - started


def _report(engine: str, clients: int, rounds: int, *, warm_up: bool) -> None:
    with tempfile.TemporaryDirectory() as name, _session(engine, tables(clients), Path(name)) as (session, clock):
        cases = {
            "50 queries": _queries(session, rules(50)),
            "50 segments, one scan of the one table": _one_scan(session, rules(50), joined=False),
            "50 segments, one scan with its joins": _one_scan(session, rules(50), joined=True),
            "200 segments, one scan of the one table": _one_scan(session, rules(200), joined=False),
            "200 segments, one scan with its joins": _one_scan(session, rules(200), joined=True),
        }
        found: dict[str, list[Measured]] = {case: [] for case in cases}
        for turn in range(rounds + warm_up):
            for case, do in cases.items():
                measured = _measured(do, clock)
                if turn >= warm_up:
                    found[case].append(measured)
                    say(f"<!-- {case}: {measured[0]:.2f} CPU s, {measured[1]:.2f} s -->")
        say(f"{engine}, {clients:,} clients:\n")
        first = median(cpu for cpu, _ in found["50 queries"])
        base = median(wall for _, wall in found["50 queries"])
        rows = [
            (case, median(c for c, _ in ms), median(w for _, w in ms), median(c for c, _ in ms) / first,
             median(w for _, w in ms) / base)
            for case, ms in found.items()
        ]  # fmt: skip
        say_table(("case", "CPU s", "wall s", "CPU ratio", "wall ratio"), rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-warm-up", action="store_true", help="count the first round too")
    parser.add_argument("--engine", choices=["duckdb", "postgresql"], action="append")
    args = parser.parse_args()
    say_machine(args.rounds)
    for engine in args.engine or ["duckdb", "postgresql"]:
        _report(engine, args.clients, args.rounds, warm_up=not args.no_warm_up)


if __name__ == "__main__":
    main()
