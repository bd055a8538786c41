"""G24, landing to checked raw: CSV lines of the reference generator against DuckDB's own CSV to Parquet; memory by size.

    export PERENNIAL_REFERENCE=../shared
    .perennial/env/bin/python tests/bench/bench_ingest.py                          # 1,000,000 clients: 8.6M lines
    .perennial/env/bin/python tests/bench/bench_ingest.py --clients 100000 --rounds 5
    .perennial/env/bin/python tests/bench/bench_ingest.py --memory 0.116,1.16,5.8  # millions of clients, once each

One CSV file of sale lines lands (order, client, product, time, quantity, price, channel, category), one line in 10,000 is
bad. Measured are the CPU seconds of fresh processes, Python's start and imports included, in interleaved rounds:
`without gate` and `with gate` are `pipeline.ingest.ingest`; the bare read is one COPY with the columns told and zstd,
and once more with nothing told. `ingest_landed` takes any landing folder, also one with Parquet from a database.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from measuring import PYTHON, REPOSITORY, Cost, cost_of, cpu, environment, interleaved, say, say_machine, say_table

TYPES = {
    "order_id": "varchar",
    "customer_id": "varchar",
    "product_id": "varchar",
    "sold_at": "timestamp",
    "quantity": "decimal(18,4)",
    "unit_price": "decimal(18,4)",
    "channel": "varchar",
    "category": "varchar",
}
CONTRACT: dict[str, Any] = {
    "entity": "order_lines",
    "path": "shop/sales_*.csv",
    "business_date": "ordered_at",
    "columns": {
        "order_key": {"source": "order_id", "pattern": "[0-9]{1,20}"},
        "client_key": "customer_id",
        "product_key": "product_id",
        "ordered_at": "sold_at",
        "quantity": {"source": "quantity", "min": -1000, "max": 1000},
        "unit_price": {"source": "unit_price", "min": 0, "max": 1000000},
        "store_key": {"source": "channel", "allowed": ["web", "app", "store", "phone"]},
        "product_name": "category",
    },
    "line_kinds": [{"kind": "return", "column": "quantity", "below": 0}],
    "negative_quantity_kinds": ["return"],
}
_ONE_BAD_IN = 10_000


def main() -> None:
    """Prepare once, measure in rounds, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="", help="millions of clients, with commas: peak memory only")
    parser.add_argument("--folder", type=Path, help="where the data are made; a temporary one when absent")
    parser.add_argument("--inside", choices=sorted(INSIDE), help="used by this program itself, in a fresh process")
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(INSIDE[arguments.inside]()))  # noqa: T201 - read by the process above
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.memory:
            report_memory(Path(folder), [round(float(one) * 1_000_000) for one in arguments.memory.split(",")])
        else:
            report_cost(Path(folder), arguments.clients, arguments.rounds)


def report_cost(folder: Path, clients: int, rounds: int) -> None:
    """The table of G24."""
    say_machine(rounds)
    home = make_home(folder, clients)
    found = interleaved(
        {
            "bare": lambda: inside("bare", home),
            "guessed": lambda: inside("guessed", home),
            "without gate": lambda: ingest_landed(home, folder / "work", "ingest_without_gate"),
            "with gate": lambda: ingest_landed(home, folder / "work", "ingest"),
        },
        rounds,
    )
    said = found["with gate"][0].data()
    bare, guessed = cpu(found["bare"]), cpu(found["guessed"])
    say(f"{said['landed']:,} lines, {said['quarantined']:,} of them bad.\n")
    rows = [(name, cpu(costs), cpu(costs) / bare, cpu(costs) / guessed) for name, costs in found.items()]
    say_table(("what", "CPU s", "x bare", "x guessed"), rows)


def report_memory(folder: Path, sizes: list[int]) -> None:
    """Peak memory of an ingestion with the gate at several sizes, the smallest first."""
    say_machine()
    rows = []
    for clients in sizes:
        home = make_home(folder, clients)
        said = ingest_landed(home, folder / "work", "ingest").data()
        rows.append((f"{said['landed']:,}", f"{said['peak_mb']:,}", float(said["cpu"])))
        shutil.rmtree(home)
    say_table(("lines", "peak MB", "CPU s"), rows)


def make_home(folder: Path, clients: int) -> Path:
    """A home folder with one landed CSV of the generator's sales, and its config beside it."""
    import duckdb

    home, made = folder / "home", folder / "sales.parquet"
    landing = home / "landing" / "shop"
    landing.mkdir(parents=True)
    generator = Path(os.environ["PERENNIAL_REFERENCE"]) / "bench" / "gen.py"
    cost_of([PYTHON, str(generator.resolve()), str(clients), str(made)], environment(), cwd=folder)
    price = f"case when hash(order_id, product_id, ts) % {_ONE_BAD_IN} = 0 then 'x' else unit_price::decimal(18,2)::varchar end"
    with duckdb.connect() as connection:
        connection.execute(f"set memory_limit = '2GB'; set temp_directory = '{folder}'")
        connection.execute(f"""
            copy (
                select
                    order_id, customer_id, product_id, strftime(ts, '%Y-%m-%dT%H:%M:%SZ') as sold_at, quantity,
                    {price} as unit_price, channel, category
                from read_parquet('{made}')
            ) to '{landing}/sales_1.csv' (header)
        """)
    made.unlink()
    write_config(folder / "config", CONTRACT)
    return home


def write_config(config: Path, contract: dict[str, Any]) -> None:
    """A config folder with one source of one entity."""
    config.mkdir(exist_ok=True)
    shop = {"description": "bench", "owner": "bench", "dag": "ingest_sales", "namespace": "shop", "settle_seconds": 0}
    sources = {"version": 1, "sources": {"shop": {**shop, "entities": {"sales": contract}}}}
    (config / "sources.yml").write_text(yaml.safe_dump(sources, sort_keys=False))
    shutil.copy(REPOSITORY / "config" / "perennial.yml", config)


def ingest_landed(home: Path, work: Path, how: str) -> Cost:
    """Ingest what lies in a home's landing zone, in a copy of it by hard links: the files themselves stay."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(home, work, copy_function=os.link)
    return inside(how, work)


def inside(name: str, home: Path) -> Cost:
    """Run a function of INSIDE in a fresh process; the config folder lies beside the home."""
    config = str(home.parent / "config")
    return cost_of([PYTHON, __file__, "--inside", name], environment(home, PERENNIAL_CONFIG=config))


# ---- inside a fresh process ----


def inside_ingest() -> dict[str, float]:
    """Landing to raw, with the gate."""
    sys.path.insert(0, str(REPOSITORY / "plugins"))
    from perennial.core.settings import load_settings
    from perennial.pipeline.ingest import ingest

    reports = ingest(load_settings(), "shop")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "landed": sum(report.landed for report in reports),
        "loaded": sum(report.loaded for report in reports),
        "quarantined": sum(report.quarantined for report in reports),
        "peak_mb": used.ru_maxrss // 1024,
        "cpu": used.ru_utime + used.ru_stime,
    }


def inside_ingest_without_gate() -> dict[str, float]:
    """The same, where great-expectations is not asked."""
    sys.path.insert(0, str(REPOSITORY / "plugins"))
    from perennial.quality.gate import Gate, Verdict

    Gate.judge = lambda *_args, **_names: Verdict(refused=False)  # type: ignore[method-assign]
    return inside_ingest()


def inside_bare() -> dict[str, float]:
    """DuckDB's own CSV to Parquet with the columns told; the bad lines are left out."""
    return _copied(f", auto_detect = false, delim = ',', quote = '\"', ignore_errors = true, columns = {TYPES}")


def inside_guessed() -> dict[str, float]:
    """The same with nothing told."""
    return _copied(", ignore_errors = true")


def _copied(told: str) -> dict[str, float]:
    import duckdb

    with tempfile.TemporaryDirectory() as out, duckdb.connect() as connection:
        path = Path(os.environ["PERENNIAL_HOME"]) / "landing" / "shop" / "sales_1.csv"
        scan = f"read_csv('{path}', header = true{told})"
        row = connection.execute(f"copy (select * from {scan}) to '{out}/o.parquet' (compression zstd)").fetchone()
    return {"rows": row[0] if row else 0}


INSIDE = {
    "bare": inside_bare,
    "guessed": inside_guessed,
    "ingest": inside_ingest,
    "ingest_without_gate": inside_ingest_without_gate,
}


if __name__ == "__main__":
    main()
