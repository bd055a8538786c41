"""L1: what a quotation mark swallows that nobody closed is in no count, so its file is refused with the place and the fix."""

from __future__ import annotations

import pytest

from factories.landing_zone import DAY, PRODUCTS, SALES_FILE, Zone, many_sales, sales

NAME = f"shop/products_{DAY}.csv"


def _plain_name(sources):
    sources["shop"]["entities"]["products"]["path"] = "shop/products_{date}.csv"


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path, _plain_name)


def _rows(count: int, first: int = 0, name: str = "Milk") -> list[str]:
    return [f"p{n},{name},D,C,B,1,1 L" for n in range(first, first + count)]


def _text(*lines: str, header: str = PRODUCTS) -> str:
    return "\n".join([header, *lines]) + "\n"


def _products(zone):
    return zone.raw("products", "product_key, _line")


@pytest.mark.parametrize(
    ("text", "line", "swallowed"),
    [
        (_text(*_rows(300), *_rows(1, 300, '"open'), *_rows(101, 301)), 302, 101),
        (_text(*_rows(300), *_rows(1, 300, '"open'), *_rows(150, 301)).removesuffix("\n"), 302, 150),
        (_text(*_rows(20), *_rows(1, 20, '"open'), *_rows(199, 21), *_rows(1, 220, '"x"'), *_rows(9, 221)), 22, 200),
        (_text(*_rows(3), *_rows(1, 3, '"a\n""b"""'), *_rows(1, 4, '"open'), *_rows(150, 5)), 7, 150),
        (_text(*_rows(1), "p8,x,y", *_rows(1, 9, '"a"b'), *_rows(1, 2, '"open'), *_rows(150, 5)), 5, 150),
        (_text(*_rows(5), *_rows(1, 5, '"open'), "p,q", *_rows(199, 6), 'p,x",1,2,3,4,5,6,7', *_rows(9, 300)), 7, 201),
        (_text(*_rows(5), *_rows(1, 5, '"open'), *_rows(3, 6, "x" * 400_000)), 7, 3),
    ],
    ids=["to the end", "no last line end", "to the next mark", "behind marks", "behind rejects", "columns", "bytes"],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_L1_a_mark_that_swallows_more_than_a_cell_refuses_the_file_and_is_told_with_its_line(
    zone, text, line, swallowed, ends
):
    zone.land(NAME, text.replace("\n", ends))
    report = zone.only("shop")
    assert (report.state, report.loaded, report.landed) == ("refused", 0, len(text.splitlines()) - 1)
    assert zone.names("refused") == [NAME, f"{NAME}.reason.txt"]
    said = f"{NAME}:{line}: a quotation mark is opened here that swallows {swallowed:,} lines -> close it, or double it"
    assert said in zone.reason(NAME)
    assert _products(zone) == []


def test_L1_also_where_rows_are_read_again_behind_what_was_swallowed(zone):
    """A mark that swallows DuckDB's buffer is one reject, and rows come again behind it: the share of bad rows is small."""
    rows = _rows(3000, name="x" * 3000)
    zone.land(NAME, _text(*_rows(1), *_rows(1, 1, '"open'), *rows * 3, *_rows(5000, 10_000)))
    report = zone.only("shop")
    assert report.state == "refused"
    assert f"{NAME}:3: a quotation mark is opened here that swallows 14,000 lines" in zone.reason(NAME)


def test_L1_a_packed_file_and_one_with_its_content_are_refused_and_those_beside_them_are_loaded(zone):
    good = many_sales(200)
    bad = sales(*good[:50], good[50].replace(",", ',"', 1), *good[51:])
    other, copy = (SALES_FILE.replace(str(DAY), day) for day in ("2017-10-03", "2017-10-04"))
    zone.land(SALES_FILE, sales(*many_sales(20, first=90000)))
    zone.land(other, bad)
    zone.land(copy, bad)
    states = {report.files: (report.state, report.loaded, report.landed) for report in zone.ingest("shop")}
    assert states == {
        (SALES_FILE,): ("committed", 20, 20),
        (other,): ("refused", 0, 200),
        (copy,): ("refused", 0, 200),
    }
    assert f"{copy}:52: a quotation mark is opened here that swallows 149 lines" in zone.reason(copy)


def test_long_cells_that_are_closed_are_read_also_beside_rejects(zone):
    cell = '"' + 'a line, of ""many""\n' * 150 + '"'
    lines = [*_rows(60), *_rows(1, 60, cell), *_rows(40, 61), *_rows(1, 101, '"a"b'), *_rows(50, 102)]
    zone.land(NAME, _text(*lines, "", *_rows(1, 200)))
    report = zone.only("shop")
    assert (report.state, report.loaded, report.quarantined) == ("committed", 152, 1)
    assert _products(zone)[59:62] == [("p59", 61), ("p60", 62), ("p61", 213)]
    assert [line for _file, line, _rules, _reasons in zone.quarantined("products")] == [253]


def test_a_mark_that_swallows_a_few_lines_is_one_line_in_quarantine(zone):
    zone.land(NAME, _text(*_rows(300), *_rows(1, 300, '"open'), *_rows(100, 301)))
    report = zone.only("shop")
    assert (report.state, report.loaded, report.quarantined) == ("committed", 300, 1)
    assert [line for _file, line, _rules, _reasons in zone.quarantined("products")] == [302]
