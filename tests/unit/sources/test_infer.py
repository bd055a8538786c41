"""From a file to the YAML that takes it: what infer writes is whole, valid, and reads the file it was made from."""

from __future__ import annotations

import gzip
import json

import pytest
import yaml

from factories.landed_formats import workbook
from perennial.contracts.sources import SourceEntity, SourcesFile
from perennial.core.errors import BatchRefused
from perennial.sources.config import read_sources
from perennial.sources.infer import infer

GERMAN = (
    "Bestellnr;Kundennr;Artikelnr;Datum;Menge;Einzelpreis;Betrag;Filiale\n"
    "1001;7;A1;02.10.2017 12:30;1;1.234,50;1.234,50;Köln\n1002;8;A2;03.11.2017 09:00;2;2,50;5,00;Bonn\n"
)
RUSSIAN = (
    "Код клиента;Имя;Фамилия;Телефон;Эл. почта;Дата рождения\n"
    "1;Иван;Петров;+79161234567;ivan@example.com;02.03.1980\n2;Анна;Ли;+79161234568;anna@example.com;12.12.1990\n"
)


def _inferred(tmp_path, name: str, content: bytes) -> tuple[SourceEntity, tuple[str, ...], str]:
    path = tmp_path / name
    path.write_bytes(content)
    found = infer(path)
    config = tmp_path / "sources.yml"
    config.write_text(found.yaml, encoding="utf-8")
    [source] = read_sources(config).sources.values()
    [entity] = source.entities.values()
    return entity, found.notes, found.yaml


def test_a_german_export_of_sales(tmp_path):
    entity, notes, text = _inferred(tmp_path, "verkauf_2017-11-04.csv", GERMAN.encode("cp1252"))
    form = entity.format
    assert (form.delimiter, form.encoding, form.decimal, form.thousands) == (";", "cp1252", ",", ".")
    assert form.timestamp_format == "%d.%m.%Y %H:%M"
    assert {name: column.source for name, column in entity.columns.items()} == {
        "order_key": "Bestellnr",
        "client_key": "Kundennr",
        "product_key": "Artikelnr",
        "ordered_at": "Datum",
        "quantity": "Menge",
        "unit_price": "Einzelpreis",
        "amount": "Betrag",
        "store_key": "Filiale",
    }
    assert (entity.path, entity.business_date) == ("verkauf/verkauf_{date}.csv", "ordered_at")
    assert "amount: Betrag  # 5.00 .. 1234.50" in text
    assert notes == ()


def test_a_russian_export_of_clients_shows_nobody(tmp_path):
    entity, _notes, text = _inferred(tmp_path, "клиенты_2017-10-02.csv", RUSSIAN.encode("cp1251"))
    assert (entity.entity, entity.format.encoding, entity.format.date_format) == ("clients", "cp1251", "%d.%m.%Y")
    assert set(entity.columns) == {"client_key", "first_name", "last_name", "phone", "email", "birth_date"}
    assert (entity.path, entity.business_date) == ("files/клиенты_{date}.csv", "{date}")
    assert not any(value in text for value in ("Иван", "Петров", "example.com", "7916", "1980"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encoding_and_delimiter_are_found(tmp_path, encoding, delimiter):
    text = delimiter.join(["order_id", "sku", "order_date", "qty", "total"]) + "\n"
    text += delimiter.join(["1", "Käse", "2017-10-02", "1", "2.50"]) + "\n"
    entity, _notes, _text = _inferred(tmp_path, "orders.csv", text.encode(encoding))
    assert entity.entity == "order_lines"
    assert entity.format.delimiter == delimiter
    assert encoding.startswith(entity.format.encoding)


def test_a_sheet_with_a_title_and_merged_cells(tmp_path):
    rows = [
        ["Stand 1.10.", None, None],
        [],
        ["Artikelnr", "Bezeichnung", "Marke"],
        [17, "Milch", "B"],
        [18, "Brot", "C"],
    ]
    entity, _notes, _text = _inferred(tmp_path, "artikel.xlsx", workbook(rows, sheet="Artikel"))
    assert (entity.format.type, entity.format.sheet, entity.format.header_row) == ("excel", "Artikel", 3)
    assert {name: c.source for name, c in entity.columns.items()} == {
        "product_key": "Artikelnr",
        "product_name": "Bezeichnung",
        "brand": "Marke",
    }
    assert (entity.path, entity.business_date) == ("artikel/artikel_{date}.xlsx", "{date}")


def test_json_lines_with_blocks_packed(tmp_path):
    rows = [{"id": n, "customer": {"id": f"c{n}", "email": f"a{n}@b.example"}, "created_at": "2017-10-02T12:00:00Z",
             "sku": "a", "quantity": 1, "total": 2.5} for n in range(5)]  # fmt: skip
    content = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    entity, notes, _text = _inferred(tmp_path, "orders.jsonl.gz", content)
    assert entity.format.type == "jsonl"
    assert entity.path.endswith(".jsonl.gz")
    assert entity.columns["client_key"].source == "customer.id"
    assert entity.columns["product_key"].source == "sku"
    assert notes == ()


def test_a_list_in_the_lines_is_told_as_possible_rows(tmp_path):
    line = {"order_id": 1, "sku": "a", "order_date": "2017-10-02", "qty": 1, "total": 2, "items": [{"a": 1}]}
    _entity, notes, _text = _inferred(tmp_path, "orders.jsonl", json.dumps(line).encode())
    assert notes == ("items holds lists: set `row: items` where their items are the rows",)


def test_xml_rows_are_the_elements_that_repeat(tmp_path):
    lines = "".join(f"<line><sku>a{n}</sku><qty>1</qty><price>2.5</price></line>" for n in range(3))
    content = f'<orders><order no="1"><date>2017-10-02</date>{lines}</order></orders>'
    entity, notes, _text = _inferred(tmp_path, "orders.xml", content.encode())
    assert entity.format.row == "orders/order/line"
    assert {name: column.source for name, column in entity.columns.items()} == {
        "order_key": "../@no",
        "product_key": "sku",
        "ordered_at": "../date",
        "quantity": "qty",
        "unit_price": "price",
    }
    assert notes == ()


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"client_id": [1.0, 2.0], "channel": ["email", "sms"], "purpose": ["news", "news"],
                             "status": ["granted", "withdrawn"], "changed_at": ["2017-10-02", "2017-10-03"]}),
                   tmp_path / "consents.parquet")  # fmt: skip
    entity, _notes, text = _inferred(tmp_path, "consents.parquet", (tmp_path / "consents.parquet").read_bytes())
    assert (entity.entity, entity.format.type) == ("consents", "parquet")
    assert "purpose: purpose  # news" in text


def test_what_is_needed_and_not_found_is_told_and_the_yaml_is_still_whole(tmp_path):
    entity, notes, _text = _inferred(tmp_path, "sales.csv", b"order_id,sku,order_date,qty\n1,a,2017-10-02,1\n")
    assert entity.columns["amount"].source == "?"
    assert notes == ("order_lines needs amount, and no column looks like it: put its name in place of '?'",)


def test_an_ambiguous_date_is_told(tmp_path):
    _entity, notes, _text = _inferred(
        tmp_path, "sales.csv", b"order_id,sku,order_date,qty,total\n1,a,02/10/2017,1,1\n2,a,03/10/2017,1,1\n"
    )
    assert notes == ("order_date: day and month can be read both ways; %d/%m/%Y was taken, %m/%d/%Y reads it too",)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a'b{x}*.csv", "id: x,#no,- a,{date}"),
        ("null.csv", "yes,no,null,~"),
        ("x.csv", '"a\nb","c: d # e",""'),
        ("\u2028.csv", "\u2028,\x85,\ufeff,'"),
    ],
)
def test_L23_hostile_names_stay_names_in_the_yaml(tmp_path, name, header):
    entity, _notes, text = _inferred(tmp_path, name, f"{header}\n1,2,3,4\n".encode())
    assert SourcesFile.model_validate(yaml.safe_load(text))
    assert entity.path.count("{date}") <= 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (bytes(range(256)) * 4, "binary"),
        (b"\x00" * 100, "binary"),
        (b"PK\x03\x04zz", "it looks like a zip or Excel file"),
        (b"<!DOCTYPE a><a/>", "a DTD"),
        (b"<a", "no element"),
        (b"PAR1junk", "not a whole Parquet file"),
        (b"\xd0\xcf\x11\xe0junk", "not a whole workbook"),
        (b'{"a": ', "no line of it is a JSON object"),
    ],
)
def test_what_is_nothing_that_can_be_read_is_told(tmp_path, content, told):
    with pytest.raises(BatchRefused, match=told):
        _inferred(tmp_path, "x.bin", content)
