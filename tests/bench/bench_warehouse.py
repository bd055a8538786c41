"""The warehouse: a full build and a day's change against one scan of history (G1, G6 to G8 of the goals).

    .perennial/env/bin/python tests/bench/bench_warehouse.py --sales tx_100k.parquet             # one round
    .perennial/env/bin/python tests/bench/bench_warehouse.py --sales tx_1m.parquet --rounds 3
    .perennial/env/bin/python tests/bench/bench_warehouse.py --rounds 3                          # what is fixed alone

`--sales` is what ../shared/bench/gen.py wrote. Its returns become documents of their own; the new day is the last one
moved by a day, under new order keys, 3 % of it by new clients and 2 % of it late by up to thirty days. All is built by
`pipeline.build.build`, tests included, each time in a fresh process on a copy of a home; what is subtracted as fixed is
the same on a home without a line. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from measuring import (
    PYTHON,
    REPOSITORY,
    Cost,
    cost_of,
    cpu,
    environment,
    interleaved,
    say,
    say_machine,
    say_table,
    wall,
)

sys.path.insert(0, str(REPOSITORY / "plugins"))  # for what is prepared in this process

LAST_DAY, NEW_DAY = date(2025, 12, 31), date(2026, 1, 1)
_LINES = """
    select
        case when quantity < 0 then 'R' || hash(order_id, ts, product_id) else cast(order_id as varchar) end as order_key,
        cast(customer_id as varchar) as client_key, cast(product_id as varchar) as product_key, ts as ordered_at,
        cast(quantity as decimal(18, 4)) as quantity, cast(unit_price as decimal(18, 4)) as unit_price,
        cast(quantity * unit_price as decimal(18, 4)) as amount, cast(null as decimal(18, 4)) as discount_amount,
        channel as store_key, cast(null as varchar) as product_name, cast(null as varchar) as country,
        case when quantity < 0 then 'return' else 'sale' end as line_kind,
        cast(quantity * cost as decimal(18, 4)) as cost_amount,
        'c' || substr(md5('household|' || customer_id), 1, 15) as client_ref, 'shop' as _source,
        '{batch}' as _batch_id, {seq} as _batch_seq, 'shop/{batch}.csv' as _file, row_number() over () + 1 as _line,
        {known_on} as _business_date, cast(null as varchar) as _version, false as _deleted,
        100 as _precedence, cast(null as varchar) as _extra
    from ({rows})
"""
_NEW_DAY = """
    select
        case when hash(customer_id, 77) % 100 < 3 then customer_id + 100000000 else customer_id end as customer_id,
        order_id + (1::bigint << 50) as order_id,
        ts + interval 1 day - case when hash(order_id, 5) % 100 < 2 then 1 + hash(order_id, 6) % 30 else 0 end
            * interval 1 day as ts,
        product_id, category, quantity, unit_price, cost, channel
    from {sales} where ts >= timestamp '2025-12-31' and quantity > 0
"""


def main() -> None:
    """Prepare once, measure in rounds, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sales", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--inside", choices=["scan", "full", "change"])
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(_inside(arguments.inside, arguments.sales)))  # noqa: T201 - read by the process above
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.sales is None:
            report_fixed(Path(folder), arguments.rounds)
        else:
            report(Path(folder), arguments.sales.resolve(), arguments.rounds)


def report(folder: Path, sales: Path, rounds: int) -> None:
    """One table."""
    say_machine(rounds)
    homes = {name: _home(folder / name, sales if name == "history" else None) for name in ("history", "nothing")}
    lines = {name: _land(home, sales if name == "history" else None, later=True) for name, home in homes.items()}
    cases = {"scan": partial(_child, "scan", homes["history"], sales)}
    for name, home in homes.items():
        cases[f"full {name}"] = partial(_on_copy, "full", home)
        cases[f"change {name}"] = partial(_on_copy, "change", home)
    found = interleaved(cases, rounds)
    scan = median_scan(found["scan"])
    say(f"{lines['history']} new lines; one scan S = {scan:.3f} CPU s.\n")
    rows = []
    for what in ("full", "change"):
        whole, fixed = cpu(found[f"{what} history"]), cpu(found[f"{what} nothing"])
        rows.append([what, f"{whole:.2f}", f"{fixed:.2f}", f"{whole - fixed:.2f}", f"{(whole - fixed) / scan:.1f} S"])
    say_table(["build", "CPU s", "of which fixed", "work", "against a scan"], rows)
    _say_slowest(found)


def report_fixed(folder: Path, rounds: int) -> None:
    """What a build costs on a home without a line: dbt's start, its nodes and tests."""
    say_machine(rounds)
    home = _home(folder / "nothing", None)
    _land(home, None, later=True)
    cases = {what: partial(_on_copy, what, home) for what in ("full", "change")}
    found = interleaved(cases, rounds)
    say_table(
        ["build without a line", "CPU s", "wall s"], [[what, cpu(found[what]), wall(found[what])] for what in cases]
    )


def median_scan(costs: list[Cost]) -> float:
    """CPU seconds of the scan itself, told from within."""
    return float(sorted(cost.data()["seconds"] for cost in costs)[len(costs) // 2])


def _say_slowest(found: dict[str, list[Cost]]) -> None:
    for what in ("full", "change"):
        seconds, fixed = (found[f"{what} {name}"][0].data() for name in ("history", "nothing"))
        over = {name: value - fixed.get(name, 0) for name, value in seconds.items()}
        slowest = sorted(over.items(), key=lambda pair: -pair[1])[:12]
        say(f"\nSeconds of the {what} build by model: " + ", ".join(f"{name} {value:.2f}" for name, value in slowest))


def _child(what: str, home: Path, sales: Path | None = None) -> Cost:
    command = [PYTHON, __file__, "--inside", what, *(["--sales", str(sales)] if sales else [])]
    return cost_of(command, environment(home))


def _on_copy(what: str, home: Path) -> Cost:
    """In the home as it was prepared, at its own place: dbt parses its project again for another path."""
    kept = home.with_suffix(".kept")
    if not kept.exists():
        shutil.copytree(home, kept)
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    return _child(what, home)


def _home(home: Path, sales: Path | None) -> Path:
    """A home whose history is landed and built."""
    _land(home, sales, later=False)
    _child("full", home)
    return home


def _settings(home: Path) -> Any:
    from perennial.core.settings import load_settings

    return load_settings({"PERENNIAL_HOME": str(home)})


def _land(home: Path, sales: Path | None, *, later: bool) -> int:
    """Write a batch as ingestion would have, and open its day."""
    import duckdb

    settings = _settings(home)
    batch, day = ("new_day", NEW_DAY) if later else ("history", LAST_DAY)
    path = settings.raw / "order_lines" / f"{batch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"read_parquet('{sales}')" if sales else _no_sales()
    rows = _NEW_DAY.format(sales=source) if later else f"select * from {source}"
    known_on = f"date '{NEW_DAY}'" if later else "cast(ts as date)"
    with duckdb.connect() as connection:
        select = _LINES.format(batch=batch, seq=2 if later else 1, rows=rows, known_on=known_on)
        connection.execute(f"copy ({select}) to '{path}' (format parquet, compression zstd)")
        [(count,)] = connection.execute(f"select count(*) from '{path}'").fetchall()
    _record(settings, batch, day, count)
    return int(count)


def _no_sales() -> str:
    types = "customer_id bigint, order_id bigint, ts timestamp, product_id int, category varchar, quantity int, "
    names = types + "unit_price double, cost double, channel varchar"
    casts = ", ".join(f"cast(null as {pair.split()[1]}) as {pair.split()[0]}" for pair in names.split(", "))
    return f"(select {casts} where false)"


def _record(settings: Any, batch: str, day: date, rows: int) -> None:
    import sqlalchemy as sa

    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import last_run, open_run
    from perennial.ledger.tables import batches

    engine = open_ledger(settings)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(batches).values(
                batch_id=batch, source="shop", source_entity="sales", entity="order_lines", as_of=day, state="committed",
                landed=rows, loaded=rows, raw_path=f"raw/order_lines/{batch}.parquet", warnings=[], reasons=[],
                first_business_date=date(2020, 1, 1) if day == LAST_DAY else day, last_business_date=day,
                quarantined_by_rule={}, recorded_at=datetime(2026, 1, 1) + timedelta(hours=1),
            )
        )  # fmt: skip
    before = last_run(engine)
    open_run(engine, day, (*(before.batch_ids if before else ()), batch), "config")


def _inside(what: str, sales: Path | None) -> dict[str, float]:
    """In the fresh process: CPU seconds of the scan, or seconds by model of a build."""
    if what == "scan":
        return {"seconds": _scan(sales)}
    import os

    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import last_run
    from perennial.pipeline.build import build

    settings = _settings(Path(os.environ["PERENNIAL_HOME"]))
    run = last_run(open_ledger(settings))
    assert run is not None
    return build(settings, run, full=what == "full").seconds


def _scan(sales: Path | None) -> float:
    import time

    import duckdb

    with duckdb.connect() as connection:
        columns = "max(customer_id), max(order_id), max(ts), max(category), sum(quantity), sum(unit_price), sum(cost)"
        connection.execute(f"select {columns} from '{sales}'").fetchall()
        started = time.process_time()
        connection.execute(f"select {columns} from '{sales}'").fetchall()
        return time.process_time() - started


if __name__ == "__main__":
    main()
