"""Reading a real MariaDB, where the machine has one: types, ranges, deletes, time-out, read-only (issue 3)."""

from __future__ import annotations

import pytest

from factories.databases import Reader
from factories.mariadb import running_mariadb
from perennial.core.errors import ConfigError, RetryableError

pytestmark = pytest.mark.integration

TABLE = """
    create table orders (
        id bigint unsigned primary key, product varchar(50), updated_at datetime(6), ts timestamp(3) null,
        d date, n decimal(38, 18), dp double, r float, f tinyint(1), b varbinary(10), j json, e enum('sad', 'glad'), t time
    )
"""
ROWS = """
    insert into orders values
        (18446744073709551615, 'naïve ''q'' 😀', '2026-01-01 10:00:00.123456', '2026-01-01 10:00:00', '2026-02-28',
         12345678901234567890.123456789012345678, 0.1, 0.15, 1, x'00ff', '{"a": "é"}', 'glad', '12:30:00'),
        (2, 'b', '2026-01-01 11:00:00', null, null, null, null, null, null, null, null, null, null)
"""


@pytest.fixture(scope="module")
def mariadb():
    """A server of our own."""
    with running_mariadb() as server:
        yield server


def _reader(mariadb, folder, **read) -> tuple[str, Reader]:
    name = mariadb.create(
        TABLE,
        "set time_zone = '+02:00'",
        ROWS.replace("'2026-01-01 10:00:00', '2026-02", "'2026-01-01 12:00:00', '2026-02"),
    )
    options = {"table": "orders", "watermark": "updated_at", **read}
    return name, Reader(mariadb.uri(name), folder, options, {"product_key": "id", "product_name": "product"})


def test_every_type_arrives_exactly_and_times_are_utc(mariadb, tmp_path):
    _, reader = _reader(mariadb, tmp_path)
    one = next(row for row in reader.fetch() if row["id"] != "2")
    assert one == {
        "id": "18446744073709551615", "product": "naïve 'q' 😀", "updated_at": "2026-01-01 10:00:00.123456",
        "ts": "2026-01-01 10:00:00", "d": "2026-02-28", "n": "12345678901234567890.123456789012345678", "dp": "0.1",
        "r": "0.15", "f": "1", "b": "00ff", "j": '{"a": "é"}', "e": "glad", "t": "12:30:00",
    }  # fmt: skip


def test_L1_what_changed_is_read_and_an_equal_watermark_is_not_lost(mariadb, tmp_path):
    name, reader = _reader(mariadb, tmp_path)
    assert len(reader.fetch()) == 2
    assert reader.fetch() == []
    mariadb.run(name, "insert into orders (id, product, updated_at) values (3, 'c', '2026-01-01 11:00:00')")
    assert sorted(row["id"] for row in reader.fetch()) == ["2", "3"]
    mariadb.run(name, "update orders set product = 'z', updated_at = '2026-01-02' where id = 2")
    assert ("2", "z") in {(row["id"], row["product"]) for row in reader.fetch()}
    assert reader.fetch() == []


def test_a_snapshot_tells_what_was_deleted(mariadb, tmp_path):
    name, reader = _reader(mariadb, tmp_path, mode="snapshot", key=["id"], watermark=None)
    reader.fetch()
    mariadb.run(name, "delete from orders where id = 2")
    assert [(row["id"], row["_deleted"]) for row in reader.fetch()] == [("2", True)]


def test_L23_a_function_that_writes_is_refused_since_the_session_is_read_only(mariadb, tmp_path):
    name, reader = _reader(
        mariadb, tmp_path, table=None, query="select id, product, updated_at from orders where gone() > 0"
    )
    mariadb.run(
        None, "set global log_bin_trust_function_creators = 1",
        f"create function {name}.gone() returns int begin delete from {name}.orders; return 1; end",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="the session is read-only"):
        reader.fetch()
    assert mariadb.run(name, "select count(*) from orders") == [(2,)]


def test_a_statement_that_runs_too_long_is_told_with_its_setting(mariadb, tmp_path):
    slow = "select id, product, updated_at from orders where sleep(2) = 0"
    _, reader = _reader(mariadb, tmp_path, table=None, query=slow)
    reader.options = {"statement_timeout_seconds": 0.3}
    with pytest.raises(RetryableError, match=r"longer than statement_timeout_seconds: 0\.3"):
        reader.fetch()


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ({"table": "order"}, "did you mean 'orders'"),
        ({"watermark": "update_at"}, "did you mean 'updated_at'"),
        ({"table": None, "query": "select idd from orders"}, "no such column"),
        ({"table": None, "query": "select * from orderz"}, "did you mean 'orders'"),
    ],
)
def test_a_mistake_is_told(mariadb, tmp_path, read, told):
    _, reader = _reader(mariadb, tmp_path, **read)
    with pytest.raises(ConfigError) as caught:
        reader.fetch()
    assert told in str(caught.value)


def test_the_check_names_each_step_and_a_login_that_is_refused(mariadb, tmp_path):
    _, reader = _reader(mariadb, tmp_path)
    assert set(reader.check().values()) == {"ok"}
    reader.uri = reader.uri.replace("mysql://", "mysql://nobody:topsecret@x@").replace("@x@root@", "@")
    refused = reader.check()["sign in"]
    assert "login or password" in refused
    assert "topsecret" not in refused
