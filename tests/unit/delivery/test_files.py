import csv
import hashlib
import json
import math
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.delivery import files, files_xlsx
from perennial.delivery.files import read_keys, read_outcomes, write_files
from perennial.delivery.files_text import CsvStyle

SCHEMA = pa.schema(
    [
        ("client_id", pa.string()),
        ("action", pa.string()),
        ("first_name", pa.string()),
        ("value", pa.decimal128(18, 2)),
        ("row_hash", pa.string()),
    ]
)


def batch(names, start=0):
    rows = [
        {"client_id": f"c{n}", "action": "add", "first_name": name, "value": Decimal(n), "row_hash": "h"}
        for n, name in enumerate(names, start)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def written(folder, batches, formats=("csv", "parquet"), **style):
    folder.mkdir(exist_ok=True)
    return write_files(folder, SCHEMA, batches, formats, csv=CsvStyle(**style)).files


def read_csv(path, encoding="utf-8", delimiter=","):
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@settings(deadline=None)
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), min_size=1, max_size=5))
def test_a_csv_reader_gets_back_every_cell_and_parquet_has_the_real_values(shared, names):
    folder = shared / hashlib.sha256(repr(names).encode()).hexdigest()
    if not folder.exists():
        written(folder, [batch(names)])
    cells = [row[2] for row in read_csv(folder / "list.csv")[1:]]
    assert [cell in (name, f"'{name}") for cell, name in zip(cells, names, strict=True)] == [True] * len(names)
    assert pq.read_table(folder / "list.parquet").column("first_name").to_pylist() == names


def test_L2_the_bytes_do_not_depend_on_how_the_rows_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP_ROWS", 4)
    names = [f"name {n}" for n in range(11)]
    whole = written(tmp_path / "whole", [batch(names)])
    pieces = written(tmp_path / "pieces", [batch(names[:1]), batch(names[1:7], 1), batch([]), batch(names[7:], 7)])
    assert [file.rows for file in whole] == [11, 11]
    assert [file.sha256 for file in pieces] == [file.sha256 for file in whole]
    assert pq.read_metadata(tmp_path / "pieces" / "list.parquet").num_row_groups == 3


def test_lines_end_with_a_line_feed_and_numbers_are_not_quoted(tmp_path):
    written(tmp_path, [batch(['say "hi", then go', "=1"])])
    text = (tmp_path / "list.csv").read_bytes().decode()
    assert text == 'client_id,action,first_name,value\nc0,add,"say ""hi"", then go",0.00\nc1,add,\'=1,1.00\n'


def test_old_tools_get_their_encoding_and_what_it_lacks_is_told_row_by_row_with_the_true_value(tmp_path):
    names = [batch(["Жанна; и"]), batch(["né", "🙂", None], 1)]
    changed, csv_file, _ = written(tmp_path, names, encoding="cp1251", delimiter=";")
    assert [row[2] for row in read_csv(tmp_path / "list.csv", "cp1251", ";")[1:]] == ["Жанна; и", "n?", "?", ""]
    assert (csv_file.changed_cells, csv_file.rows, changed.rows) == (2, 4, 2)
    assert read_csv(tmp_path / "changed.csv") == [
        ["file", "row", "client_id", "column", "value", "written"],
        ["list.csv", "2", "c1", "first_name", "né", "n?"],
        ["list.csv", "3", "c2", "first_name", "🙂", "?"],
    ]
    assert pq.read_table(tmp_path / "list.parquet").column("first_name")[2].as_py() == "🙂"


def test_L15_a_client_whose_address_the_encoding_lacks_is_refused_and_never_written_to_another_address(tmp_path):
    fields = ("client_id", "action", "email", "row_hash")
    schema = pa.schema([(name, pa.string()) for name in fields])
    rows = [
        ("c1", "add", "anna@example.com", "h1"),
        ("c2", "update", "жанна@пример.рф", "h2"),
        ("c3", "add", None, "h3"),
    ]
    batches = [pa.RecordBatch.from_pylist([dict(zip(fields, row, strict=True))], schema=schema) for row in rows]
    style = CsvStyle(encoding="iso-8859-1")
    found = write_files(tmp_path, schema, batches, ["csv", "xlsx", "jsonl", "parquet"], csv=style)
    assert (found.rows, found.refused) == (2, {"update": 1})
    assert [row[0] for row in read_csv(tmp_path / "list.csv", "iso-8859-1")[1:]] == ["c1", "c3"]
    outcomes = pa.Table.from_batches(read_outcomes(tmp_path, "list.parquet")).to_pylist()
    assert [(one["client_id"], one["action"], one["state"]) for one in outcomes] == [
        ("c1", "add", "accepted"),
        ("c3", "add", "accepted"),
        ("c2", "update", "rejected"),
    ]
    assert "encoding" in outcomes[2]["reason"]
    assert not (tmp_path / "changed.csv").exists()


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a"], [None, None], ["", "x"], ["=1", "=1"], ['"', "\n"]])
def test_a_column_that_is_the_same_in_every_row_is_written_as_one_that_is_not(tmp_path, names):
    written(tmp_path, [batch(names)], formats=["csv", "jsonl"])
    apart = tmp_path / "apart"
    apart.mkdir()
    write_files(apart, SCHEMA, [batch(names), batch(["other"], 2)], ["csv", "jsonl"], csv=CsvStyle())
    for name, lines in (("list.csv", 3), ("list.jsonl", 2)):
        whole, more = (tmp_path / name).read_text(), (apart / name).read_text()
        assert more.startswith(whole)
        assert whole.count("\n") >= lines


KINDS = pa.schema(
    [
        ("client_id", pa.string()),
        ("action", pa.string()),
        ("text", pa.string()),
        ("amount", pa.decimal128(18, 2)),
        ("share", pa.float64()),
        ("orders", pa.int64()),
        ("is_new", pa.bool_()),
        ("due_on", pa.date32()),
        ("row_hash", pa.string()),
    ]
)


def of_kinds(*rows):
    values = [("c%d" % number, "add", *row, "h") for number, row in enumerate(rows)]  # noqa: UP031
    return pa.RecordBatch.from_pylist([dict(zip(KINDS.names, row, strict=True)) for row in values], schema=KINDS)


ROWS = [
    ("=1+1", Decimal("12.50"), 0.25, 3, True, date(2017, 10, 1)),
    ("007", Decimal("-0.01"), -1e300, -3, False, date(1800, 1, 1)),
    (None, None, None, None, None, None),
    ("x" * 40_000, Decimal(0), float("nan"), 0, True, date(9999, 12, 31)),
    ("_x0041_ \x00 \ufffe 🙂", Decimal(1), float("inf"), 2**53, False, date(1900, 3, 1)),
]


def test_L23_a_workbook_has_text_as_text_dates_as_dates_and_numbers_as_numbers(tmp_path):
    from openpyxl import load_workbook
    from openpyxl.utils.escape import unescape

    found = write_files(tmp_path, KINDS, [of_kinds(*ROWS)], ["xlsx"], csv=CsvStyle()).files
    sheet = load_workbook(tmp_path / "list.xlsx")["list"]
    header, first, second, nothing, long, strange = list(sheet.iter_rows())
    assert [cell.value for cell in header] == [name for name in KINDS.names if name != "row_hash"]
    assert [cell.data_type for cell in first] == ["s", "s", "s", "n", "n", "n", "b", "d"]
    assert [cell.value for cell in first[2:]] == ["=1+1", 12.5, 0.25, 3, True, datetime(2017, 10, 1)]
    assert [cell.value for cell in second[2:]] == ["007", -0.01, -1e300, -3, False, "1800-01-01"]
    assert [cell.value for cell in nothing[2:]] == [None] * 6
    assert (long[2].value, long[4].value) == ("x" * 32_767, None)
    assert (unescape(strange[2].value), strange[4].value) == ("_x0041_ \x00 \ufffd 🙂", None)
    told = read_csv(tmp_path / "changed.csv")[1:]
    assert [row[:4] for row in told] == [["list.xlsx", "4", "c3", "text"], ["list.xlsx", "5", "c4", "text"]]
    assert told[0][4] == "x" * 40_000
    assert {file.name: file.changed_cells for file in found}["list.xlsx"] == 2
    assert (tmp_path / "list.xlsx").stat().st_mode & 0o777 == 0o600


def test_a_workbook_goes_on_in_another_sheet_when_one_is_full(tmp_path, monkeypatch):
    from openpyxl import load_workbook

    monkeypatch.setattr(files_xlsx, "ROWS_OF_A_SHEET", 2)
    written(tmp_path, [batch(["a", "b", "c", "d", "e"])], formats=["xlsx"])
    book = load_workbook(tmp_path / "list.xlsx")
    assert [[row[2].value for row in sheet.iter_rows()] for sheet in book] == [
        ["first_name", "a", "b"],
        ["first_name", "c", "d"],
        ["first_name", "e"],
    ]


def test_L2_a_workbook_of_the_same_rows_has_the_same_bytes(tmp_path):
    one, other = (written(tmp_path / name, [batch(["a", "b"])], formats=["xlsx"]) for name in ("one", "other"))
    assert [file.sha256 for file in one] == [file.sha256 for file in other]


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
            st.none() | st.decimals(-1000, 1000, places=2),
            st.none() | st.floats(),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.booleans(),
            st.none() | st.dates(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_json_lines_hold_the_real_values(shared, rows):
    folder = shared / hashlib.sha256(f"json {rows!r}".encode()).hexdigest()
    if not folder.exists():
        folder.mkdir()
        write_files(folder, KINDS, [of_kinds(*rows)], ["jsonl"], csv=CsvStyle())
    lines = (folder / "list.jsonl").read_bytes().decode().removesuffix("\n").split("\n")
    found = [json.loads(line, parse_float=Decimal, parse_constant=pytest.fail) for line in lines]
    for row, values in zip(rows, found, strict=True):
        text, amount, share, orders, is_new, due_on = row
        assert [values[name] for name in ("text", "orders", "is_new")] == [text, orders, is_new]
        assert values["amount"] == amount
        assert values["due_on"] == (due_on.isoformat() if due_on else None)
        finite = share is not None and math.isfinite(share)
        assert (None if values["share"] is None else float(values["share"])) == (share if finite else None)


def test_a_byte_order_mark_stands_once_at_the_beginning(tmp_path):
    written(tmp_path, [batch(["a"]), batch(["b"], 1)], encoding="utf-8-sig")
    data = (tmp_path / "list.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\xef\xbb\xbf") == 1


def test_files_are_readable_by_their_owner_alone_and_described_truly(tmp_path):
    for file in written(tmp_path, [batch(["a", "b"])]):
        path = tmp_path / file.name
        assert path.stat().st_mode & 0o777 == 0o600
        assert file.bytes == path.stat().st_size
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_list_without_parquet_keeps_its_keys_beside_the_csv(tmp_path):
    assert [file.name for file in written(tmp_path, [batch(["a", "b"])], formats=["csv"])] == [
        "keys.parquet",
        "list.csv",
    ]
    keys = [row for chunk in read_keys(tmp_path / "keys.parquet") for row in chunk.to_pylist()]
    assert keys == [{"client_id": f"c{n}", "action": "add", "row_hash": "h"} for n in range(2)]
