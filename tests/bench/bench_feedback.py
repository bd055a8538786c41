"""What it costs to take feedback in: one event a webhook, ten thousand in one, and addresses that were not known before.

    python tests/bench/bench_feedback.py 30000 1000000

The store of contacts has so many clients, each with an e-mail address and a phone number; the first event makes the book.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "plugins")]
os.environ["PERENNIAL_CLOCK"] = "2017-10-01T12:00:00+00:00"

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from factories import exports, published  # noqa: E402
from perennial.delivery.tools.records import FeedbackEvent  # noqa: E402
from perennial.pipeline.feedback import Intake  # noqa: E402
from perennial.warehouse.private import contacts_file  # noqa: E402

AT = datetime(2017, 10, 1, 9, tzinfo=UTC)


def event(number: int, kind: str, address: str) -> FeedbackEvent:
    """One event of a list of ours."""
    return FeedbackEvent(f"{kind}-{number}-{address}", kind, AT, address, "news__email")


def measure(folder: Path, clients: int) -> None:
    """Print the figures of a store of so many clients."""
    settings = exports.settings_with(folder, published.card("news", channels=["email"]))
    run = exports.planned_day(settings, [exports.person("c0")], [exports.target("news", "c0")])
    columns = {
        "client_id": [f"c{number:015x}" for number in range(clients)],
        "first_name": ["A"] * clients,
        "last_name": ["B"] * clients,
        "email": [f"user.{number}@example.com" for number in range(clients)],
        "phone": [f"+1{number:010d}" for number in range(clients)],
        "birth_date": pa.array([None] * clients, pa.date32()),
    }
    pq.write_table(pa.table(columns), contacts_file(settings, run.run_id), compression="zstd")
    intake = Intake(settings)

    def seconds(*events: FeedbackEvent) -> float:
        started = time.perf_counter()
        intake.take_in("outbox", events, came_by="webhook")
        return time.perf_counter() - started

    book = seconds(event(0, "open", "user.1@example.com"))
    single = [seconds(event(n, "unsubscribe", f"user.{n * 37 % clients}@example.com")) for n in range(1, 40)]
    many = seconds(*(event(number, "open", f"user.{number}@example.com") for number in range(10_000)))
    seconds(*(event(number, "unsubscribe", f"later.{number}@example.com") for number in range(100)))
    started = time.perf_counter()
    intake.settle()
    settled = time.perf_counter() - started
    sys.stdout.write(
        f"{clients:>9,} clients: book {book:.2f} s, one event {1000 * statistics.median(single):.0f} ms "
        f"(slowest {1000 * max(single):.0f}), 10,000 in one body {many:.2f} s, 100 unknown addresses {settled:.2f} s\n"
    )


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as place:
            measure(Path(place), int(argument))
