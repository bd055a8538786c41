import csv
import hashlib
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.delivery import files
from perennial.delivery.files import CsvStyle, read_keys, write_files

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
    return write_files(folder, SCHEMA, batches, formats, csv=CsvStyle(**style))


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
    assert (
        text
        == '"client_id","action","first_name","value"\n"c0","add","say ""hi"", then go",0.00\n"c1","add","\'=1",1.00\n'
    )


def test_old_tools_get_their_encoding_and_delimiter_and_lost_characters_are_counted(tmp_path):
    csv_file, _ = written(tmp_path, [batch(["Жанна; и", "né", "🙂"])], encoding="cp1251", delimiter=";")
    assert [row[2] for row in read_csv(tmp_path / "list.csv", "cp1251", ";")[1:]] == ["Жанна; и", "n?", "?"]
    assert csv_file.as_json()["replaced_characters"] == 2
    assert pq.read_table(tmp_path / "list.parquet").column("first_name")[2].as_py() == "🙂"


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
