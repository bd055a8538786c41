from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from perennial.commands import output


@dataclass
class Record:
    day: date
    amount: Decimal


def test_json_has_iso_dates_numbers_and_nulls_for_what_is_no_number(capsys):
    moment = datetime.fromisoformat("2017-10-01T12:00:00")
    output.print_json({1: Record(date(2017, 10, 1), Decimal("1.5")), "at": moment, "x": [float("nan"), Path("a"), "é"]})
    text = capsys.readouterr().out
    assert "é" in text
    assert json.loads(text) == {
        "1": {"day": "2017-10-01", "amount": 1.5},
        "at": "2017-10-01T12:00:00",
        "x": [None, "a", "é"],
    }


@pytest.mark.parametrize("rows", [[], [{"a": 1}], [{"a": 1}, {"a": None}]])
def test_rows_are_one_json_list(rows, capsys):
    output.print_json_rows(iter(rows))
    assert json.loads(capsys.readouterr().out) == rows


def test_a_table_without_a_terminal_is_aligned_text_with_numbers_to_the_right(capsys):
    rows = [("newsletter", 1234, Decimal("10.5"), True), ("[red]x", 7, None, False)]
    output.print_table(("campaign", "target", "value", "due"), rows, title="Today")
    assert capsys.readouterr().out.splitlines() == [
        "Today",
        "campaign    target  value  due",
        "----------  ------  -----  ---",
        "newsletter   1,234  10.50  yes",
        f"{'[red]x':10}  {'7':>6}  {'':5}  no",
    ]


def test_an_empty_table_shows_its_columns_and_a_cell_stays_on_its_line_and_whole(capsys):
    output.print_table(("a",), [])
    assert capsys.readouterr().out == "a\n-\n"
    output.print_table(("a",), [["x" * 100], ["two\nlines\x1b[31m"]])
    lines = capsys.readouterr().out.splitlines()
    assert [len(line) for line in lines[2:]] == [100, 14]
    assert "\x1b" not in "".join(lines)


def test_a_date_is_read_or_refused():
    assert output.day("2017-10-01") == date(2017, 10, 1)
    with pytest.raises(argparse.ArgumentTypeError, match="write it as 2017-10-01"):
        output.day("yesterday")


def test_a_path_is_shown_from_where_the_person_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output.relative(tmp_path / "a" / "b") == "a/b"
    assert output.relative(Path("/elsewhere")) == "/elsewhere"


@pytest.fixture
def on_terminal(monkeypatch):
    """Prints a table on a pseudo-terminal of a width; gives what appears on it."""

    def show(width: int, columns, rows) -> str:
        main, secondary = os.openpty()
        with os.fdopen(secondary, "w") as terminal, os.fdopen(main, "rb") as screen:
            monkeypatch.setattr(sys, "stdout", terminal)
            monkeypatch.setenv("COLUMNS", str(width))
            monkeypatch.setenv("TERM", "dumb")
            output.print_table(columns, rows)
            terminal.flush()
            return os.read(screen.fileno(), 10_000).decode()

    return show


def test_on_a_terminal_only_the_last_column_is_wrapped_and_markup_is_text(on_terminal):
    shown = on_terminal(50, ("campaign", "refused by"), [("[bold]newsletter", "no_consent 469, withdrawn 121, cap 3")])
    assert "[bold]newsletter" in shown
    assert len(shown.splitlines()) > 4
    for word in ("no_consent", "469,", "withdrawn", "121,"):
        assert word in shown


def test_a_table_that_is_too_wide_for_the_terminal_is_printed_whole(on_terminal):
    columns = [f"column_{number}" for number in range(20)]
    shown = on_terminal(60, columns, [[f"value_{number}" for number in range(20)]])
    assert all(column in shown for column in columns)
    assert "…" not in shown
