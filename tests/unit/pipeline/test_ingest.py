"""One batch after the other: what is new, what is known, what replaces what, and that nothing is lost (L1)."""

from __future__ import annotations

from datetime import date, datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories.landing_zone import (
    CONSENTS,
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
from perennial.contracts.entities import ENTITIES, RAW_COLUMNS, SQL_TYPES
from perennial.core.errors import ConfigError
from perennial.core.ids import digest_of
from perennial.ledger.batches import committed, known_files
from perennial.ledger.engine import open_ledger


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path)


def _products(*rows: str) -> str:
    return "\n".join([PRODUCTS, *(f"{row},D,C,B,1,1 L" for row in rows)]) + "\n"


def _fate(report) -> tuple[int, int, int, int]:
    return report.landed, report.loaded, report.quarantined, report.duplicate


def test_raw_has_the_columns_and_types_of_the_contract(zone):
    zone.land(SALES_FILE, sales(sale(10001, 7, at="2017-10-02T12:00:00Z")))
    report = zone.only()
    [batch] = committed(open_ledger(zone.settings))
    with duckdb.connect() as connection:
        described = connection.execute(
            "describe select * from read_parquet(?)", [str(zone.home / batch.raw_path)]
        ).fetchall()
    wanted = {name: SQL_TYPES[column.type] for name, column in ENTITIES["order_lines"].columns.items()} | RAW_COLUMNS
    assert {name: kind.lower() for name, kind, *_rest in described} == wanted
    [row] = zone.raw("order_lines", "ordered_at, _source, _batch_id, _batch_seq, _file, _line, _business_date")
    assert row == (datetime(2017, 10, 2, 12), "shop", report.batch_id, 1, SALES_FILE, 2, DAY)


def test_an_empty_batch_has_the_same_columns(zone):
    zone.land(SALES_FILE, f"{SALES}\n")
    zone.only()
    [batch] = committed(open_ledger(zone.settings))
    assert pq.read_schema(zone.home / batch.raw_path).names == [*ENTITIES["order_lines"].columns, *RAW_COLUMNS]


def test_all_files_of_an_entity_become_one_batch_with_the_latest_date(zone):
    zone.land("shop/sales_2017-10-01.csv.gz", sales(sale(at="2017-10-01T12:00:00Z")))
    zone.land(SALES_FILE, sales(sale(10002), sale(10003)))
    report = zone.only()
    assert (report.as_of, report.landed, len(report.files)) == (DAY, 3, 2)
    assert zone.ledger("source", "source_entity", "entity", "state", "first_business_date", "last_business_date") == [
        ("shop", "sales", "order_lines", "committed", date(2017, 10, 1), DAY)
    ]
    assert zone.ledger_files() == [("shop/sales_2017-10-01.csv.gz", 1), (SALES_FILE, 2)]
    assert report.batch_id == digest_of(
        ["shop", "sales", *(part for known in _known(zone, report) for part in (known.name, known.sha256))]
    )
    assert zone.names("landing") == []
    assert zone.names("archive") == list(report.files)


def _known(zone, report):
    import hashlib

    sums = [hashlib.sha256((zone.settings.archive / name).read_bytes()).hexdigest() for name in report.files]
    return known_files(open_ledger(zone.settings), sums)


def test_entities_that_others_refer_to_come_first(zone):
    zone.land(SALES_FILE, sales(sale()))
    zone.land(f"shop/products_{DAY}.csv.gz", _products("p1,Milk"))
    zone.land(f"crm/households_{DAY}.csv", f"{HOUSEHOLDS}\n1,A,B,,,,2017-01-01\n")
    reports = zone.ingest()
    assert [r.entity for r in reports] == ["products", "households", "sales"]
    assert reports[-1].guests == 0
    assert reports[-1].warnings == ()


def test_until_leaves_later_files_where_they_are(zone):
    zone.land("shop/sales_2017-10-01.csv.gz", sales(sale(at="2017-10-01T12:00:00Z")))
    zone.land(SALES_FILE, sales(sale(10002)))
    assert [r.as_of for r in zone.ingest(until=date(2017, 10, 1))] == [date(2017, 10, 1)]
    assert zone.names("landing") == [SALES_FILE]


def test_one_source_is_taken_alone_and_an_unknown_one_is_an_error(zone):
    zone.land(SALES_FILE, sales(sale()))
    zone.land(f"crm/consents_{DAY}.csv", f"{CONSENTS}\n")
    assert [r.entity for r in zone.ingest("crm")] == ["consents"]
    with pytest.raises(ConfigError, match="there is no source 'shopp'"):
        zone.ingest("shopp")


def test_nothing_landed_is_nothing_done(zone):
    assert zone.ingest() == []
    assert not zone.settings.data_docs.exists()


def test_L1_the_same_document_again_is_duplicate_and_a_changed_one_is_loaded_whole(zone):
    day_one = [sale(10001), sale(10001), sale(10001, product="p2"), sale(10002)]
    zone.land("shop/sales_2017-10-01.csv.gz", sales(*day_one).replace("2017-10-02T", "2017-10-01T"))
    assert _fate(zone.only()) == (4, 4, 0, 0)  # equal lines inside one document are real
    later = [sale(10001, product="p2"), sale(10001), sale(10001), sale(10002), sale(10002), sale(10003)]
    zone.land(SALES_FILE, sales(*later).replace("2017-10-02T", "2017-10-01T"))
    report = zone.only()
    assert _fate(report) == (6, 3, 0, 3)  # 10001 in another order is the same; 10002 has a line more
    loaded = zone.raw("order_lines", "order_key, _batch_seq, _line")
    assert [row for row in loaded if row[1] == 2] == [("10002", 2, 5), ("10002", 2, 6), ("10003", 2, 7)]


def test_a_document_in_two_files_of_one_batch_is_loaded_twice_only_if_it_differs(zone):
    for day in (1, 2):
        lines = [sale(10001, at="2017-10-01T12:00:00Z"), sale(10002, at="2017-10-01T12:00:00Z", quantity=day)]
        zone.land(f"shop/sales_2017-10-0{day}.csv.gz", sales(*lines))
    assert _fate(zone.only()) == (4, 3, 0, 1)
    assert zone.raw("order_lines", "order_key, quantity::int, _business_date") == [
        ("10001", 1, date(2017, 10, 1)),
        ("10002", 1, date(2017, 10, 1)),
        ("10002", 2, date(2017, 10, 2)),
    ]


def test_a_late_file_is_compared_with_what_was_known_on_its_own_day(zone):
    at = "2017-10-01T12:00:00Z"
    for day, quantity in ((1, 1), (3, 2), (2, 2)):  # the second of October comes last
        zone.land(
            f"shop/sales_2017-10-0{day}.csv.gz",
            sales(sale(10001, at=at, quantity=quantity), sale(f"1000{day + 1}", at=at)),
        )
        assert zone.only().loaded == 2
    assert zone.raw("order_lines", "_business_date, quantity::int")[-2] == (date(2017, 10, 2), 2)


def test_a_corrected_line_replaces_the_document_with_the_quarantined_one(zone):
    lines = many_sales(60)
    zone.land(
        "shop/sales_2017-10-01.csv.gz",
        sales(*(x.replace("2017-10-02T", "2017-10-01T") for x in [*lines, sale(10001), sale(10001, quantity="x")])),
    )
    assert _fate(zone.only()) == (62, 61, 1, 0)
    zone.land(
        SALES_FILE, sales(*(x.replace("2017-10-02T", "2017-10-01T") for x in [sale(10001), sale(10001, quantity=3)]))
    )
    assert _fate(zone.only()) == (2, 2, 0, 0)


def test_an_entity_row_is_loaded_when_it_says_something_new(zone):
    zone.land("shop/products_2017-10-01.csv.gz", _products("p1,Milk", "p2,Tea", "p2,Tea"))
    assert _fate(zone.only()) == (3, 2, 0, 1)  # twice the same in one file
    zone.land("shop/products_2017-10-02.csv.gz", _products("p1,Milk", "p2,Green tea", "p3,Jam"))
    assert _fate(zone.only()) == (3, 2, 0, 1)
    zone.land("shop/products_2017-10-03.csv.gz", _products("p2,Tea", "p3,Jam"))
    assert _fate(zone.only()) == (2, 1, 0, 1)  # back to what it was before the last time is news


def test_a_key_twice_in_one_file_with_different_content_is_quarantined_with_both_rows(zone):
    rows = [f"x{i},Milk" for i in range(60)]
    zone.land(f"shop/products_{DAY}.csv.gz", _products(*rows, "p1,Milk", "p1,Tea"))
    report = zone.only()
    assert (_fate(report), report.quarantined_by_rule) == ((62, 60, 2, 0), {"key:product_key": 2})
    assert zone.quarantined("products", "_line, reasons") == [
        (62, ["product_id stands twice in this file, and differs -> send one row for each key"]),
        (63, ["product_id stands twice in this file, and differs -> send one row for each key"]),
    ]


def test_an_event_happens_once(zone):
    event = "1,email,marketing,granted,2017-10-01T10:00:00Z"
    zone.land("crm/consents_2017-10-01.csv", f"{CONSENTS}\n{event}\n{event}\n")
    assert _fate(zone.only()) == (2, 1, 0, 1)
    zone.land("crm/consents_2017-10-02.csv", f"{CONSENTS}\n{event}\n{event.replace('granted', 'withdrawn')}\n")
    assert _fate(zone.only()) == (2, 1, 0, 1)  # L9: a withdrawal at the same moment is not a duplicate
    assert zone.raw("consents", "status") == [("granted",), ("withdrawn",)]


def test_keys_of_two_sources_are_their_own(tmp_path):
    def second_shop(sources):
        other = {**sources["shop"], "entities": {"sales": {**sources["shop"]["entities"]["sales"]}}}
        other["entities"]["sales"]["path"] = "second/sales_{date}.csv.gz"
        sources["second"] = other

    zone = Zone(tmp_path, second_shop)
    zone.land(SALES_FILE, sales(sale(10001)))
    zone.land("second/sales_2017-10-02.csv.gz", sales(sale(10001)) + "\n")
    assert [_fate(r) for r in zone.ingest()] == [(1, 1, 0, 0), (1, 1, 0, 0)]


def test_days_without_sales_are_no_copies_of_each_other_and_each_is_there(zone):
    for day in (1, 2):
        zone.land(f"shop/sales_2017-10-0{day}.csv.gz", sales())
        report = zone.only()
        assert (report.state, report.as_of, _fate(report)) == ("committed", date(2017, 10, day), (0, 0, 0, 0))
        assert report.warnings == ()


def test_twins_in_one_batch_are_loaded_once(zone):
    content = sales(sale(at="2017-10-01T12:00:00Z"))
    for day in (1, 2):
        zone.land(f"shop/sales_2017-10-0{day}.csv.gz", content)
    report = zone.only()
    assert _fate(report) == (2, 1, 0, 1)
    assert report.warnings[0].startswith(f"{SALES_FILE} has the content of shop/sales_2017-10-01.csv.gz")


def test_the_same_file_again_under_its_own_name_is_a_batch_of_duplicates_each_time(zone):
    for times in (1, 2, 3):
        zone.land(SALES_FILE, sales(sale(), sale(10002)))
        assert _fate(zone.only()) == ((2, 2, 0, 0) if times == 1 else (2, 0, 0, 2))
    assert [row[0] for row in zone.ledger("as_of")] == [DAY, DAY, DAY]
    assert zone.names("archive") == [SALES_FILE, f"{SALES_FILE}.1", f"{SALES_FILE}.2"]
    assert len(zone.raw("order_lines")) == 2


def test_L1_a_committed_file_that_was_not_archived_is_only_moved(zone):
    path = zone.land(SALES_FILE, sales(sale()))
    zone.only()
    (zone.settings.archive / SALES_FILE).replace(path)
    assert zone.ingest() == []
    assert zone.names("archive") == [SALES_FILE]
    assert zone.ledger("landed") == [(1,)]


def test_a_refused_batch_can_be_landed_again_once_it_is_corrected(zone):
    zone.land(SALES_FILE, sales(sale(quantity="x")))
    assert zone.only().state == "refused"
    zone.land(SALES_FILE, sales(sale(quantity="x")))
    assert zone.only().state == "refused"
    zone.land(SALES_FILE, sales(sale(quantity="1")))
    assert zone.only().state == "committed"
    assert zone.ledger("state") == [("refused",), ("committed",)]
    assert [n for n in zone.names("refused") if not n.endswith("txt")] == [SALES_FILE, f"{SALES_FILE}.1"]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(zone, monkeypatch):
    from perennial.pipeline import intake

    path, real = zone.land(SALES_FILE, sales(sale())), intake.inspect

    def inspect_slowly(*arguments):
        found = real(*arguments)
        path.write_bytes(path.read_bytes() + b"more")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(intake, "inspect", inspect_slowly)
        assert zone.ingest() == []
    assert zone.names("landing") == [SALES_FILE]
    assert zone.ledger("state") == []


def test_consents_become_events_of_the_ledger_with_the_day_on_which_we_learned_of_them(zone):
    from perennial.ledger.consents import consent_state

    zone.land(f"crm/consents_{DAY}.csv", f"{CONSENTS}\n1,email,marketing,granted,2017-09-01T10:00:00Z\n")
    zone.only()
    engine = open_ledger(zone.settings)
    assert consent_state(engine, date(2017, 10, 1)).num_rows == 0
    assert consent_state(engine, DAY).column("status").to_pylist() == ["granted"]


def test_the_data_docs_show_the_judgement_and_no_cell_of_a_file(zone):
    zone.land(
        f"crm/households_{DAY}.csv", f"{HOUSEHOLDS}\n1,Annabella,B,annabella@example.com,+12025550123,,2017-01-01\n"
    )
    zone.only()
    [site] = zone.settings.data_docs.iterdir()
    assert site.name.startswith("2017-10-02-")
    text = " ".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    assert (site / "index.html").exists()
    assert "crm.households.sample" in text
    assert "Annabella" not in text
    assert "annabella@" not in text


def _parquet(zone: Zone, name: str, table: pa.Table) -> None:
    path = zone.settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _as_parquet(sources):
    contract = sources["shop"]["entities"]["sales"]
    contract.update(path="shop/sales_{date}.parquet", format={"type": "parquet", "timestamps_in": "America/New_York"})


def test_parquet_goes_the_same_way_with_the_row_number_as_line(tmp_path):
    zone = Zone(tmp_path, _as_parquet)
    rows = 60
    table = pa.table(
        {
            "basket_id": pa.array([10001 + i for i in range(rows)], pa.int64()),
            "household_id": pa.array([1.0] * (rows - 1) + [None], pa.float64()),
            "product_id": pa.array(["p1"] * rows),
            "sold_at": pa.array(
                [datetime(2017, 10, 2, 12)] * (rows - 2) + [datetime(2017, 10, 3)] * 2, pa.timestamp("us")
            ),
            "quantity": pa.array([1] * rows, pa.int32()),
            "sales_value": pa.array([2.5] * rows, pa.float64()),
            "discount": pa.array([0.1 + 0.2] * rows, pa.float64()),
            "store_id": pa.array(["s"] * rows),
            "extra": pa.array([{"a": 1}] * rows),
        }
    )
    _parquet(zone, "shop/sales_2017-10-02.parquet", table)
    report = zone.only()
    assert (_fate(report), report.guests) == ((60, 58, 2, 0), 58)
    assert zone.raw("order_lines", "order_key, client_key, ordered_at, amount::float, discount_amount::float, _line")[0] == (
        "10001", "1", datetime(2017, 10, 2, 16), 2.5, pytest.approx(0.3), 1,
    )  # fmt: skip
    assert zone.quarantined("order_lines", "_line, rules") == [(59, ["future:ordered_at"]), (60, ["future:ordered_at"])]


def test_a_parquet_file_that_is_cut_off_or_misses_a_column_is_refused(tmp_path):
    zone = Zone(tmp_path, _as_parquet)
    name = "shop/sales_2017-10-02.parquet"
    _parquet(zone, name, pa.table({"basket_id": [1]}))
    assert "column household_id, product_id" in zone.only().reasons[0]
    whole = (zone.settings.refused / name).read_bytes()
    zone.land(name, whole[: len(whole) // 2])
    assert zone.only().reasons[0].startswith(f"{name}: not a whole Parquet file: ")
    zone.land(name, b"")
    assert zone.only().reasons[0].startswith(f"{name}: the file is empty")


def test_a_parquet_file_with_damaged_pages_is_refused_and_the_others_go_on(tmp_path):
    zone = Zone(tmp_path, _as_parquet)
    columns = SALES.split(",")
    table = pa.table({c: [f"{i}" for i in range(4000)] for c in columns})
    _parquet(zone, "shop/sales_2017-10-01.parquet", table)
    damaged = bytearray((zone.settings.landing / "shop/sales_2017-10-01.parquet").read_bytes())
    damaged[40:2000] = bytes(1960)
    zone.land("shop/sales_2017-10-01.parquet", bytes(damaged))
    row = [10001, 1, "p", "2017-10-02 12:00:00", 1, 2, 0, "s"]
    _parquet(zone, "shop/sales_2017-10-02.parquet", pa.table({c: [str(v)] for c, v in zip(columns, row, strict=True)}))
    reports = zone.ingest()
    assert [(r.state, r.loaded) for r in reports] == [("refused", 0), ("committed", 1)]
    assert "the content cannot be read" in reports[0].reasons[0]


LINES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["1", "2", "x", ""]), st.sampled_from(["p1", ""])), max_size=8
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# A whole file that came before is a duplicate, its bad rows too: there is a test of its own for that.
@given(st.lists(LINES, min_size=1, max_size=4, unique_by=tuple))
def test_L1_landed_is_loaded_plus_quarantined_plus_duplicate_and_raw_has_exactly_the_loaded(
    tmp_path_factory, deliveries
):
    def lenient(sources):
        sources["shop"]["entities"]["sales"]["limits"] = {"warn": 1.0, "stop": 1.0}

    zone = Zone(tmp_path_factory.mktemp("l1"), lenient)
    expected = 0
    for day, lines in enumerate(deliveries, start=1):
        rows = [sale(10000 + k, quantity=q, product=p, at="2017-10-01T12:00:00Z") for k, q, p in lines]
        zone.land(f"shop/sales_2017-10-{day:02d}.csv.gz", sales(*rows))
        report = zone.only()
        assert report.landed == len(lines)
        assert report.loaded + report.quarantined + report.duplicate == report.landed
        assert report.quarantined == sum(q in {"x", ""} or p == "" for _k, q, p in lines)
        expected += report.loaded
    assert len(zone.raw("order_lines")) == expected
    assert len(zone.quarantined("order_lines")) == sum(row[0] for row in zone.ledger("quarantined"))
    assert _current(zone) == _documents(deliveries)


def _current(zone: Zone) -> dict[str, list[int]]:
    """Per order the lines of its last version, as the models pick it."""
    last: dict[str, tuple] = {}
    for key, quantity, *version in zone.raw(
        "order_lines", "order_key, quantity::int, _business_date, _batch_seq, _file"
    ):
        at, lines = last.get(key, ((), []))
        last[key] = (
            (tuple(version), [*lines, quantity])
            if tuple(version) == at
            else (tuple(version), [quantity])
            if tuple(version) > at
            else (at, lines)
        )
    return {key: sorted(lines) for key, (_at, lines) in last.items()}


def _documents(deliveries) -> dict[str, list[int]]:
    """The same, from what was delivered: the last delivery with a good line of the order."""
    found: dict[str, list[int]] = {}
    for lines in deliveries:
        day: dict[str, list[int]] = {}
        for key, quantity, product in lines:
            if quantity in {"1", "2"} and product:
                day.setdefault(str(10000 + key), []).append(int(quantity))
        found |= {key: sorted(quantities) for key, quantities in day.items()}
    return found
