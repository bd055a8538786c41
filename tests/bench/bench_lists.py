"""G16 and G17: what lists of many rows cost, and what the difference to yesterday costs.

    .perennial/env/bin/python tests/bench/bench_lists.py [--rows 1000000] [--rounds 3]

G16: one list as the product writes it (formula-safe, private, with checksum, keys and fsync) against DuckDB's own COPY
of the same query, both with one thread, in fresh processes; imports are not counted on either side.
G17: what is new in a list of which 5 % changed since yesterday: by the row hash that the ledger keeps, against a full
join of all columns with yesterday's list; and the bytes that are handed over, against those of the changed rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from measuring import PYTHON, REPOSITORY, cost_of, environment, interleaved, median, say, say_machine, say_table

sys.path.insert(0, str(REPOSITORY / "plugins"))

CHANGED_SHARE = 20  # one in so many rows
_COPY = {
    "csv": "(format csv, header)",
    "parquet": "(format parquet, compression zstd)",
    "jsonl": "(format json)",
}
_LIST = """
select
    'c' || substr(md5(i::varchar), 1, 15) as client_id, 'add' as action, (100000 + i)::varchar as client_key,
    'user' || i || '@example.com' as email,
    ['Anna', 'John', 'Жанна', 'Émile', 'Li', 'Bob-Lee', null][1 + i % 7] as first_name,
    ['GROCERY', 'DRUG GM', 'PRODUCE', 'MEAT, FISH', 'DELI'][1 + i % 5] as main_department_365d,
    'fruit ' || (i % 100 + {shift}) as next_product, '10 off the next basket' as offer_text, 'COMEBACK' as offer_code,
    date '2017-10-22' as valid_until, (hash(i) % 100000 / 100.0)::decimal(18, 2) as value, md5(i || 'x') as row_hash
from range({rows}) as t(i)
"""
_COLUMNS = [
    "client_key",
    "email",
    "first_name",
    "main_department_365d",
    "next_product",
    "offer_text",
    "offer_code",
    "valid_until",
    "value",
]


def main() -> None:
    """Make the lists, run every case in rounds, tell the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        say(json.dumps(_measured(given.case, given.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder), given.rows)
        _tell(Path(folder), given.rounds)


def _make(folder: Path, rows: int) -> None:
    import duckdb

    con = duckdb.connect()
    con.execute(f"copy ({_LIST.format(rows=rows, shift=0)}) to '{folder}/today.parquet' (format parquet)")
    changed = f"case when i % {CHANGED_SHARE} = 0 then 1 else 0 end"
    con.execute(f"copy ({_LIST.format(rows=rows, shift=changed)}) to '{folder}/yesterday.parquet' (format parquet)")


def _tell(folder: Path, rounds: int) -> None:
    cases = [f"{how} {kind}" for kind in (*_COPY, "csv+parquet") for how in ("copy", "ours")]
    cases = [case for case in cases if case != "copy csv+parquet"] + ["hash", "join", "bytes"]

    def child(case: str):
        command = [PYTHON, __file__, "--case", case, "--folder", str(folder)]
        return lambda: cost_of(command, environment())

    found = interleaved({case: child(case) for case in cases}, rounds)
    cpu = {case: median(cost.data()["cpu"] for cost in costs) for case, costs in found.items()}
    memory = {case: max(cost.data()["peak_mb"] for cost in costs) for case, costs in found.items()}
    say_machine(rounds)
    copied = {kind: cpu[f"copy {kind}"] for kind in _COPY}
    copied["csv+parquet"] = copied["csv"] + copied["parquet"]
    say_table(
        ("list", "COPY, CPU s", "ours, CPU s", "ratio", "ours, peak MB"),
        [(k, v, cpu[f"ours {k}"], cpu[f"ours {k}"] / v, memory[f"ours {k}"]) for k, v in copied.items()],
    )
    sent = found["bytes"][0].data()
    say_table(
        ("difference to yesterday, 5 % changed", "CPU s", "of the full join"),
        [(case, cpu[case], cpu[case] / cpu["join"]) for case in ("join", "hash")],
    )
    say(f"bytes handed over / bytes of the changed rows alone: {sent['sent'] / sent['changed']:.3f}")


def _measured(case: str, folder: Path) -> dict[str, float]:
    import duckdb
    import pyarrow as pa

    pa.set_cpu_count(1)
    con = duckdb.connect()
    con.execute("set threads = 1")
    how, _, kind = case.partition(" ")
    target = Path(tempfile.mkdtemp(dir=folder))
    try:
        more = _run(con, how, kind, folder, target)
    finally:
        shutil.rmtree(target)
    return {**more, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _run(con, how: str, kind: str, folder: Path, target: Path) -> dict[str, float]:
    today = f"select * from '{folder}/today.parquet'"
    if how == "copy":
        return _timed(lambda: con.execute(f"copy ({today}) to '{target}/list' {_COPY[kind]}"))
    if how == "ours":
        return _timed(_writing(con, today, kind.split("+"), target))
    if how == "bytes":
        return _bytes(con, folder, target)
    for name in ("today", "yesterday"):
        con.execute(f"create temp table {name} as select * exclude (row_hash) from '{folder}/{name}.parquet'")
    hashed = _hash_sql()
    con.execute(f"create temp table accepted as select client_id, {hashed} as row_hash from yesterday")
    if how == "hash":
        new = f"(select client_id, {hashed} as row_hash from today) as t full join accepted as a using (client_id)"
        query = f"select count(*) filter (where t.row_hash is distinct from a.row_hash) from {new}"
    else:
        different = " or ".join(f"t.{name} is distinct from y.{name}" for name in _COLUMNS)
        query = f"select count(*) filter (where {different}) from today as t full join yesterday as y using (client_id)"
    return _timed(lambda: con.execute(query).fetchall())


def _hash_sql() -> str:
    """The hash that the product keeps of a row, by its own SQL."""
    from perennial.delivery.rows import _hash

    spec = SimpleNamespace(salt="a salt of the bench")
    return _hash(spec, [name for name in _COLUMNS if name != "value"])


def _writing(con, query: str, formats: list[str], target: Path):
    from perennial.delivery.files import write_files
    from perennial.delivery.files_text import CsvStyle

    def write():
        reader = con.sql(query).to_arrow_reader(100_000)
        return write_files(target, reader.schema, reader, formats, csv=CsvStyle())

    return write


def _bytes(con, folder: Path, target: Path) -> dict[str, float]:
    """The CSV of the changed rows as the product hands them over, and as COPY writes the same rows."""
    both = f"'{folder}/today.parquet' as t join '{folder}/yesterday.parquet' as y using (client_id)"
    new = f"select t.* from {both} where t.next_product <> y.next_product"
    cost = _timed(_writing(con, new, ["csv"], target))
    con.execute(f"copy (select * exclude (row_hash) from ({new})) to '{target}/copied.csv' (format csv, header)")
    return {**cost, "sent": (target / "list.csv").stat().st_size, "changed": (target / "copied.csv").stat().st_size}


def _timed(do) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    do()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


if __name__ == "__main__":
    main()
