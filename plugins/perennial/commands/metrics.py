"""What a metric means: name, unit, formula in words, window, source columns, how to read it.

perennial metrics list
perennial metrics list --headlines
perennial metrics show revenue_365d
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.contracts.metrics import Metric


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("what", choices=["list", "show"], help="list: every metric, the headlines first; show: one")
    parser.add_argument("name", nargs="?", help="of show: the column of client_metrics, such as revenue_365d")
    parser.add_argument("--headlines", action="store_true", help="of list: the twelve headlines alone")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print one metric, or a line for each. Raises ConfigError when the dictionary is wrong or has no such metric."""
    from perennial.contracts.metrics import metric_dictionary
    from perennial.core.settings import load_settings

    metrics = sorted(metric_dictionary(load_settings().dbt_project_dir), key=lambda metric: not metric.is_headline)
    if args.what == "show":
        _show(_named(metrics, args.name or ""), as_json=args.json)
    else:
        _list([metric for metric in metrics if metric.is_headline or not args.headlines], as_json=args.json)
    return 0


def _named(metrics: list[Metric], name: str) -> Metric:
    import difflib

    from perennial.core.errors import ConfigError, Problem

    found = next((metric for metric in metrics if metric.name == name), None)
    if found is None:
        near = difflib.get_close_matches(name, [metric.name for metric in metrics], n=3, cutoff=0.5)
        fix = f"did you mean {' or '.join(near)}?" if near else "`perennial metrics list` names them"
        raise ConfigError(Problem("metrics", f"no metric is called {name!r}", fix))
    return found


def _list(metrics: list[Metric], *, as_json: bool) -> None:
    if as_json:
        output.print_json([_fields(metric) for metric in metrics])
        return
    rows = [[metric.name, metric.label, metric.unit, "headline" if metric.is_headline else ""] for metric in metrics]
    output.print_table(["metric", "label", "unit", ""], rows)


def _show(metric: Metric, *, as_json: bool) -> None:
    if as_json:
        output.print_json(_fields(metric))
        return
    fields = _fields(metric)
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:<{width}}  {', '.join(value) if isinstance(value, tuple | list) else value}")


def _fields(metric: Metric) -> dict[str, object]:
    fields = dataclasses.asdict(metric)
    path = fields.pop("path")
    return {**fields, "is_headline": "yes" if metric.is_headline else "no", "file": path.name}
