"""The line of every row is the line that a person finds in an editor, whatever stands in the file."""

from __future__ import annotations

import csv
import io

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories.landing_zone import DAY, HOUSEHOLDS, PRODUCTS, Zone, sale, sales
from perennial.sources.config import load_sources
from perennial.sources.inspection import inspect
from perennial.sources.landing import look
from perennial.sources.staging import open_scratch, stage

NAME = f"shop/products_{DAY}.csv"


def _plain_name(sources):
    sources["shop"]["entities"]["products"]["path"] = "shop/products_{date}.csv"


def _staged(zone: Zone, text: str | bytes):
    """What is read of the file: [(line, product_key, product_name)] and [(line, kind)] of what is not a row."""
    zone.land(NAME, text)
    contract = load_sources(zone.settings).sources["shop"].entities["products"]
    scratch = zone.home / "scratch"
    scratch.mkdir(exist_ok=True)
    [file] = look(zone.settings, "shop").ready["products"]
    inspected = inspect(zone.settings.landing / NAME, file, contract, scratch)
    assert inspected.problem is None, inspected.problem
    with open_scratch(scratch) as connection:
        [counted] = stage(connection, [inspected], contract)
        rows = connection.execute("select line, product_key, product_name from landed order by line").fetchall()
        rejected = connection.execute("select line, kind from rejected order by line").fetchall()
    for path in scratch.iterdir():
        path.unlink()
    assert counted.landed == len(rows) + len(rejected)
    return rows, rejected


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path, _plain_name)


def _row(key: str, name: str = "Milk") -> str:
    return f"{key},{name},D,C,B,1,1 L"


def test_rows_behind_rejected_lines_keep_their_own_line(zone):
    text = "\n".join([PRODUCTS, _row("p2"), "too,few", _row("p4"), "x", "y", _row("p7"), "z"]) + "\n"
    rows, rejected = _staged(zone, text)
    assert [(line, key) for line, key, _name in rows] == [(2, "p2"), (4, "p4"), (7, "p7")]
    assert rejected == [(3, "MISSING COLUMNS"), (5, "MISSING COLUMNS"), (6, "MISSING COLUMNS"), (8, "MISSING COLUMNS")]


def test_a_line_end_in_a_quoted_field_is_part_of_the_value_and_later_rows_keep_their_line(zone):
    text = "\n".join([PRODUCTS, _row("p2", '"two\nlines"'), "too,few", _row("p5", '"a\n\nb"'), _row("p8")]) + "\n"
    rows, rejected = _staged(zone, text)
    assert rows == [(2, "p2", "two\nlines"), (5, "p5", "a\n\nb"), (8, "p8", "Milk")]
    assert [line for line, _kind in rejected] == [4]


def test_blank_lines_are_no_rows_and_are_counted_as_lines(zone):
    rows, rejected = _staged(zone, "\n".join([PRODUCTS, "", _row("p3"), "", "", _row("p6"), "", ""]))
    assert [(line, key) for line, key, _name in rows] == [(3, "p3"), (6, "p6")]
    assert rejected == []


@pytest.mark.parametrize("ends", [["\r\n"], ["\r"], ["\r\n", "\n"], ["\n", "\r"]])
def test_every_kind_of_line_end_is_one_also_when_they_are_mixed(zone, ends):
    lines = [PRODUCTS, *(_row(f"p{i}") for i in range(2, 30))]
    text = "".join(line + ends[i % len(ends)] for i, line in enumerate(lines))
    rows, rejected = _staged(zone, text)
    assert [(line, key) for line, key, _name in rows] == [(i, f"p{i}") for i in range(2, 30)]
    assert rejected == []


def test_a_byte_order_mark_and_a_missing_last_line_end_are_accepted(zone):
    rows, _rejected = _staged(zone, ("\ufeff" + PRODUCTS + "\n" + _row("p2", "Käse")).encode())
    assert rows == [(2, "p2", "Käse")]


def test_an_unclosed_quotation_mark_swallows_the_rest_and_says_on_which_line_it_is(zone):
    rows, rejected = _staged(
        zone, "\n".join([PRODUCTS, _row("p2"), _row("p3", '"open'), _row("p4"), _row("p5")]) + "\n"
    )
    assert [(line, key) for line, key, _name in rows] == [(2, "p2")]
    assert rejected == [(3, "UNQUOTED VALUE")]


def test_empty_and_quoted_empty_values_and_columns_in_another_order_are_read_by_their_names(zone):
    header = ",".join(reversed(PRODUCTS.split(",")))
    rows, _rejected = _staged(zone, f'{header}\n1 L,1,B,C,D,"",p2\n1 L,1,B,C,D,,p3\n')
    assert rows == [(2, "p2", None), (3, "p3", None)]


CELLS = st.text(st.sampled_from("ab ,\"\n;'äЖ"), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.tuples(st.just("row"), CELLS), st.just(("short", "")), st.just(("blank", ""))), max_size=12)
)
def test_whatever_stands_in_the_cells_each_row_keeps_its_value_and_its_line(zone, pieces):
    out, wanted, bad = io.StringIO(newline=""), [], []
    csv.writer(out, lineterminator="\n").writerow(PRODUCTS.split(","))
    for number, (kind, cell) in enumerate(pieces):
        line = out.getvalue().count("\n") + 1
        if kind == "row":
            csv.writer(out, lineterminator="\n").writerow([f"p{number}", cell, "D", "C", "B", "1", "1 L"])
            wanted.append((line, f"p{number}", cell or None))
        elif kind == "short":
            out.write("too,few\n")
            bad.append(line)
        else:
            out.write("\n")
    rows, rejected = _staged(zone, out.getvalue())
    assert rows == wanted
    assert [line for line, _kind in rejected] == bad


def test_rows_of_several_large_files_keep_their_lines_also_where_references_are_looked_up(tmp_path):
    zone = Zone(tmp_path)
    zone.land(f"crm/households_{DAY}.csv", f"{HOUSEHOLDS}\n7,A,B,a@example.com,,,2017-01-01\n")
    zone.ingest("crm")
    for day, count in ((1, 3), (2, 150_000), (3, 2)):
        rows = (
            sale(day * 1_000_000 + n, 7 if n % 2 else 8, at="2017-10-01T12:00:00Z", quantity=n % 1000)
            for n in range(count)
        )
        zone.land(f"shop/sales_2017-10-0{day}.csv.gz", sales(*rows))
    assert zone.only("shop").guests == 75_000 + 2 + 1
    wrong = "count(*) filter (order_key::int % 1_000_000 + 2 <> _line), count(*), count(*) filter (quantity <> (_line - 2) % 1000)"
    with duckdb.connect() as connection:
        [path] = (zone.home / "raw" / "order_lines").glob("*.parquet")
        assert connection.execute(f"select {wrong} from read_parquet(?)", [str(path)]).fetchall() == [(0, 150_005, 0)]
