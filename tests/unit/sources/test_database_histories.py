"""Random histories of a table: what was fetched bit by bit is what the table holds (L1, L4)."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from factories.databases import Reader, sqlite_uri

START = datetime(2026, 1, 1)
LOOK_BACK = timedelta(minutes=30)
TABLE = "create table items (id integer primary key, name text, changed_at text)"


def _change(random_, connection, now, *, deletes):
    """Insert, update or delete one row; its time may lie up to the look-back behind what others have committed."""
    ids = [row[0] for row in connection.execute("select id from items")]
    at = now - random_.random() * LOOK_BACK * 0.99
    at = at.replace(microsecond=0) if random_.random() < 0.5 else at.replace(microsecond=at.microsecond // 1000 * 1000)
    values = (
        random_.choice([None, "", "a", "ü", "a"]),
        at.isoformat(sep=random_.choice(" T"), timespec="milliseconds"),
    )
    what = random_.random()
    if not ids or what < 0.5:
        connection.execute("insert into items (name, changed_at) values (?, ?)", values)
    elif deletes and what < 0.7:
        connection.execute("delete from items where id = ?", (random_.choice(ids),))
    else:
        connection.execute("update items set name = ?, changed_at = ? where id = ?", (*values, random_.choice(ids)))


def _rows(connection):
    return {str(row[0]): (row[1], row[2]) for row in connection.execute("select id, name, changed_at from items")}


@pytest.mark.parametrize("mode", ["incremental", "snapshot"])
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_L4_what_was_fetched_bit_by_bit_is_what_the_table_holds(tmp_path, seed, mode):
    random_, path, now = random.Random(seed), tmp_path / "items.db", START
    read = (
        {"table": "items", "watermark": "changed_at", "look_back_minutes": LOOK_BACK.seconds / 60}
        if mode == "incremental"
        else {"table": "items", "mode": "snapshot", "key": ["id"], "max_deleted_share": 1}
    )
    reader, known = Reader(sqlite_uri(path), tmp_path, read, {"product_key": "id"}), {}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(TABLE)
        for _ in range(8):
            for _ in range(random_.randrange(6)):
                now += random_.random() * LOOK_BACK * 0.1
                _change(random_, connection, now, deletes=mode == "snapshot")
            if random_.random() < 0.3:
                next(reader.files(), None)  # killed before its cursor was kept
            for row in reader.fetch():
                known.pop(str(row["id"]), None)
                if not row.get("_deleted"):
                    known[str(row["id"])] = (row["name"], row["changed_at"])
            assert known == _rows(connection)
        assert reader.fetch() == []
