"""Everything that is wrong with what lands is told with file, line and fix, and the rest of the chain goes on (issue 2)."""

from __future__ import annotations

import gzip
import os
import time
from datetime import date

import pytest

from factories.landing_zone import (
    CAMPAIGNS,
    CONSENTS,
    CONTACTS,
    DAY,
    HOUSEHOLDS,
    PRODUCTS,
    SALES,
    SALES_FILE,
    Zone,
    many_sales,
    sale,
    sales,
)
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY

OTHER_DAY = "shop/sales_2017-10-01.csv.gz"


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path)


def _refused_beside_a_good_file(zone: Zone, name: str, content: bytes, *, pack: bool = True) -> str:
    """Land the file beside a good one of the same entity: the reason it is refused for, the good one being loaded."""
    good = OTHER_DAY if name.startswith("shop/sales") else "shop/products_2017-10-01.csv.gz"
    zone.land(
        good, sales(sale(at="2017-10-01T12:00:00Z")) if good == OTHER_DAY else f"{PRODUCTS}\np1,Milk,D,C,B,1,1 L\n"
    )
    zone.land(name, content, pack=pack)
    reports = zone.ingest()
    assert [(r.state, r.files, r.loaded) for r in reports] == [("refused", (name,), 0), ("committed", (good,), 1)]
    assert zone.names("landing") == []
    assert zone.names("archive") == [good]
    assert zone.names("refused") == [name, f"{name}.reason.txt"]
    assert zone.reason(name).strip() == reports[0].reasons[0]
    return reports[0].reasons[0]


def test_an_unknown_delimiter_is_told_with_what_was_found_and_expected(zone):
    text = sales(sale()).replace(",", ";")
    reason = _refused_beside_a_good_file(zone, SALES_FILE, text.encode())
    assert reason == (
        f"{SALES_FILE}:1: the columns are separated by a semicolon, the contract says a comma"
        " -> export with a comma, or set `delimiter:` in sources.yml"
    )


@pytest.mark.parametrize(
    ("encoding", "looks", "where"),
    [
        ("utf-16", "utf-16", ":1: byte 0 "),
        ("cp1251", "cp1251", ":3: byte 110 "),
        ("utf-16-le", "utf-16-le", ":1: byte 1 "),
    ],
)
def test_a_wrong_encoding_is_told_with_line_byte_and_the_encoding_that_it_looks_like(zone, encoding, looks, where):
    lines = [PRODUCTS, "p1,Milk,D,C,B,1,1 L", "p2,Молоко,Молочные продукты,C,B,1,1 L"]
    name = f"shop/products_{DAY}.csv.gz"
    reason = _refused_beside_a_good_file(zone, name, "\n".join(lines).encode(encoding))
    assert reason.startswith(f"{name}{where}is not utf-8; the file looks like {looks} -> ")
    assert "set `encoding:` in sources.yml" in reason


def test_western_text_that_is_not_utf8_is_told_as_cp1252(zone):
    name = f"shop/products_{DAY}.csv.gz"
    reason = _refused_beside_a_good_file(zone, name, f"{PRODUCTS}\np1,Café crème,D,C,B,1,1 L\n".encode("cp1252"))
    assert f"{name}:2: byte 93 is not utf-8; the file looks like cp1252" in reason


def test_a_truncated_gzip_is_refused_and_says_where_it_ends(zone):
    whole = gzip.compress(sales(*many_sales()).encode(), mtime=0)
    reason = _refused_beside_a_good_file(zone, SALES_FILE, whole[:-20], pack=False)
    assert f"{SALES_FILE}: the gzip file is cut off after {len(whole) - 20} bytes -> send the file again" in reason


def test_a_damaged_gzip_and_a_text_that_is_called_gz_are_refused(zone):
    whole = bytearray(gzip.compress(sales(*many_sales()).encode(), mtime=0))
    whole[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    reason = _refused_beside_a_good_file(zone, SALES_FILE, bytes(whole), pack=False)
    assert "gzip" in reason
    zone.land(SALES_FILE, sales(sale()).encode(), pack=False)
    assert zone.only().reasons[0].startswith(f"{SALES_FILE}: the name ends in .gz, the content is not gzip -> ")


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused_while_one_with_a_header_only_is_a_day_without_rows(zone, content):
    reason = _refused_beside_a_good_file(zone, SALES_FILE, content, pack=False)
    assert reason.startswith(f"{SALES_FILE}: the file is empty, without even a header -> ")
    name = "shop/sales_2017-10-03.csv.gz"
    zone.land(name, SALES + "\n")
    report = zone.only()
    assert (report.state, report.landed, report.loaded, report.as_of) == ("committed", 0, 0, date(2017, 10, 3))


def test_a_file_still_being_written_is_not_touched_and_its_whole_entity_waits(tmp_path):
    def slowly(sources):
        sources["shop"]["settle_seconds"] = 3600

    zone = Zone(tmp_path, slowly)
    finished = zone.land(OTHER_DAY, sales(sale(at="2017-10-01T12:00:00Z")))
    products = zone.land(f"shop/products_{DAY}.csv.gz", f"{PRODUCTS}\np1,Milk,D,C,B,1,1 L\n")
    writing = zone.land(SALES_FILE, sales(sale()))
    for settled in (finished, products):
        os.utime(settled, (1_500_000_000, 1_500_000_000))
    report = zone.only()
    assert report.entity == "products"
    assert zone.names("landing") == [OTHER_DAY, SALES_FILE]
    os.utime(writing, (time.time() - 3601, time.time() - 3601))
    report = zone.only()
    assert (report.entity, report.files, report.loaded) == ("sales", (OTHER_DAY, SALES_FILE), 2)


def test_hidden_and_partial_names_are_not_files_yet(zone):
    for name in ("shop/.sales_2017-10-02.csv.gz", "shop/sales_2017-10-02.csv.gz.part", "shop/a.tmp", "shop/.x/b.csv"):
        zone.land(name, "half")
    assert zone.ingest() == []
    assert len(zone.names("landing")) == 4


def test_a_missing_column_is_told_by_name(zone):
    text = f"{SALES.replace(',discount', '')}\n10001,1,p1,2017-10-02T12:00:00Z,1,2.50,s1\n"
    reason = _refused_beside_a_good_file(zone, SALES_FILE, text.encode())
    assert reason == (
        f"{SALES_FILE}:1: column discount is missing; the header has {SALES.replace(',discount', '').replace(',', ', ')}"
        " -> export it again with it"
    )


def test_a_renamed_column_is_told_with_its_likely_new_name(zone):
    text = sales(sale()).replace("quantity", "quantity_sold").replace("store_id", "StoreID")
    reason = _refused_beside_a_good_file(zone, SALES_FILE, text.encode())
    assert f"{SALES_FILE}:1: column quantity, store_id is missing" in reason
    assert "quantity may be called quantity_sold now; store_id may be called StoreID now" in reason


def test_a_header_with_a_column_twice_is_refused(zone):
    text = sales(sale() + ",s2").replace("store_id", "store_id,store_id")
    reason = _refused_beside_a_good_file(zone, SALES_FILE, text.encode())
    assert reason == f"{SALES_FILE}:1: the header has store_id twice -> export each column once"


def _one_bad_line(zone: Zone, bad: str) -> list[tuple]:
    """Land the line as line 12 of 101: what is in quarantine, all others being loaded."""
    lines = many_sales()
    zone.land(SALES_FILE, sales(*lines[:10], bad, *lines[10:]))
    report = zone.only()
    assert (report.state, report.landed, report.loaded, report.quarantined) == ("committed", 101, 100, 1)
    found = zone.quarantined("order_lines")
    assert [(file, line) for file, line, _rules, _reasons in found] == [(SALES_FILE, 12)]
    assert any(f"{SALES_FILE}:12: {found[0][3][0]}" in warning for warning in report.warnings)
    return found


def test_text_in_a_number_is_quarantined_with_column_value_and_fix(zone):
    [(_file, _line, rules, reasons)] = _one_bad_line(zone, sale(quantity="two"))
    assert rules == ["type:quantity"]
    assert reasons == ["quantity: 'two' is not a number -> correct it at the source and land the file again"]


def test_a_row_keeps_every_reason(zone):
    [(_file, _line, rules, reasons)] = _one_bad_line(zone, sale(basket="x", product="", at="yesterday", value="-1"))
    assert rules == ["pattern:order_key", "required:product_key", "type:ordered_at", "range:amount"]
    assert [reason.split(" -> ")[0] for reason in reasons] == [
        "basket_id: 'x' does not have the form [0-9]{5,20}",
        "product_id is empty",
        "sold_at: 'yesterday' is not a time (ISO 8601, as 2017-10-01T13:14:15Z)",
        "sales_value: '-1' lies outside 0 .. 100000",
    ]


def test_a_date_after_the_business_date_is_quarantined_in_the_company_s_zone(zone):
    # 03:30 UTC on the 3rd is still the evening of the 2nd in New York; 04:30 UTC is the 3rd.
    zone.land(SALES_FILE, sales(*many_sales(), sale(at="2017-10-03T03:30:00Z"), sale(at="2017-10-03T04:30:00Z")))
    report = zone.only()
    assert (report.loaded, report.quarantined_by_rule) == (101, {"future:ordered_at": 1})
    [(_file, line, _rules, [reason])] = zone.quarantined("order_lines")
    assert line == 103
    assert "sold_at: '2017-10-03T04:30:00Z' lies after the business date 2017-10-02 -> correct the date" in reason


def test_L1_a_duplicate_file_under_another_name_is_counted_and_never_loaded(zone):
    zone.land(OTHER_DAY, sales(sale(at="2017-10-01T12:00:00Z"), sale(at="2017-10-01T12:00:00Z")))
    zone.only()
    zone.land(SALES_FILE, sales(sale(at="2017-10-01T12:00:00Z"), sale(at="2017-10-01T12:00:00Z")))
    report = zone.only()
    assert (report.state, report.landed, report.duplicate, report.loaded) == ("committed", 2, 2, 0)
    assert report.as_of == DAY
    assert report.warnings == (f"{SALES_FILE} has the content of {OTHER_DAY}: its rows are not loaded again",)
    assert len(zone.raw("order_lines")) == 2
    assert zone.names("archive") == [OTHER_DAY, SALES_FILE]


def test_a_negative_quantity_is_quarantined_where_the_contract_knows_no_returns(tmp_path):
    def no_minimum(sources):
        del sources["shop"]["entities"]["sales"]["columns"]["quantity"]["min"]

    [(_file, _line, rules, reasons)] = _one_bad_line(Zone(tmp_path), sale(quantity=-2))
    assert rules == ["range:quantity", "negative:quantity"]
    zone = Zone(tmp_path / "other", no_minimum)
    [(_file, _line, rules, reasons)] = _one_bad_line(zone, sale(quantity=-2))
    assert rules == ["negative:quantity"]
    assert reasons == [
        (
            "quantity: '-2' is negative in a line of the kind sale"
            " -> correct it, or allow it by line_kinds and negative_quantity_kinds in sources.yml"
        )
    ]


def test_a_negative_quantity_is_a_return_where_the_contract_says_so(tmp_path):
    def returns(sources):
        contract = sources["shop"]["entities"]["sales"]
        contract["columns"]["quantity"]["min"] = -1000
        contract["line_kinds"] = [{"kind": "return", "column": "quantity", "below": 0}]
        contract["negative_quantity_kinds"] = ["return"]

    zone = Zone(tmp_path, returns)
    zone.land(SALES_FILE, sales(sale(), sale(quantity=-1)))
    assert zone.only().loaded == 2
    assert zone.raw("order_lines", "quantity::int, line_kind") == [(1, "sale"), (-1, "return")]


def test_a_sale_without_or_with_an_unknown_client_is_loaded_as_a_guest_and_counted(zone):
    zone.land(
        f"crm/households_{DAY}.csv", f"{HOUSEHOLDS}\n1,Ann,B,ann@example.com,+12025550123,1980-01-01,2017-01-01\n"
    )
    zone.land(f"shop/products_{DAY}.csv.gz", f"{PRODUCTS}\np1,Milk,D,C,B,1,1 L\n")
    zone.land(SALES_FILE, sales(sale(10001, 1), sale(10002, ""), sale(10003, 999)))
    report = zone.ingest()[-1]
    assert (report.entity, report.loaded, report.guests) == ("sales", 3, 2)
    assert "reference:client_key: 1 of 3 rows name what is not known yet; they are loaded" in report.warnings
    refs = [ref for (ref,) in zone.raw("order_lines", "client_ref")]
    [(known,)] = zone.raw("clients", "client_ref")
    assert refs[0] == known
    assert refs[1] is None
    assert refs[2] not in {None, known}


def test_a_strict_reference_quarantines_the_row_and_names_what_is_missing(zone):
    zone.land(f"crm/campaigns_{DAY}.csv", f"{CAMPAIGNS}\n1,Type A,2017-09-01,2017-12-31\n")
    contacts = [f"1,{i},2017-09-01,email" for i in range(60)]
    zone.land(f"crm/campaign_contacts_{DAY}.csv", "\n".join([CONTACTS, *contacts, "77,5,2017-09-01,email"]) + "\n")
    campaigns, report = zone.ingest()
    assert (campaigns.entity, campaigns.loaded) == ("campaigns", 1)  # its end lies in the future, as a plan may
    assert (report.loaded, report.quarantined_by_rule) == (60, {"reference:campaign_key": 1})
    [(_file, line, _rules, [reason])] = zone.quarantined("campaign_contacts")
    assert line == 62
    assert (
        reason == "campaign_id: '77' is not known in campaigns -> land its row of campaigns first, then this file again"
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "cadence: daily\n        format",
            "cadense: daily\n        format",
            ["sources.yml:13:", "cadense", "did you mean cadence"],
        ),
        (
            "column: product_key, entity",
            "column: prodct, entity",
            ["sources.yml:26:", "'prodct' is not mapped here", "name one of order_key"],
        ),
        (
            'pattern: "[0-9]{5,20}"',
            'pattern: "[0-9{5,20}"',
            ["sources.yml:16:", "not a regular expression", "mend the expression"],
        ),
        ('pattern: "[0-9]{5,20}"', 'pattern: "(?=a)b"', ["sources.yml:16:", "look-around"]),
        ("entity: products, on_missing: warn", "entity: demografics, on_missing: warn", ["sources.yml:26:"]),
    ],
)
def test_a_config_with_a_typo_is_told_with_file_line_and_fix(tmp_path, before, after, told):
    zone = Zone(tmp_path)
    path = zone.settings.config_dir / "sources.yml"
    text = (REPOSITORY / "config/sources.yml").read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")
    zone.land(SALES_FILE, sales(sale()))
    with pytest.raises(ConfigError) as caught:
        zone.ingest()
    assert [part for part in told if part not in str(caught.value)] == []
    assert zone.names("landing") == [SALES_FILE]


def test_L6_too_large_a_share_of_bad_rows_refuses_the_whole_batch_and_keeps_the_bad_rows_to_look_at(zone):
    zone.land(OTHER_DAY, sales(*(sale(30000 + i, at="2017-10-01T12:00:00Z") for i in range(5))))
    zone.land(SALES_FILE, sales(*many_sales(90), *(sale(quantity="x") for _ in range(6))))
    report = zone.only()
    assert (report.state, report.landed, report.loaded, report.quarantined) == ("refused", 101, 0, 6)
    assert report.reasons[0] == (
        "shop.sales: all rules: 6 of 101 rows (5.94%) are bad, more than the limit of 5.00%: the batch is refused"
        " -> look at the rows in quarantine, mend the file (or the contract in sources.yml) and land it again"
    )
    assert zone.raw("order_lines") == []
    assert [line for _file, line, _rules, _reasons in zone.quarantined("order_lines")] == list(range(92, 98))
    assert [name for name in zone.names("refused") if name.endswith(".gz")] == [OTHER_DAY, SALES_FILE]
    assert "6 of 101 rows" in zone.reason(SALES_FILE)
    assert zone.ledger("state", "as_of") == [("refused", DAY)]


def test_a_share_of_bad_rows_above_the_warning_is_told(zone):
    zone.land(SALES_FILE, sales(*many_sales(90), sale(quantity="x")))
    report = zone.only()
    assert (
        report.warnings[0] == "shop.sales: all rules: 1 of 91 rows (1.10%) are bad, more than the 0.10% that is usual"
    )


def test_L6_a_refused_batch_does_not_hold_up_other_entities(zone):
    zone.land(SALES_FILE, sales(sale(quantity="x")))
    zone.land(f"crm/consents_{DAY}.csv", f"{CONSENTS}\n1,email,marketing,granted,2017-10-02T10:00:00Z\n")
    assert {(r.entity, r.state) for r in zone.ingest()} == {("sales", "refused"), ("consents", "committed")}


def test_a_file_that_no_entity_takes_is_refused_with_the_patterns(zone):
    for name in (
        "shop/sales-2017-10-02.csv.gz",
        "shop/sales_2017-02-30.csv.gz",
        "shop/deep/er/sales_2017-10-02.csv.gz",
    ):
        zone.land(name, sales(sale()))
        report = zone.only("shop")
        assert (report.state, report.files) == ("refused", (name,))
        assert report.reasons[0] == (
            f"{name}: no entity takes this file name; patterns are shop/sales_{{date}}.csv.gz, shop/products_{{date}}.csv.gz"
            " -> rename the file"
        )
        assert f"{name}.reason.txt" in zone.names("refused")


def test_L23_a_symbolic_link_is_never_followed(zone, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text(sales(sale()), encoding="utf-8")
    zone.settings.landing.joinpath("shop").mkdir(parents=True)
    (zone.settings.landing / SALES_FILE).symlink_to(secret)
    (zone.settings.landing / "shop/folder").symlink_to(tmp_path)
    reports = zone.ingest()
    assert [r.state for r in reports] == ["refused", "refused"]
    assert "a symbolic link, which may lead anywhere, is not read -> land the file itself" in reports[0].reasons[0]
    assert zone.raw("order_lines") == []
    assert secret.exists()
    assert zone.names("landing") == []


@pytest.mark.parametrize(
    "name",
    [
        "shop/'; drop table batches; --.csv",
        "shop/a\nb.csv",
        "shop/[x]*?.csv",
        "shop/" + "n" * 251 + ".gz",
        "shop/\udcff.csv",
        "shop/$(id).csv",
    ],
)
def test_L23_a_hostile_file_name_is_set_aside_and_nothing_else_happens(zone, name):
    zone.land(name, sales(sale()))
    zone.land(SALES_FILE, sales(sale()))
    reports = zone.ingest()
    assert [(r.state, r.landed) for r in reports] == [("refused", 0), ("committed", 1)]
    assert all(r.files[0].isprintable() for r in reports)
    assert zone.names("landing") == []
    assert len(zone.names("refused")) == 2
    assert [state for (state,) in zone.ledger("state")] == ["refused", "committed"]


def test_L23_a_glob_in_a_taken_name_reads_that_file_alone(tmp_path):
    def by_glob(sources):
        entity = sources["shop"]["entities"]["products"]
        entity["path"] = "shop/list_{date}*.csv"

    zone = Zone(tmp_path, by_glob)
    zone.land(f"shop/list_{DAY}[ab]*.csv", f"{PRODUCTS}\np1,Milk,D,C,B,1,1 L\n")
    zone.land(f"shop/list_{DAY}a'x.csv", f"{PRODUCTS}\np2,Milk,D,C,B,1,1 L\n")
    assert zone.only().loaded == 2
    assert (
        zone.raw("products", "product_key, _file")
        == [
            ("p2", f"shop/list_{DAY}a'x.csv"),
            ("p1", f"shop/list_{DAY}[ab]*.csv"),
        ][::-1]
    )


def test_L23_hostile_cells_pass_as_text(zone):
    cells = [
        "'; drop table batches; --",
        '=cmd|"/c calc"!A1',
        "<script>alert(1)</script>",
        "{{ 7*7 }}",
        "\\copy x",
        "NULL",
    ]
    rows = [f'p{i},"{cell.replace(chr(34), chr(34) * 2)}",D,C,B,1,1 L' for i, cell in enumerate(cells)]
    zone.land(f"shop/products_{DAY}.csv.gz", "\n".join([PRODUCTS, *rows]) + "\n")
    assert zone.only().loaded == len(cells)
    assert [name for (name,) in zone.raw("products", "product_name")] == cells
    zone.land(SALES_FILE, sales(*many_sales(), sale(basket="'; drop table landed; --")))
    assert zone.only().quarantined_by_rule == {"pattern:order_key": 1}
    [(raw,)] = zone.quarantined("order_lines", "raw::json->>'basket_id'")
    assert raw == "'; drop table landed; --"


def test_L22_a_reason_shows_of_personal_data_the_first_character_only(zone):
    good = [f"{i},A,B,a{i}@example.com,+1202555{i:04d},1980-01-01,2017-01-01" for i in range(2, 60)]
    bad = "1,Ann,B,ann at example.com,12025550123,1980-01-01,2017-01-01"
    zone.land(f"crm/households_{DAY}.csv", "\n".join([HOUSEHOLDS, *good, bad]) + "\n")
    report = zone.only()
    assert report.quarantined_by_rule == {"pattern:email": 1, "pattern:phone": 1}
    [(_file, _line, _rules, reasons)] = zone.quarantined("clients")
    told = " ".join([*reasons, *report.warnings, *map(str, zone.ledger("warnings", "reasons"))])
    assert "email: 'a***' does not have the form" in told
    assert "ann at" not in told
    assert "12025550123" not in told


def test_a_new_column_is_told_and_ignored(zone):
    zone.land(SALES_FILE, f"{SALES},colour\n{sale()},red\n")
    report = zone.only()
    assert report.loaded == 1
    assert (
        f"{SALES_FILE}: new column 'colour' is not in the contract: it is kept as an extra (raw, _extra)"
        in report.warnings
    )


def test_lines_with_too_many_too_few_or_broken_columns_are_quarantined_each_with_its_own_line(zone):
    lines = many_sales(100)
    lines[10:10] = ["1,2,3"]
    lines[20:20] = [sale() + ",9,9"]
    lines[30:30] = ['1,"a"b,c,d,e,f,g,h']
    zone.land(SALES_FILE, sales(*lines))
    report = zone.only()
    assert (report.landed, report.loaded, report.quarantined_by_rule) == (103, 100, {"structure": 3})
    assert [(line, reasons[0].split(" -> ")[0]) for _f, line, _r, reasons in zone.quarantined("order_lines")] == [
        (12, "the line has too few columns"),
        (22, "the line has too many columns"),
        (32, "a quotation mark is opened and not closed, or stands inside a value"),
    ]
    assert [line for (line,) in zone.raw("order_lines", "_line")] == [n for n in range(2, 105) if n not in {12, 22, 32}]
