"""Excel sheets as rows of text: what a person sees in the cells is what is read."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time, timedelta

import pytest

from factories.landed_formats import products_zone, read, workbook

SUFFIX = ".xlsx"
HEAD = ["id", "name", "dep", "size"]


@pytest.fixture
def zone(tmp_path):
    return products_zone(tmp_path, SUFFIX, {"type": "excel"})


def test_cells_become_what_a_person_sees_and_rows_keep_their_number(zone):
    rows = [
        [*HEAD, None, "new"],
        [12345678901234, 1.10, True, date(2020, 1, 2)],
        [None] * 4,
        ["007", 0.1 + 0.2, datetime(2020, 1, 2), datetime(2020, 1, 2, 3, 4, 5), "beside", "x"],
        [1e300, -5, time(3, 4), timedelta(hours=30, minutes=5)],
        ["=1+1", "a\nb", " ", "'=cmd|x"],
    ]
    found = read(zone, SUFFIX, workbook(rows))
    assert found.rows[:2] == [
        (2, "12345678901234", "1.1", "true", "2020-01-02"),
        (4, "007", "0.3", "2020-01-02", "2020-01-02T03:04:05"),
    ]
    assert found.rows[2][2:] == ("-5", "03:04:00", "30:05:00")
    assert found.rows[2][1] == "1" + "0" * 300
    assert found.rows[3] == (6, None, "a\nb", None, "'=cmd|x")
    assert found.extra[1] == '{"column_E": "beside", "new": "x"}'
    assert found.found.header == ("id", "name", "dep", "size", "new")


def test_dates_are_written_as_the_contract_reads_them(tmp_path):
    columns = {"campaign_key": "id", "starts_on": "from"}

    def change(sources):
        sources["shop"]["entities"]["products"].update(
            entity="campaigns",
            path="shop/products_{date}.xlsx",
            format={"type": "excel", "date_format": "%d.%m.%Y"},
            columns=columns,
        )
        del sources["shop"]["entities"]["sales"]["references"]

    from factories.landing_zone import Zone

    zone = Zone(tmp_path, change)
    found = read(zone, SUFFIX, workbook([["id", "from"], ["a", date(2020, 1, 2)], ["b", "03.01.2020"]]))
    assert found.rows == [(2, "a", "02.01.2020"), (3, "b", "03.01.2020")]


def test_the_header_stands_where_the_contract_says(tmp_path):
    zone = products_zone(tmp_path, SUFFIX, {"type": "excel", "header_row": 3})
    found = read(zone, SUFFIX, workbook([["Report of today"], [], HEAD, ["a"] * 4]))
    assert found.rows == [(4, "a", "a", "a", "a")]


def test_a_header_in_another_row_is_found_and_told(zone):
    found = read(zone, SUFFIX, workbook([["Report of today"], [], HEAD, ["a"] * 4]))
    assert found.problem.message == "the names of the columns stand in row 3, not in row 1"
    assert found.problem.fix == "set `header_row: 3` in sources.yml"


def test_merged_cells_hold_their_value_all_over(zone):
    rows = [HEAD, ["a", "m", "x", "1"], ["b", None, "y", "2"], ["c", "other", "z", "3"]]
    found = read(zone, SUFFIX, workbook(rows, merged=("B2:B3",)))
    assert [row[2] for row in found.rows] == ["m", "m", "other"]


def test_a_sheet_is_named_and_the_nearest_is_proposed(tmp_path):
    zone = products_zone(tmp_path, SUFFIX, {"type": "excel", "sheet": "Artikel"})
    assert read(zone, SUFFIX, workbook([HEAD, ["a"] * 4], sheet="Artikel")).keys == [(2, "a")]
    problem = read(zone, SUFFIX, workbook([HEAD], sheet="Artikeln")).problem
    assert "there is no sheet 'Artikel'; the workbook has 'Artikeln' -> did you mean 'Artikeln'?" in str(problem)


def test_two_cells_far_apart_end_the_reading_process_and_nothing_else(zone, monkeypatch):
    import openpyxl

    monkeypatch.setattr("perennial.sources.formats.excel.MEMORY_LIMIT", 1 << 30)
    book = openpyxl.Workbook()
    book.active["A1"] = "id"
    book.active["XFD1048576"] = "x"
    out = io.BytesIO()
    book.save(out)
    found = read(zone, SUFFIX, out.getvalue())
    assert found.problem.message == "the workbook is damaged, or takes more than 3 GiB of memory to read"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"id,name\n1,2\n", "not a whole workbook"),
        (b"PK\x03\x04" + b"junk" * 50, "not a whole workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"1" * 600, "not a whole workbook"),
        (workbook([HEAD, ["a"] * 4])[:2000], "not a whole workbook"),
        (workbook([]), "the sheet has no row 1"),
        (workbook([["id", "name", "dep"]]), "column size is missing"),
        (workbook([[*HEAD, "id"]]), "the header has id twice"),
    ],
)
def test_L23_what_is_no_workbook_of_this_shape_is_told(zone, content, told):
    assert told in str(read(zone, SUFFIX, content).problem)


def test_a_workbook_that_unpacks_beyond_the_limit_is_a_bomb(tmp_path):
    zone = products_zone(tmp_path, SUFFIX, {"type": "excel", "max_unpacked_bytes": 1_000_000})
    bomb = io.BytesIO(workbook([HEAD]))
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/picture.png", bytes(1_000_001))
    assert len(bomb.getvalue()) < 20_000
    found = read(zone, SUFFIX, bomb.getvalue())
    assert "it unpacks to more than 1,000,000 bytes" in found.problem.message


def test_L1_a_row_with_an_error_in_a_column_of_the_contract_is_set_aside_with_the_error_and_the_others_are_read(zone):
    rows = [[*HEAD, "note"], ["a", "#N/A", "d", 1], ["b", "n", "d", 2, "#REF!"], [], ["c", "n", "#DIV/0!", "#NUM!"]]
    found = read(zone, SUFFIX, workbook(rows))
    assert found.rows == [(3, "b", "n", "d", "2")]
    assert found.extra == ['{"note": "#REF!"}']
    assert found.rejected == [
        (2, "the line cannot be read: name is #N/A"),
        (5, "the line cannot be read: dep is #DIV/0!, size is #NUM!"),
    ]


def test_L23_a_workbook_whose_sheet_declares_entities_is_refused(zone):
    source = io.BytesIO(workbook([HEAD, ["a", "#N/A", "d", 1]]))
    hostile = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(hostile, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                data = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + data
            new.writestr(name, data)
    found = read(zone, SUFFIX, hostile.getvalue())
    assert found.problem is not None
    assert "not a whole workbook" in found.problem.message
