"""Ask the published warehouse a question. It reads what was published after its tests passed, and changes nothing.

perennial sql "from ledger_batches"
perennial sql "select lifecycle_stage, count(*) from client_metrics group by 1"
perennial sql "show tables"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_SHOWN = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("query", help="one statement that reads")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects on stdout")
    form.add_argument("--csv", action="store_true", help="CSV on stdout, its texts safe to open in a spreadsheet")
    parser.add_argument(
        "--limit", type=_count, metavar="N", help=f"at most N rows (tables: {_ROWS_SHOWN}; JSON and CSV: all)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the rows, as they come."""
    from perennial.core.settings import load_settings
    from perennial.warehouse.engine import run_sql

    reader = run_sql(load_settings(), args.query)
    if args.csv:
        _print_csv(reader, args.limit)
    elif args.json:
        output.print_json_rows(islice(_rows(reader), args.limit))
    else:
        _print_table(reader, _ROWS_SHOWN if args.limit is None else args.limit)
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _rows(reader: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    for batch in reader:
        yield from batch.to_pylist()


def _print_table(reader: pa.RecordBatchReader, limit: int) -> None:
    rows = [list(row.values()) for row in islice(_rows(reader), limit + 1)]
    output.print_table(reader.schema.names, rows[:limit])
    if len(rows) > limit:
        print(f"... and more: --limit shows more than {limit} rows")


def _print_csv(reader: pa.RecordBatchReader, limit: int | None) -> None:
    from pyarrow import csv

    from perennial.delivery.formulas import safe_batch

    options = csv.WriteOptions(quoting_style="needed")
    with csv.CSVWriter(sys.stdout.buffer, reader.schema, write_options=options) as writer:
        for batch in reader:
            part = batch if limit is None else batch.slice(0, limit)
            writer.write_batch(safe_batch(part))
            limit = None if limit is None else limit - part.num_rows
