"""What each record looked like when it was landed last: for APIs that do not say what changed, or say it coarsely.

A file per source entity (SQLite, mode 600) in the source's folder of state: key, 16 bytes of a hash of the content, the
reading in which the record was seen last. A change is written down once the file that holds it is landed, so that a
crash lands it again (L1). It grows with the records, on disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_TABLE = """
create table if not exists records (
    key text primary key, hash blob not null, seen integer not null, missed integer not null default 0
) without rowid
"""


class Memory:
    """The remembered records of one source entity. Use as a context manager: what was not committed is forgotten."""

    def __init__(self, path: Path, *, afresh: bool) -> None:
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute(_TABLE)
        self._connection.execute("create table if not exists marks (name text primary key, value text) without rowid")
        (self._reading,) = self._connection.execute("select coalesce(max(seen), 0) + 1 from records").fetchone()
        self._connection.execute("begin immediate")
        if afresh:  # the cursor is empty: the first fetch, or a person wants all of it again
            self._connection.execute("delete from records")
            self._connection.execute("delete from marks")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")
        self._connection.close()

    def is_news(self, key: str, content: bytes) -> bool:
        """Is the record new, or another than the one landed last?"""
        found = self._connection.execute("select hash from records where key = ?", (key,)).fetchone()
        return found is None or found[0] != content

    def note(self, key: str, content: bytes) -> None:
        """The record was seen as this."""
        self._connection.execute(
            "insert into records values (?, ?, ?, 0) on conflict (key) do update set hash = excluded.hash,"
            " seen = excluded.seen, missed = 0",
            (key, content, self._reading),
        )

    def mark(self, name: str) -> str | None:
        """A mark that was set and committed."""
        found = self._connection.execute("select value from marks where name = ?", (name,)).fetchone()
        return found[0] if found else None

    def set_mark(self, name: str, value: str) -> None:
        """How far a reading came that brought nothing, so that no file's cursor tells it."""
        self._connection.execute("insert or replace into marks values (?, ?)", (name, value))

    def size(self) -> int:
        """How many records are remembered."""
        (rows,) = self._connection.execute("select count(*) from records").fetchone()
        return int(rows)

    def unseen(self) -> int:
        """How many records this reading did not see."""
        (rows,) = self._connection.execute("select count(*) from records where seen < ?", (self._reading,)).fetchone()
        return int(rows)

    def miss(self) -> None:
        """Note that what was not seen is missing from one more complete listing."""
        self._connection.execute("update records set missed = missed + 1 where seen < ?", (self._reading,))

    def missing(self, *, times: int) -> Iterator[str]:
        """The keys, in their order, that are missing from so many complete listings."""
        last = ""
        while True:
            rows = self._connection.execute(
                "select key from records where seen < ? and missed >= ? and key > ? order by key limit 1000",
                (self._reading, times, last),
            ).fetchall()
            if not rows:
                return
            for (key,) in rows:
                yield key
            last = rows[-1][0]

    def forget(self, key: str) -> None:
        """The record is gone."""
        self._connection.execute("delete from records where key = ?", (key,))

    def commit(self) -> None:
        """What was noted so far is landed."""
        self._connection.execute("commit")
        self._connection.execute("begin immediate")
