"""What commands print: JSON for machines, tables for people (rich on a terminal, aligned text elsewhere)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

_LEAST_WRAPPED = 20  # characters


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else, on stdout")


def day(text: str) -> date:
    """A date of the command line: YYYY-MM-DD, as a type of argparse."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write it as 2017-10-01") from None


def print_json(data: Any) -> None:
    """One JSON document: dates as ISO texts, decimals as numbers, records as objects, what is no number as null."""
    print(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def print_json_rows(rows: Iterable[dict[str, Any]]) -> None:
    """A JSON list with an object on each line, written as the rows come (L26)."""
    separator = "[\n"
    for row in rows:
        print(separator + json.dumps(_plain(row), ensure_ascii=False, allow_nan=False), end="")
        separator = ",\n"
    print("[]" if separator.startswith("[") else "\n]")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table for people; columns of numbers stand to the right, and only the last column is ever wrapped."""
    values = [list(row) for row in rows]
    numeric = [_is_numeric(row[index] for row in values) for index in range(len(columns))]
    cells = [[_shown(value) for value in row] for row in values]
    pretty = sys.stdout.isatty() and _fits(columns, cells)
    draw: Callable[..., None] = _rich_table if pretty else _plain_table
    draw(list(columns), cells, numeric, title)


def _fits(columns: Sequence[str], cells: list[list[str]]) -> bool:
    """Whether the terminal has room for all columns whole, but for the last, which may be wrapped."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    least = sum(widths[:-1]) + min(widths[-1], _LEAST_WRAPPED) + 2 * len(widths)
    return least <= shutil.get_terminal_size().columns


def _plain_table(columns: list[str], cells: list[list[str]], numeric: list[bool], title: str) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if title:
        print(title)
    for row in (columns, ["-" * width for width in widths], *cells):
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        print("  ".join(padded).rstrip())


def _rich_table(columns: list[str], cells: list[list[str]], numeric: list[bool], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for index, (column, right) in enumerate(zip(columns, numeric, strict=True), start=1):
        last = index == len(columns)
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold", no_wrap=not last)
    for row in cells:
        table.add_row(*map(Text, row))  # text as it is: a cell is never markup
    Console().print(table)


def _is_numeric(values: Iterable[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in known)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | Decimal):
        return f"{value:,.2f}"
    return plain_text(str(value))


def plain_text(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str) or value is None else str(value)


def relative(path: Path) -> str:
    """The path as seen from where the person stands, if it lies below; else the whole."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
