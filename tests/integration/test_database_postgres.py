"""Reading a real PostgreSQL: types, ranges, late commits, deletes, restarts, rights (issue 3, databases)."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal

import psycopg2
import pytest

from factories.databases import Reader
from perennial.core.errors import ConfigError, ContractViolation, PermanentError, RetryableError

pytestmark = pytest.mark.integration

ORDERS = """
    create table orders (id bigint primary key, product text, updated_at timestamptz);
    insert into orders values
        (1, 'a', '2026-01-01 10:00+00'), (2, 'b', '2026-01-01 11:00+00'), (3, 'c', '2026-01-01 11:00+00');
"""


def _orders(postgres, tmp_path, script=ORDERS, **read):
    name = postgres.create(script)
    options = {"table": "orders", "watermark": "updated_at", **read}
    return name, Reader(postgres.uri(name), tmp_path, options, {"product_key": "id", "product_name": "product"})


def _ids(rows):
    return sorted(int(row["id"]) for row in rows)


def _by_cursor(reader: Reader) -> Reader:
    reader.uri += "&adbc=false"
    return reader


EVERY_TYPE = """
    create type mood as enum ('sad', 'glad');
    create domain code as varchar(5);
    create table orders (
        id int primary key, d date, t timestamp, tz timestamptz, n numeric, m money, big bigint, r real, dp float8,
        f boolean, b bytea, j jsonb, u uuid, a int[], e mood, c code, p char(4), i interval, x text
    );
    insert into orders values (
        1, '2026-02-28', '2026-03-29 02:30:00.123456', '2026-03-29 02:30:00+02', 12345678901234567890.123456789,
        '1234567.89', 9223372036854775807, 0.15, 0.1, true, '\\x00ff', '{"a": [1, "\u00e9"]}',
        '00000000-0000-0000-0000-000000000001', '{1,2}', 'glad', 'AB', 'xy', '1 day 02:00', 'naïve "q" '' | , ;'
    ), (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
"""  # fmt: skip


@pytest.mark.parametrize("way", ["arrow", "cursor"])
def test_every_type_arrives_exactly_and_times_are_utc(postgres, tmp_path, way):
    _, reader = _orders(postgres, tmp_path, EVERY_TYPE, watermark="id")
    reader.columns = {"product_key": "id"}
    if way == "cursor":
        _by_cursor(reader)
    one, two = sorted(reader.fetch(), key=lambda row: int(row["id"]))
    assert one["n"] == "12345678901234567890.123456789"
    assert Decimal(one["m"]) == Decimal("1234567.89")
    assert int(one["big"]) == 9223372036854775807
    assert (one["b"], one["a"], one["e"], one["c"]) == ("00ff", "{1,2}", "glad", "AB")
    assert one["u"] == "00000000-0000-0000-0000-000000000001"
    assert one["j"] == '{"a": [1, "é"]}'
    assert one["x"] == 'naïve "q" \' | , ;'
    if way == "cursor":
        assert (one["tz"], one["t"], one["d"]) == ("2026-03-29 00:30:00+00", "2026-03-29 02:30:00.123456", "2026-02-28")
        assert (one["r"], one["dp"], one["f"]) == ("0.15", "0.1", "true")
    else:
        assert one["tz"] == datetime.fromisoformat("2026-03-29T00:30:00+00:00")
        assert (one["t"], one["d"]) == (datetime(2026, 3, 29, 2, 30, 0, 123456), date(2026, 2, 28))
        assert (one["dp"], one["f"]) == (0.1, True)
    assert {key: value for key, value in two.items() if key != "id"} == dict.fromkeys(set(one) - {"id"})


def test_L1_a_second_fetch_brings_what_changed_and_a_third_brings_nothing(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path)
    assert _ids(reader.fetch()) == [1, 2, 3]
    assert reader.fetch() == []
    postgres.run(name, "update orders set product = 'z', updated_at = '2026-01-02 00:00+00' where id = 1")
    postgres.run(name, "insert into orders values (4, 'd', '2026-01-02 00:00+00')")
    assert {(row["id"], row["product"]) for row in reader.fetch()} >= {(1, "z"), (4, "d")}
    assert reader.fetch() == []


def test_L1_a_row_that_shares_the_last_watermark_and_comes_later_is_not_lost(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path)
    reader.fetch()
    postgres.run(name, "insert into orders values (9, 'late twin', '2026-01-01 11:00+00')")
    assert 9 in _ids(reader.fetch())
    assert reader.fetch() == []


def test_L1_a_transaction_that_commits_late_is_found_by_the_look_back(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, look_back_minutes=30)
    with closing(psycopg2.connect(postgres.uri(name))) as slow, slow.cursor() as cursor:
        cursor.execute("insert into orders values (7, 'slow', '2026-01-01 10:30+00')")
        assert _ids(reader.fetch()) == [1, 2, 3]
        slow.commit()
    assert _ids(reader.fetch()) == [2, 3, 7]
    assert reader.fetch() == []


def test_without_a_look_back_a_late_commit_is_not_seen_which_is_what_the_look_back_is_for(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path)
    reader.fetch()
    postgres.run(name, "insert into orders values (7, 'slow', '2026-01-01 10:30+00')")
    assert reader.fetch() == []


def test_a_number_may_be_the_watermark(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, watermark="id", look_back=1)
    assert _ids(reader.fetch()) == [1, 2, 3]
    postgres.run(name, "insert into orders values (4, 'd', null)")
    assert _ids(reader.fetch()) == [2, 3, 4]
    assert reader.cursor["watermark"] == {"type": "number", "value": "4"}


def test_rows_without_a_watermark_are_counted_and_told(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path, ORDERS + "insert into orders values (8, 'x', null), (9, 'y', null);")
    assert "2 rows have no updated_at and are never read" in reader.notes()


def test_a_watermark_far_in_the_future_does_not_hide_what_comes_before_it(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, ORDERS + "insert into orders values (8, 'typo', '2206-01-01');")
    assert "1 rows have a updated_at in the future" in reader.notes()
    assert reader.cursor["watermark"]["value"] == "2026-01-01T11:00:00+00:00"
    postgres.run(name, "insert into orders values (4, 'd', '2026-01-03 00:00+00')")
    assert 4 in _ids(reader.fetch())


def test_an_older_copy_of_the_database_is_told_and_what_is_added_to_it_is_read(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, watermark="id")
    reader.fetch()
    postgres.run(name, "delete from orders where id = 3")
    assert "the newest id is 2, before 3" in reader.notes()
    postgres.run(name, "insert into orders values (3, 'another', null)")
    assert [row["product"] for row in reader.fetch() if row["id"] == 3] == ["another"]


def test_an_empty_table_gives_no_file(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path, "create table orders (id int, product text, updated_at timestamptz)")
    assert list(reader.files()) == []


def test_the_file_of_a_range_has_the_same_name_and_bytes_again(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path)
    [first] = reader.files()
    before, reader.cursor = first.path.read_bytes(), {}
    [second] = reader.files()
    assert (first.suffix, before) == (second.suffix, second.path.read_bytes())


KEYED = {"mode": "snapshot", "key": ["id"], "watermark": None}


def test_a_snapshot_brings_what_changed_and_a_tombstone_for_each_key_that_went(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, **KEYED)
    assert _ids(reader.fetch()) == [1, 2, 3]
    assert reader.fetch() == []
    postgres.run(name, "delete from orders where id = 1; update orders set product = 'B' where id = 2")
    rows = {row["id"]: (row["product"], row["_deleted"]) for row in reader.fetch()}
    assert rows == {1: (None, True), 2: ("B", False)}
    postgres.run(name, "insert into orders values (1, 'a', '2026-01-01 10:00+00')")
    assert _ids(reader.fetch()) == [1]
    assert reader.fetch() == []


def test_L1_a_snapshot_that_was_not_landed_is_found_again(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, **KEYED)
    reader.fetch()
    postgres.run(name, "delete from orders where id = 1")
    killed = next(reader.files())  # and the cursor is not kept
    assert killed.rows == 1
    assert [(row["id"], row["_deleted"]) for row in reader.fetch()] == [(1, True)]


def test_L11_an_empty_snapshot_is_held_unless_it_is_allowed(postgres, tmp_path):
    name, reader = _orders(postgres, tmp_path, **KEYED)
    reader.fetch()
    postgres.run(name, "delete from orders")
    with pytest.raises(ContractViolation, match="3 of 3 keys vanished since the last snapshot; nothing was landed"):
        reader.fetch()
    reader.read = {**reader.read, "max_deleted_share": 1}
    assert [row["_deleted"] for row in reader.fetch()] == [True, True, True]
    assert reader.fetch() == []


def test_a_key_that_does_not_identify_a_row_is_told(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path, **{**KEYED, "key": ["updated_at"]})
    with pytest.raises(ConfigError, match="does not identify a row: 1 of its values have several rows"):
        reader.fetch()


@pytest.mark.parametrize(("way", "rows"), [("arrow", 400_000), ("cursor", 60_000)])
def test_a_database_that_stops_in_the_middle_is_retryable_and_the_range_is_read_again(postgres, tmp_path, way, rows):
    name, reader = _orders(postgres, tmp_path, "create table orders (id bigint, product text, updated_at timestamptz)")
    many = "select n, repeat('x', 200), timestamptz '2026-01-01' + n * interval '1 s'"
    postgres.run(name, f"insert into orders {many} from generate_series(1, {rows}) as n")
    reader.options = {"chunk_rows": 1_000}
    if way == "cursor":
        _by_cursor(reader)
    from perennial.sources.database import landed

    original, seen = landed.pq.ParquetWriter.write_table, Counter()

    def stop_after_the_first(self, *arguments, **named):
        seen["groups"] += 1
        if seen["groups"] == 2:
            postgres.stop()
        return original(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landed.pq.ParquetWriter, "write_table", stop_after_the_first)
        try:
            with pytest.raises(RetryableError, match="the database of connection db is not there, or dropped us"):
                reader.fetch()
            with pytest.raises(RetryableError):
                reader.fetch()  # it is down
        finally:
            postgres.start()
    assert reader.cursor == {}
    assert sum(file.rows or 0 for file in reader.files()) == rows


@pytest.mark.parametrize("way", ["arrow", "cursor"])
def test_a_statement_that_runs_too_long_is_told_with_its_setting(postgres, tmp_path, way):
    slow = "select id, product, updated_at from orders where pg_sleep(0.3) is not null"
    _, reader = _orders(postgres, tmp_path, table=None, query=slow)
    reader.options = {"statement_timeout_seconds": 0.4}
    if way == "cursor":
        _by_cursor(reader)
    with pytest.raises(RetryableError, match=r"longer than statement_timeout_seconds: 0\.4") as caught:
        reader.fetch()
    assert "raise statement_timeout_seconds" in str(caught.value)


MISTAKES = [
    ({"table": "order"}, {}, "there is no table 'order' -> did you mean 'orders'"),
    ({"table": "nothing.orders"}, {}, "there is no table 'nothing.orders'"),
    ({"watermark": "update_at"}, {}, "there is no column 'update_at' -> did you mean 'updated_at'"),
    ({"watermark": "product"}, {}, "is neither a time, a date nor a number"),
    ({"look_back": 3}, {}, "look_back does not fit updated_at, a timestamp with time zone -> use look_back_minutes"),
    ({}, {"product_key": "ID"}, "columns.product_key: there is no column 'ID' -> did you mean 'id'"),
    ({"table": None, "query": "select * from order_s"}, {}, "does not exist -> did you mean 'orders'"),
    ({"table": None, "query": "select idd from orders"}, {}, "no such column"),
    ({"table": None, "query": "select id as x, product as x from orders"}, {}, "the column 'x' twice"),
    ({"table": None, "query": "select from where"}, {}, "the query is not valid"),
]


@pytest.mark.parametrize(("read", "columns", "told"), MISTAKES)
def test_a_mistake_names_the_field_and_what_was_meant(postgres, tmp_path, read, columns, told):
    _, reader = _orders(postgres, tmp_path, **read)
    reader.columns = {**reader.columns, **columns}
    with pytest.raises(ConfigError) as caught:
        reader.fetch()
    assert told in str(caught.value)


HOSTILE = [
    "select 1) as q; drop table orders; select (1",
    "select id from orders) to program 'touch x' --",
    "delete from orders returning *",
    "with gone as (delete from orders returning *) select * from gone",
    "select * from orders; select 1",
    "select 'open",
    "select (1",
    "select set_config('transaction_read_only', 'off', true) as x, id, product, updated_at from orders where lo_creat(-1) > 0",
]


@pytest.mark.parametrize("query", HOSTILE)
def test_L23_a_query_can_neither_leave_its_brackets_nor_write(postgres, tmp_path, query):
    name, reader = _orders(postgres, tmp_path, table=None, query=query)
    with pytest.raises(ConfigError):
        reader.fetch()
    assert postgres.run(name, "select count(*) from orders") == [(3,)]


def test_L23_names_with_quotation_marks_percent_signs_and_colons_are_only_names(postgres, tmp_path):
    odd = 'we"ird; drop table x --%s :a'
    quoted = '"' + odd.replace('"', '""') + '"'
    script = f"create table {quoted} ({quoted} int, \"a:b\" text); insert into {quoted} values (1, '%s :x');"
    name = postgres.create(script)
    for change in (lambda reader: reader, _by_cursor):
        reader = Reader(postgres.uri(name), tmp_path, {"table": odd, "watermark": odd}, {"product_key": odd})
        assert [list(row.values()) for row in change(reader).fetch()] in ([[1, "%s :x"]], [["1", "%s :x"]])


def test_L23_colons_and_percent_signs_of_a_query_are_its_own(postgres, tmp_path):
    query = (
        "select id, product || ':x %s %%' as product, updated_at::text::timestamptz as updated_at from orders -- end"
    )
    for change in (lambda reader: reader, _by_cursor):
        _, reader = _orders(postgres, tmp_path, table=None, query=query)
        assert {row["product"] for row in change(reader).fetch()} == {f"{one}:x %s %%" for one in "abc"}


def test_L22_a_login_that_is_refused_is_told_without_its_password(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path)
    reader.uri = reader.uri.replace("postgres:@", "no_such_role:topsecret@")
    with pytest.raises(ConfigError, match="login or password") as caught:
        reader.fetch()
    assert "topsecret" not in str(caught.value)
    assert reader.check()["sign in"] == str(caught.value)


def test_L22_a_value_of_a_row_is_not_in_the_message(postgres, tmp_path):
    _, reader = _orders(
        postgres, tmp_path, table=None, query="select id, updated_at, cast(product as int) as product from orders"
    )
    postgres.run(f"test_{postgres._made}", "update orders set product = 'ann@example.com'")
    with pytest.raises(PermanentError, match="a value cannot be converted") as caught:
        reader.fetch()
    assert "example.com" not in str(caught.value)


def test_a_table_that_may_not_be_read_is_told_with_the_grant(postgres, tmp_path):
    role = "create role reader login; grant usage on schema public to reader;"
    _, reader = _orders(postgres, tmp_path, ORDERS + role)
    reader.uri = reader.uri.replace("postgres:@", "reader:@")
    with pytest.raises(ConfigError, match="grant select on it"):
        reader.fetch()


def test_a_database_that_is_not_there_is_told(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path)
    reader.uri = reader.uri.replace("/test_", "/nowhere_")
    with pytest.raises(ConfigError, match="no such database"):
        reader.fetch()


def test_the_check_names_each_step(postgres, tmp_path):
    _, reader = _orders(postgres, tmp_path)
    assert reader.check() == dict.fromkeys(
        ["connection", "sign in", "read-only", "table", "columns", "watermark", "rows"], "ok"
    )
    reader.read = {**reader.read, "table": "orderz"}
    assert list(reader.check())[-1] == "table"
    assert "did you mean 'orders'" in reader.check()["table"]


def test_two_servers_behind_one_name_are_told_since_the_second_may_lag(postgres, tmp_path, monkeypatch):
    _, reader = _orders(postgres, tmp_path)
    elsewhere = postgres.uri(postgres.create(ORDERS))
    from perennial.sources.database import rows

    monkeypatch.setattr(rows, "dsn_of", lambda session: elsewhere)  # a balancer would do this
    with pytest.raises(ConfigError, match=r"do not see one server's snapshot -> .*adbc: false"):
        reader.fetch()
    assert len(_by_cursor(reader).fetch()) == 3


def test_memory_does_not_grow_with_the_table(postgres, tmp_path):
    """L26: the rows of one group are held, whatever the size; Arrow counts its own bytes."""
    import pyarrow as pa

    name, reader = _orders(postgres, tmp_path, "create table orders (id bigint, product text, updated_at timestamptz)")
    reader.options = {"chunk_rows": 10_000}
    peaks = []
    from perennial.sources.database import landed

    original = landed.pq.ParquetWriter.write_table

    def watched(self, table, **named):
        peaks.append(pa.total_allocated_bytes())
        return original(self, table, **named)

    for rows in (100_000, 300_000):
        postgres.run(
            name,
            f"truncate orders; insert into orders select n, repeat('x', 300), timestamptz '2026-01-01' + n * interval '1 s' from generate_series(1, {rows}) as n",
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(landed.pq.ParquetWriter, "write_table", watched)
            reader.cursor = {}
            assert sum(file.rows or 0 for file in reader.files()) == rows
        peaks, highest = [], max(peaks)
        if rows == 100_000:
            small = highest
    assert highest < 1.3 * small
