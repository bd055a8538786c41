"""XML orders: the elements at one path are rows; nothing in the file reaches beyond it."""

from __future__ import annotations

import pytest

from factories.landed_formats import products_zone, read

SUFFIX = ".xml"
ROW = {"type": "xml", "row": "order/line"}
COLUMNS = {"product_key": "sku", "product_name": "about/name", "department": "../@id", "package_size": "../client/code"}

ORDERS = """<?xml version="1.0" encoding="UTF-8"?>
<orders xmlns="urn:shop" day="2017-10-02">
  <order id="o1">
    <client><code>c1</code></client>
    <line n="1"><sku>a</sku><about><name>Käse &amp; Brot</name></about></line>
    <line n="2"><sku> b </sku><tag>x</tag><tag>y</tag></line>
  </order>
  <order id="o2">
    <line n="1"><sku>c</sku><about/></line>
    <client><code>c2</code></client>
  </order>
</orders>
"""


@pytest.fixture
def zone(tmp_path):
    return products_zone(tmp_path, SUFFIX, ROW, COLUMNS)


def test_rows_have_the_line_of_their_element_and_see_what_holds_them_before_and_behind(zone):
    found = read(zone, SUFFIX, ORDERS)
    assert found.rows == [
        (5, "a", "Käse & Brot", "o1", "c1"),
        (6, "b", None, "o1", "c1"),
        (9, "c", None, "o2", "c2"),
    ]
    assert found.extra == ['{"@n": "1"}', '{"@n": "2", "tag": ["x", "y"]}', '{"@n": "1"}']


def test_rows_on_one_line_are_told_apart_by_their_number(zone):
    found = read(zone, SUFFIX, ORDERS.replace("\n", ""))
    assert found.keys == [(1, "a"), (2, "b"), (3, "c")]


def test_an_attribute_of_the_root_and_a_path_from_the_root(tmp_path):
    columns = {"product_key": "@n", "department": "../../@day", "product_name": "sku"}
    zone = products_zone(tmp_path, SUFFIX, {"type": "xml", "row": "/orders/order/line"}, columns)
    assert [row[1:] for row in read(zone, SUFFIX, ORDERS).rows] == [
        ("1", "2017-10-02", "a"),
        ("2", "2017-10-02", "b"),
        ("1", "2017-10-02", "c"),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "cp1251", "iso-8859-5"])
def test_the_encoding_is_the_one_that_the_file_declares(zone, encoding):
    text = ORDERS.replace("UTF-8", encoding).replace("Käse", "Молоко")
    assert read(zone, SUFFIX, text.encode(encoding)).rows[0][2] == "Молоко & Brot"


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE a SYSTEM "http://127.0.0.1/evil.dtd">'
FILE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [LAUGHS, OUTSIDE, FILE, "<!DOCTYPE html>"])
def test_L23_no_dtd_no_entity_and_nothing_from_outside_is_ever_read(zone, head):
    found = read(zone, SUFFIX, f"{head}<orders><order><line><sku>&a;</sku></line></order></orders>")
    assert found.problem.message == "it holds a DTD, which is never read"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (ORDERS[:300], "not well-formed XML"),
        (ORDERS.replace("</orders>", "</order>"), "not well-formed XML: mismatched tag"),
        ("<a>" * 200 + "</a>" * 200, "nested more than 100 deep"),
        ("<order>" + "<line>" + "x" * (17 << 20) + "</line></order>", "one row is longer than 16 MiB"),
        ('<order><line a="' + "x" * (5 << 20) + '"/></order>', "one tag is longer than 4 MiB"),
        ("<order><line><sku>&undefined;</sku></line></order>", "not well-formed XML: undefined entity"),
        ("<r>" + "".join(f"<n{i}/>" for i in range(10_001)) + "</r>", "more than 10,000 names"),
        ('<?xml version="1.0" encoding="klingon"?><r/>', "unknown encoding"),
        (b"\x00\x01\x02", "not well-formed XML"),
        ("sku;name\na;b\n", "not well-formed XML"),
    ],
)
def test_L23_hostile_or_broken_xml_is_refused_with_its_line(zone, content, told):
    found = read(zone, SUFFIX, content)
    assert told in str(found.problem)


def test_a_value_behind_too_many_rows_is_told(zone, monkeypatch):
    monkeypatch.setattr("perennial.sources.formats.xmlrows._MOST_WAITING", 3)
    lines = "<line><sku>a</sku></line>\n" * 5
    found = read(zone, SUFFIX, f'<orders><order id="1">\n{lines}<client><code>c</code></client></order></orders>')
    assert "../client/code stands behind more than 3 rows, or nowhere" in found.problem.message


def test_a_path_that_no_row_has_is_told_with_the_nearest(tmp_path):
    zone = products_zone(tmp_path, SUFFIX, ROW, COLUMNS | {"product_key": "article/sku"})
    found = read(zone, SUFFIX, ORDERS)
    assert "no row has article/sku" in found.problem.message


def test_a_file_without_rows_is_a_day_without_rows(zone):
    found = read(zone, SUFFIX, "<orders/>")
    assert (found.problem, found.rows) == (None, [])
