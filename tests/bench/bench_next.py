"""The next product for very many clients: CPU and memory of a day's proposals, and that memory does not grow with them.

    .perennial/env/bin/python tests/bench/bench_next.py 100000 1000000

Orders are drawn here as /bench/gen.py draws theirs (BG/NBD purchasing: pace ~ Gamma(.6, 45 days), dropout after an
order ~ Beta(.7, 5); 1 + geometric lines an order, 2.1 on average; products Zipf 1.05 within 5,000), over the year that
proposals look at. Half of a client's lines are of ten favourites of their own, else nothing would repeat. The model is
trained on a sample of the clients; then proposals are made chunk by chunk, from a Parquet file by DuckDB, as
`pipeline.next_steps` makes them. Each size is a fresh process; prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from measuring import PYTHON, cost_of, environment

AS_OF, DAYS, PRODUCTS, BLOCK = date(2025, 12, 31), 449, 5000, 100_000
SHARE_OF_FAVOURITES, LINES_OF_TRAINING = 0.5, 1_500_000


def main() -> None:
    """Print one line per number of clients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--one", type=Path, help="(of the program itself) measure this file")
    arguments = parser.parse_args()
    if arguments.one:
        sys.stdout.write(json.dumps(measured(arguments.one)) + "\n")
        return
    sys.stdout.write("| clients | lines | proposals | training CPU s | proposals CPU s | us a client | peak MB |\n")
    sys.stdout.write("|---:|---:|---:|---:|---:|---:|---:|\n")
    for clients in arguments.clients:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.parquet"
            lines = write_lines(path, clients)
            found = cost_of([PYTHON, __file__, "--one", str(path)], environment()).data()
        each = 1e6 * found["propose"] / found["clients"]
        sys.stdout.write(
            f"| {found['clients']:,} | {lines:,} | {found['rows']:,} | {found['train']:.1f} | {found['propose']:.1f} "
            f"| {each:.0f} | {found['peak_mb']:.0f} |\n"
        )
        sys.stdout.flush()


def write_lines(path: Path, clients: int) -> int:
    """Lines of so many clients, block by block."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, rows = None, 0
    for start in range(0, clients, BLOCK):
        table = pa.table(block(start, min(BLOCK, clients - start)))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        rows += table.num_rows
    if writer:
        writer.close()
    return rows


def block(start: int, clients: int) -> dict[str, Any]:
    """Columns of fct_order_lines of clients who order within the DAYS up to AS_OF."""
    import numpy as np

    random = np.random.default_rng([7, start])
    pace, dropout = random.gamma(0.6, 1 / 45, clients), random.beta(0.7, 5, clients)
    when, who = [random.random(clients) * DAYS], [np.arange(clients)]
    alive, now = np.arange(clients), when[0].copy()
    while len(alive):
        now = now + random.exponential(1, len(alive)) / np.maximum(pace[alive], 1e-12)
        kept = now < DAYS
        alive, now = alive[kept], now[kept]
        when.append(now)
        who.append(alive)
        kept = random.random(len(alive)) >= dropout[alive]
        alive, now = alive[kept], now[kept]
    client, day = np.concatenate(who), np.concatenate(when)
    sizes = 1 + np.minimum(random.geometric(0.48, len(client)) - 1, 19)
    client, day = np.repeat(client, sizes), np.repeat(day, sizes)
    weights = np.cumsum(1 / np.arange(1, PRODUCTS + 1) ** 1.05)
    item = np.searchsorted(weights / weights[-1], random.random(len(client)))
    favourites = np.searchsorted(weights / weights[-1], random.random((clients, 10)))
    own = random.random(len(client)) < SHARE_OF_FAVOURITES
    item[own] = favourites[client[own], random.integers(0, 10, int(own.sum()))]
    first = np.datetime64(AS_OF) - DAYS
    return {
        "client_id": np.char.mod("c%015x", (client + start) * 2654435761 % 2**40),
        "product_key": np.char.mod("p%04d", item),
        "line_kind": np.full(len(client), "sale"),
        "ordered_on": first + 1 + day.astype(np.int64),
        "cancelled_on": np.full(len(client), np.datetime64("NaT", "D")),
        "revenue": random.lognormal(2.5, 0.6, len(client)).round(2),
        "units": np.ones(len(client)),
    }


class OfFile:
    """Order lines of a Parquet file, read as the published ones are."""

    def __init__(self, path: Path) -> None:
        import duckdb

        self.connection = duckdb.connect(
            config={"memory_limit": "1GB", "threads": 2, "temp_directory": str(path.parent)}
        )
        self.connection.execute(f"create view fct_order_lines as select * from read_parquet('{path}')")

    def query(self, sql: str, params: Any = None) -> Any:
        """The whole result."""
        return self.connection.sql(sql, params=params).to_arrow_table()

    def batches(self, sql: str, params: Any, rows: int) -> Iterator[Any]:
        """The result in batches."""
        with self.connection.sql(sql, params=params).to_arrow_reader(rows) as reader:
            yield from reader

    def register(self, name: str, data: Any) -> None:
        """A temporary relation."""
        self.connection.register(name, data)


def measured(path: Path) -> dict[str, float]:
    """CPU seconds of training and of all proposals, rows, clients, and the peak of memory."""
    import numpy as np
    import pyarrow as pa

    from perennial.contracts.next_steps import CLIENT_NEXT_PRODUCTS
    from perennial.pipeline.next_steps import CHUNK_LINES
    from perennial.scoring.next_product.history import chunks_of, known_items, lines_of
    from perennial.scoring.next_product.scorer import table_of
    from perennial.scoring.next_product.training import days_needed, lines_from, train_products
    from perennial.scoring.next_product.words import Names
    from perennial.scoring.threads import one_thread

    reader = OfFile(path)
    count = reader.query("select count(*) as n from fct_order_lines").column("n")[0].as_py()
    started = time.process_time()
    share = min(1.0, LINES_OF_TRAINING / count)
    batches = lines_of(reader, AS_OF, level="product", days=days_needed(28), share=share)
    lines = lines_from(pa.Table.from_batches(list(batches)))
    trained = train_products(lines, as_of=AS_OF, horizon_days=28, level="product", seed=1)
    if trained.scorer is None:
        raise SystemExit(trained.refused)
    train, keys = time.process_time() - started, trained.scorer.item_keys()
    names = Names(keys, keys, pa.nulls(len(keys), pa.string()), np.full(len(keys), -1))
    known_items(reader, keys)
    view = trained.scorer.view(AS_OF, keys)
    rows = clients = 0
    started = time.process_time()
    with one_thread():
        for history in chunks_of(lines_of(reader, AS_OF, level="product", rows=CHUNK_LINES, known=True)):
            made = trained.scorer.propose(history, view, names)
            rows += table_of(made, history.clients, names, AS_OF, "m", CLIENT_NEXT_PRODUCTS).num_rows
            clients += len(history.clients)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"train": train, "propose": time.process_time() - started, "rows": rows, "clients": clients, "peak_mb": peak}


if __name__ == "__main__":
    main()
