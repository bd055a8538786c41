"""Churn risk of very many clients with reasons: CPU and memory of a day's scores, and that memory does not grow.

    .perennial/env/bin/python tests/bench/bench_scoring.py 100000 1000000

A shop of 4,000 generated clients (`tests/factories/client_behaviour.py`) with its features, and others beside them up
to 40, is what a blend is trained on. Its clients of today, drawn again and again, are written to a Parquet file and
scored from there by DuckDB, chunk by chunk, as `pipeline.scores` does. Each size is a fresh process; prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from measuring import PYTHON, cost_of, environment

CLIENTS, FEATURES, CUTS = 4000, 40, (140, 154, 168, 182, 196, 210, 224, 252)


def main() -> None:
    """Print one line per number of clients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--one", type=int, help="(of the program itself) measure so many clients")
    arguments = parser.parse_args()
    if arguments.one:
        sys.stdout.write(json.dumps(measured(arguments.one)) + "\n")
        return
    sys.stdout.write("| clients x features | model | scores CPU s | reasons CPU s | us a client | peak MB |\n")
    sys.stdout.write("|---:|---|---:|---:|---:|---:|\n")
    for clients in arguments.clients:
        found = cost_of([PYTHON, __file__, "--one", str(clients)], environment()).data()
        each = 1e6 * (found["score"] + found["reasons"]) / clients
        sys.stdout.write(
            f"| {clients:,} x {found['features']} | {found['chosen']} | {found['score']:.1f} | {found['reasons']:.1f} "
            f"| {each:.0f} | {found['peak_mb']:.0f} |\n"
        )
        sys.stdout.flush()


def rows_of(cuts: list[int]) -> Any:
    """Features and labels of the shop at so many days after its start, with columns of chance up to FEATURES."""
    import numpy as np
    import pyarrow as pa

    from factories.client_behaviour import CHURN_LABEL, VALUE_LABEL, buy_and_stop, day, table

    rows = table(buy_and_stop(CLIENTS), [day(cut) for cut in cuts], value_days=60, known_until=280)
    random = np.random.default_rng(3)
    for number in range(FEATURES - (rows.num_columns - len(("client_id", "as_of_date", CHURN_LABEL, VALUE_LABEL)))):
        rows = rows.append_column(f"chance_{number}", pa.array(random.lognormal(0, 1, rows.num_rows)))
    return rows


def trained() -> tuple[Any, Any]:
    """A model of churn, and its clients of today."""
    from factories.client_behaviour import CHURN_LABEL, START, VALUE_LABEL, day
    from perennial.scoring.features import feature_schema
    from perennial.scoring.frames import frame_of
    from perennial.scoring.tasks import ChurnTask
    from perennial.scoring.training import train

    rows, today = rows_of(list(CUTS)), rows_of([280])
    schema, task = feature_schema(rows.schema, without=(CHURN_LABEL, VALUE_LABEL)), ChurnTask(28)
    labelled = frame_of(rows, schema, START, label=task.label)
    return train(task, labelled, frame_of(today, schema, START), schema, as_of=day(280), seed=1), today


def write_clients(path: Path, today: Any, clients: int) -> None:
    """So many rows of today's, drawn block by block, each with an id of its own."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random, writer = np.random.default_rng(9), None
    for start in range(0, clients, 100_000):
        ids = np.arange(start, min(start + 100_000, clients))
        block = today.take(pa.array(random.integers(0, today.num_rows, len(ids))))
        block = block.set_column(0, "client_id", pa.array(np.char.mod("c%012d", ids)))
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(block)
    if writer:
        writer.close()


def measured(clients: int) -> dict[str, Any]:
    """CPU seconds of scores and of reasons, the peak of memory from training to the last chunk, what was chosen."""
    import duckdb

    from factories.client_behaviour import START, day
    from perennial.ledger.cards import StoredCard
    from perennial.pipeline.scores import CHUNK_ROWS, _score_chunk, _Used
    from perennial.scoring.reasons import Explainer

    made, today = trained()
    if made.scorer is None:
        raise SystemExit(made.refused)
    stored = StoredCard("churn_risk-bench", "churn_risk", day(280), "champion", "-", made.card)
    bare, full = _Used(stored, made.scorer, None), _Used(stored, made.scorer, Explainer(made.scorer, currency="USD"))
    spent = {"score": 0.0, "both": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clients.parquet"
        write_clients(path, today, clients)
        connection = duckdb.connect(config={"memory_limit": "1GB", "threads": 1, "temp_directory": folder})
        with connection.sql(f"from read_parquet('{path}')").to_arrow_reader(CHUNK_ROWS) as reader:
            for batch in reader:
                for name, model in (("score", bare), ("both", full)):
                    started = time.process_time()
                    _score_chunk(model, batch, START)
                    spent[name] += time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"score": spent["score"], "reasons": spent["both"] - spent["score"], "peak_mb": peak}
    return {**figures, "features": len(made.scorer.feature_names), "chosen": made.card["chosen"]}


if __name__ == "__main__":
    main()
