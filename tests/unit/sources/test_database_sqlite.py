"""Reading SQLite files: no server, no types, times as text (issue 3, databases)."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from factories.databases import Reader, sqlite_uri
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ConfigError, RetryableError
from perennial.sources.database.place import place_of
from perennial.sources.database.rows import as_text
from perennial.sources.database.urls import url_of

TABLE = "create table orders (id integer primary key, product text, updated_at text);"
ROWS = """
    insert into orders values
        (1, 'a', '2026-01-01 10:00:00'), (2, 'b', '2026-01-01T11:00:00Z'), (3, 'c', '2026-01-01 13:00:00.250+02:00');
"""


def _run(path, script):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def _reader(tmp_path, script=TABLE + ROWS, columns=None, entity="products", **read):
    path = tmp_path / "a shop #1?.db"
    _run(path, script)
    options = {"table": "orders", "watermark": "updated_at", **read}
    named = columns or {"product_key": "id", "product_name": "product"}
    return path, Reader(sqlite_uri(path), tmp_path, options, named, entity=entity)


def _ids(rows):
    return sorted(int(row["id"]) for row in rows)


def test_L1_times_as_text_are_compared_as_times_however_they_are_written(tmp_path):
    path, reader = _reader(tmp_path)
    assert _ids(reader.fetch()) == [1, 2, 3]
    assert reader.cursor["watermark"] == {"type": "timestamp", "value": "2026-01-01T11:00:00.250000"}
    _run(path, "insert into orders values (4, 'd', '2026-01-01T12:30:00+01:00')")
    assert 4 in _ids(reader.fetch())
    assert reader.fetch() == []


def test_a_look_back_reads_what_was_committed_late(tmp_path):
    path, reader = _reader(tmp_path, look_back_minutes=30)
    reader.fetch()
    _run(path, "insert into orders values (4, 'late', '2026-01-01 10:45:00')")
    assert _ids(reader.fetch()) == [2, 3, 4]
    assert reader.fetch() == []


def test_a_text_that_is_no_time_is_counted_with_the_missing_ones(tmp_path):
    _, reader = _reader(tmp_path, TABLE + ROWS + "insert into orders values (4, 'd', 'soon'), (5, 'e', null);")
    assert "2 rows have no updated_at" in reader.notes()


def test_numbers_and_text_in_one_watermark_are_told(tmp_path):
    _, reader = _reader(
        tmp_path,
        "create table orders (id, product, updated_at); insert into orders values (1, 'a', 1), (2, 'b', '2026-01-01');",
    )
    with pytest.raises(ConfigError, match="the watermark updated_at holds numbers and text"):
        reader.fetch()


def test_an_empty_watermark_is_told(tmp_path):
    _, reader = _reader(tmp_path, TABLE + "insert into orders values (1, 'a', null);")
    with pytest.raises(ConfigError, match="updated_at is empty in every row"):
        reader.fetch()


def test_a_fraction_may_be_the_watermark(tmp_path):
    path, reader = _reader(
        tmp_path,
        "create table orders (id, product, updated_at real); insert into orders values (1, 'a', 1.5), (2, 'b', 2.25);",
    )
    assert _ids(reader.fetch()) == [1, 2]
    assert reader.cursor["watermark"] == {"type": "number", "value": "2.25"}
    _run(path, "insert into orders values (3, 'c', 2.25)")
    assert _ids(reader.fetch()) == [2, 3]
    assert reader.fetch() == []


def test_values_are_exact_text_whatever_their_column_is_declared_as(tmp_path):
    script = """
        create table orders (id integer, product text, updated_at integer, price numeric(10, 2), photo blob, born datetime);
        insert into orders values (1, 'naïve', 1, 14.4, x'00ff', '1999-12-31 00:00:00'), (2, null, 2, 18.0, null, null);
    """
    _, reader = _reader(tmp_path, script, {"client_key": "id", "birth_date": "born"}, "clients")
    one, two = reader.fetch()
    assert (one["price"], two["price"], one["photo"], one["born"]) == ("14.4", "18", "00ff", "1999-12-31")
    assert (two["product"], two["born"]) == (None, None)


def test_a_snapshot_of_a_file_tells_what_went(tmp_path):
    path, reader = _reader(tmp_path, mode="snapshot", key=["id"], watermark=None)
    assert _ids(reader.fetch()) == [1, 2, 3]
    _run(path, "delete from orders where id = 3; update orders set product = null where id = 1")
    assert {(row["id"], row["product"], row["_deleted"]) for row in reader.fetch()} == {
        ("1", None, False),
        ("3", None, True),
    }


def test_L11_half_of_the_keys_may_go_at_once_and_no_more(tmp_path):
    path, reader = _reader(
        tmp_path,
        TABLE + ROWS + "insert into orders values (4, 'd', null);",
        mode="snapshot",
        key=["id"],
        watermark=None,
    )
    reader.fetch()
    _run(path, "delete from orders where id in (3, 4)")
    assert _ids(reader.fetch()) == [3, 4]


def test_a_snapshot_that_is_lost_is_told_and_everything_lands_again(tmp_path):
    _, reader = _reader(tmp_path, mode="snapshot", key=["id"], watermark=None)
    reader.fetch()
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    assert "the last snapshot is not there any more" in reader.notes()


def test_the_remembered_snapshot_is_one_file_that_only_we_may_read(tmp_path):
    path, reader = _reader(tmp_path, mode="snapshot", key=["id"], watermark=None)
    for number in range(3):
        _run(path, f"update orders set product = '{number}'")
        reader.fetch()
    [kept] = (tmp_path / "state").iterdir()
    assert (kept.name, oct(kept.stat().st_mode)[-3:]) == ("rows.3.parquet", "600")


def test_a_statement_that_runs_too_long_is_interrupted(tmp_path):
    endless = """
        with recursive n(i) as (select 1 union all select i + 1 from n)
        select i as id, 'x' as product, i as updated_at from n where i < 0
    """
    _, reader = _reader(tmp_path, table=None, query=endless)
    reader.options = {"statement_timeout_seconds": 0.05}
    with pytest.raises(RetryableError, match=r"longer than statement_timeout_seconds: 0\.05"):
        reader.fetch()


def test_L23_the_file_cannot_be_written_and_one_that_is_not_there_is_not_made(tmp_path):
    path, reader = _reader(tmp_path, table=None, query="delete from orders returning *")
    with pytest.raises(ConfigError):
        reader.fetch()
    reader.uri = sqlite_uri(tmp_path / "none.db")
    with pytest.raises(ConfigError, match=r"there is no SQLite file '.*none\.db'"):
        reader.fetch()
    assert not (tmp_path / "none.db").exists()
    path.write_bytes(b"this is no database" * 100)
    reader.uri, reader.read = sqlite_uri(path), {"table": "orders", "watermark": "updated_at"}
    with pytest.raises(ConfigError, match="no such database"):
        reader.fetch()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"path": "shop/rows_{date}*.csv", "format": {"type": "csv"}}, "cannot hold a table"),
        ({"path": "shop/rows_{date}.parquet"}, "gives two fetches of one day the same name"),
        ({"deleted": {"column": "gone"}}, "deleted.column: there is no column 'gone'"),
        ({"version": "version"}, "version: there is no column 'version'"),
    ],
)
def test_a_contract_that_does_not_fit_a_database_is_told(tmp_path, change, told):
    _, reader = _reader(tmp_path)
    reader.extra = change
    with pytest.raises(ConfigError) as caught:
        reader.fetch()
    assert told in str(caught.value)


def test_a_snapshot_without_a_word_for_deleted_rows_is_told(tmp_path):
    _, reader = _reader(tmp_path, mode="snapshot", key=["id"], watermark=None)
    reader.extra = {"deleted": None}
    with pytest.raises(ConfigError, match=r"deleted: \{column: _deleted\}"):
        reader.fetch()


def test_another_watermark_begins_from_the_beginning(tmp_path):
    _, reader = _reader(tmp_path)
    reader.fetch()
    reader.read = {**reader.read, "watermark": "id"}
    assert _ids(reader.fetch()) == [1, 2, 3]


def _url(text, tmp_path):
    _, reader = _reader(tmp_path)
    request = reader.request()
    return url_of(
        place_of(type(request)(**{**vars(request), "connections": EnvironmentConnections({"AIRFLOW_CONN_DB": text})}))
    )


URLS = [
    ("postgres://me:p%40ss@host:5433/shop?sslmode=require&foo=bar", "postgresql+psycopg2://me:p%40ss@host:5433/shop?connect_timeout=15&sslmode=require"),
    ("mysql://me:x@host/shop?charset=utf8mb4", "mysql+pymysql://me:x@host/shop?charset=utf8mb4"),
    ('{"conn_type": "generic", "extra": {"sqlalchemy_url": "oracle+oracledb://me:x@host/shop"}}', "oracle+oracledb://me:x@host/shop"),
    ('{"conn_type": "mssql", "host": "h", "login": "me", "extra": {"sqlalchemy_dialect": "mssql+pyodbc"}}', "mssql+pyodbc://me@h"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "url"), URLS)
def test_a_connection_of_airflow_becomes_a_url(tmp_path, text, url):
    assert _url(text, tmp_path).render_as_string(hide_password=False) == url


def test_L22_a_url_that_is_none_is_told_without_its_password(tmp_path):
    with pytest.raises(ConfigError, match="connection db is not that of a database") as caught:
        _url('{"conn_type": "generic", "extra": {"sqlalchemy_url": "topsecret@host"}}', tmp_path)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ('{"conn_type": "nosuch", "host": "h"}', "no SQLAlchemy dialect is called 'nosuch'"),
        (
            '{"conn_type": "x", "extra": {"sqlalchemy_url": "oracle+oracledb://me:x@host/shop"}}',
            "the driver 'oracledb' is not installed",
        ),
    ],
)
def test_a_dialect_that_is_not_installed_is_told(tmp_path, uri, told):
    _, reader = _reader(tmp_path)
    reader.uri = uri
    with pytest.raises(ConfigError) as caught:
        reader.fetch()
    assert told in str(caught.value)


def test_as_text_loses_nothing():
    from datetime import UTC, date, datetime, time, timedelta, timezone
    from decimal import Decimal
    from uuid import UUID

    values = {
        True: "true", 0.1: "0.1", 1e22: "1e+22", 7.0: "7", Decimal("1E+3"): "1000", Decimal("0.10"): "0.10", 2**70: str(2**70),
        datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))): "2026-01-01 00:00:00+00:00",
        datetime(2026, 1, 1, tzinfo=UTC): "2026-01-01 00:00:00+00:00", date(2026, 1, 1): "2026-01-01", time(1, 2): "01:02:00",
        b"\x00\xff": "00ff", UUID(int=1): "00000000-0000-0000-0000-000000000001", None: None, "": "",
    }  # fmt: skip
    assert {value: as_text(value) for value in values} == values
    assert as_text({"é": [1, Decimal("0.1")]}) == '{"é": [1, "0.1"]}'


def test_a_query_of_a_table_that_is_not_there_is_told_with_the_nearest(tmp_path):
    _, reader = _reader(tmp_path, table=None, query="select * from main.order_s")
    with pytest.raises(ConfigError, match=r"no such table: main.order_s -> did you mean 'orders'\?"):
        reader.fetch()
