"""Judge the scores on a data set of your own: figures beside baselines, with plots, as HTML and Markdown.

perennial backtest config/backtests/online_retail_ii.yml --data FOLDER
perennial backtest my_shop.yml --data FOLDER --task churn --out report --keep /tmp/my_shop

The data set is a YAML file (config/backtests/ has examples; docs/cookbook.md says how to write one). Transactions go
through the product's own chain in an empty home: landing files, gate, dbt features as of each cut, training on what
came before the cut. Nothing of the home of this installation is read or changed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.pipeline.backtest import Written


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("dataset", nargs="?", type=Path, help="the YAML file that describes the data set")
    parser.add_argument("--data", type=Path, help="the folder of its files (default: where the YAML lies)")
    parser.add_argument("--task", action="append", default=[], metavar="TASK", help="judge this one; may be repeated")
    parser.add_argument("--out", type=Path, help="where the report is written (default: backtest-NAME)")
    parser.add_argument("--keep", type=Path, help="keep what was read and built here; a second run starts from it")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of a data set's YAML, and end")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and print its tables. Raises ConfigError and BatchRefused with what is wrong, where and how."""
    from perennial.contracts.backtests import dataset_schema, nearest_task, read_dataset
    from perennial.core.errors import ConfigError, Problem

    if args.schema:
        output.print_json(dataset_schema())
        return 0
    if args.dataset is None:
        raise ConfigError(Problem("perennial backtest", "no data set is named", "see config/backtests/ for examples"))
    tasks = [nearest_task(task) for task in args.task]
    out = args.out or Path(f"backtest-{read_dataset(args.dataset).name}")

    from perennial.pipeline.backtest import backtest

    folder = args.data or args.dataset.parent
    written = backtest(args.dataset, data=folder, out=out, tasks=tasks, keep=args.keep, command=_command(args))
    if args.json:
        from perennial.pipeline.backtesting.report import as_data

        output.print_json(as_data(written.report))
    else:
        _print(written)
    return 0 if written.report.has_figures else 1


def _command(args: argparse.Namespace) -> str:
    """The command as it can be given again, without folders of this machine."""
    words = ["perennial", "backtest", args.dataset.name]
    words += ["--data", "FOLDER"] if args.data else []
    words += [word for task in args.task for word in ("--task", task)]
    return shlex.join(words)


def _print(written: Written) -> None:
    from perennial.pipeline.backtesting.report import cells_of, findings, header_of, heading_of

    report = written.report
    output.print_table(["", ""], list(report.counts.items()), title=report.title)
    for note in (*report.notes, *report.unjudged):
        print(f"- {output.plain_text(note)}")
    for judged in report.judged:
        print()
        if judged.rows:
            rows = [cells_of(judged, row) for row in judged.rows]
            output.print_table(header_of(judged), rows, title=heading_of(judged))
        else:
            print(heading_of(judged))
        for sentence in findings(judged):
            print(f"- {output.plain_text(sentence)}")
    if not report.has_figures:
        sys.stderr.write("nothing could be judged; the sentences above say why\n")
    print(f"\n{output.relative(written.html)}\n{output.relative(written.markdown)}")
