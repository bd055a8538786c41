"""JSON lines from landing to raw: every line is a row or is in quarantine with its number."""

from __future__ import annotations

import json

import pytest

from factories.landed_formats import products_zone, read

SUFFIX = ".jsonl"


def _line(**values) -> str:
    return json.dumps({"id": "p1", "name": "Milk", "dep": "D", "size": "1 L"} | values, ensure_ascii=False)


@pytest.fixture
def zone(tmp_path):
    return products_zone(tmp_path, SUFFIX, {"type": "jsonl"})


def test_rows_keep_their_line_behind_broken_and_blank_lines(zone):
    found = read(zone, SUFFIX, "\n".join([_line(id="a"), "{broken", "", _line(id="b"), "[1]", _line(id="c")]))
    assert found.keys == [(1, "a"), (4, "b"), (6, "c")]
    assert [line for line, _said in found.rejected] == [2, 5]


def test_a_path_leads_into_blocks_and_numbers_stay_as_they_were_written(tmp_path):
    columns = {
        "product_key": "id",
        "product_name": "about.name",
        "department": "about.shelf.no",
        "package_size": "sizes",
    }
    zone = products_zone(tmp_path, SUFFIX, {"type": "jsonl"}, columns)
    found = read(
        zone,
        SUFFIX,
        '{"id": 123456789012345678901234567890, "about": {"name": "Käse", "shelf": {"no": 1.10}}, "sizes": [1.50, "a", {"b": null}]}\n'
        '{"id": true, "about": null, "sizes": {}}\n',
    )
    assert found.rows == [
        (1, "123456789012345678901234567890", "Käse", "1.10", '[1.50, "a", {"b": null}]'),
        (2, "true", None, None, None),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "a", "id": "b"}', "the key 'id' stands in it twice"),
        ('{"id": NaN}', "NaN is no JSON value"),
        ('{"id": "\\ud800"}', "half a character"),
        ('{"id": "a\\u0000"}', "NUL character"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than 64 deep"),
        ("[" * 100_000, "nested more than 64 deep"),
        ('{"x": ' + "[" * 200 + "]" * 200 + "}", "nested more than 64 deep"),
        ('{"a.b": 1, "a": {"b": 2}}', "the path 'a.b' stands in it twice"),
        ('"text"', "not an object"),
        ('{"id": "caf\xe9"}'.encode("latin-1"), "its byte 11 is not utf-8; it looks like cp1252"),
    ],
)
def test_L23_a_line_that_is_no_row_is_told_with_its_line_and_the_others_are_loaded(zone, line, told):
    raw = line if isinstance(line, bytes) else line.encode()
    found = read(zone, SUFFIX, _line(id="a").encode() + b"\n" + raw + b"\n" + _line(id="c").encode())
    assert found.keys == [(1, "a"), (3, "c")]
    [(number, said)] = found.rejected
    assert number == 2
    assert told in said


def test_the_items_of_a_list_are_rows_and_see_what_holds_the_list(tmp_path):
    columns = {"product_key": "sku", "product_name": "../order.no", "department": "box.kind", "package_size": "../shop"}
    zone = products_zone(tmp_path, SUFFIX, {"type": "jsonl", "row": "order.items"}, columns)
    found = read(
        zone,
        SUFFIX,
        '{"shop": "s1", "order": {"no": 7, "items": [{"sku": "a", "box": {"kind": "x"}}, {"sku": "b"}]}}\n'
        '{"shop": "s2", "order": {"no": 8, "items": []}}\n{"shop": "s3", "order": {"no": 9, "items": [3]}}\n'
        '{"shop": "s4", "order": {"no": 10, "items": [{"sku": "c"}]}}\n',
    )
    assert found.rows == [(1, "a", "7", "x", "s1"), (2, "b", "7", None, "s1"), (4, "c", "10", None, "s4")]
    assert [line for line, _said in found.rejected] == [3]


def test_lists_within_lists_are_walked_and_each_level_is_one_step_up(tmp_path):
    columns = {"product_key": "sku", "product_name": "../order", "department": "../../client"}
    zone = products_zone(tmp_path, SUFFIX, {"type": "jsonl", "row": "orders.items"}, columns)
    found = read(
        zone,
        SUFFIX,
        '{"client": 1, "orders": [{"order": 5, "items": [{"sku": "a"}]}, {"order": 6, "items": [{"sku": "b"}]}]}',
    )
    assert found.rows == [(1, "a", "5", "1"), (2, "b", "6", "1")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"id": 1},\n{"id": 2}]', "not one object on each line"),
        ('{\n  "id": 1\n}', "not one object on each line"),
        ('{"id": 1}'.encode("utf-16"), "looks like utf-16"),
        (b"PK\x03\x04rest", "a zip or Excel file"),
        (
            _line(id="a").replace('"id"', '"Id"'),
            "no row has id; the rows have Id, name, dep, size -> id may be called Id now",
        ),
    ],
)
def test_what_is_something_else_is_refused_with_what_it_is(zone, content, told):
    found = read(zone, SUFFIX, content)
    assert told in str(found.problem)


def test_what_may_be_empty_may_be_absent_from_all_lines_but_not_renamed(zone):
    assert read(zone, SUFFIX, '{"id": "a"}').rows == [(1, "a", None, None, None)]


def test_a_renamed_path_that_may_be_empty_is_told(zone):
    found = read(zone, SUFFIX, '{"id": "a", "Name": "Milk"}')
    assert "name may be called Name now" in str(found.problem)


def test_an_empty_file_is_a_day_without_rows(zone):
    found = read(zone, SUFFIX, "")
    assert (found.problem, found.rows, found.rejected) == (None, [], [])


@pytest.mark.parametrize("encoding", ["utf-16", "cp1251", "utf-8-sig"])
def test_other_encodings_are_read_when_the_contract_says_so(tmp_path, encoding):
    zone = products_zone(tmp_path, SUFFIX, {"type": "jsonl", "encoding": encoding})
    assert read(zone, SUFFIX, (_line(name="Молоко") + "\n").encode(encoding)).rows[0][2] == "Молоко"


def test_a_line_of_20_mb_is_set_aside_in_bounded_memory_and_the_next_one_is_read(zone):
    found = read(zone, SUFFIX, '{"id": "' + "x" * (20 << 20) + '"}\n' + _line(id="b"))
    assert found.keys == [(2, "b")]
    assert "longer than 16,777,216 bytes" in found.rejected[0][1]


def test_new_keys_are_kept_and_told(zone):
    found = read(zone, SUFFIX, _line(colour="red") + "\n" + _line(id="p2", price=1.0))
    assert found.found.header == ("id", "name", "dep", "size", "colour", "price")
    assert found.extra == ['{"colour": "red"}', '{"price": 1.0}']


def test_from_landing_to_raw_broken_lines_are_in_quarantine_with_what_they_held(zone):
    zone.land("shop/products_2017-10-02.jsonl", "\n".join([_line(id="a"), "{broken", _line(id="c")]))
    report = zone.only("shop")
    assert (report.landed, report.loaded, report.quarantined) == (3, 2, 1)
    assert zone.raw("products", "_line, product_key") == [(1, "a"), (3, "c")]
    [(line, rules, raw)] = zone.quarantined("products", "_line, rules, raw")
    assert (line, rules, list(json.loads(raw).values())) == (2, ["structure"], ["{broken"])
    assert zone.names("archive") == ["shop/products_2017-10-02.jsonl"]
