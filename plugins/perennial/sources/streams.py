"""A durable queue as a source: Redis or Valkey streams with a consumer group, read at least once (L1).

An entry is acknowledged when its rows are on our disk (`sources.events`), or set aside with the reason if it cannot be
used. Who dies in between leaves it pending: it is read again, its rows are duplicates then, and never lost.

An entry's fields are the event; a field whose text is a JSON object or list is read as such, and an entry of one such
field is that JSON itself.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from perennial.contracts.connections import QueueConnection
from perennial.contracts.sources import Source
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, PerennialError, Problem, RetryableError, RowRejected
from perennial.core.files import sync
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.sources.eventrows import parse_events, rows_of
from perennial.sources.events import Spool

MAX_ENTRY_BYTES = 2_000_000
_AT_ONCE = 100  # entries held in memory
_IDLE_MS = 30_000  # a reader that is silent for so long is dead, and what it had is read by us
_CLAIM_SECONDS = 10.0
_SOCKET_SECONDS = 10.0

Entry = tuple[bytes, Mapping[bytes, bytes]]

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Taken:
    """What one look at the streams brought: entries, the rows that they held, entries set aside, and unmatched ones."""

    entries: int = 0
    rows: int = 0
    refused: int = 0
    unmatched: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.entries + other.entries,
            self.rows + other.rows,
            self.refused + other.refused,
            self.unmatched + other.unmatched,
        )


class StreamReader:
    """One reader of a source's streams; `consumer` is its name in the group, the same after a restart."""

    def __init__(
        self, settings: Settings, source_name: str, source: Source, connection: Connection, *, consumer: str
    ) -> None:
        if not isinstance(source.connection, QueueConnection):
            fix = "give it a connection of kind: queue"
            raise ConfigError(Problem(f"source {source_name}", "has no queue to read", fix))
        self._settings = settings
        self._where = source_name
        self._queue: QueueConnection = source.connection
        self._consumer = consumer
        self._client = client_of(connection)
        self._readers = {
            name: (entity, Spool(settings, source_name, name, entity, max_rows=source.connection.max_events))
            for name, entity in source.entities.items()
            if entity.events is not None
        }
        self._streams = streams_of(source)
        self._folder = _folder(source)
        self._prepared: set[str] = set()
        self._claimed_at = float("-inf")

    def step(self, *, block_ms: int = 1_000) -> Taken:
        """Take what is there, or wait so long for something. Raises RetryableError (outside), ConfigError (sign-in)."""
        try:
            with _as_our_errors(self._where):
                taken = sum((self._prepare(stream) for stream in self._streams), Taken()) + self._claim()
                return self._new(taken, None if taken.entries else block_ms)
        except PerennialError:
            self._prepared.clear()  # what was handed to us and not acknowledged is read again first
            raise

    def _new(self, taken: Taken, block_ms: int | None) -> Taken:
        wanted: dict[Any, Any] = dict.fromkeys(self._streams, ">")
        found = self._client.xreadgroup(
            self._queue.group, self._consumer, wanted, count=min(self._queue.max_events, _AT_ONCE), block=block_ms
        )
        for stream, entries in cast("list[tuple[bytes, list[Entry]]]", found or []):
            taken += self._take(stream.decode(), entries)
        return taken

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def _prepare(self, stream: str) -> Taken:
        """Make the group where it is not there (from the stream's beginning), and read what we had not acknowledged."""
        if stream in self._prepared:
            return Taken()
        try:
            self._client.xgroup_create(stream, self._queue.group, id="0", mkstream=True)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        taken = self._own(stream)
        self._prepared.add(stream)
        return taken

    def _own(self, stream: str) -> Taken:
        taken, last = Taken(), b"0"
        while True:
            found = self._client.xreadgroup(self._queue.group, self._consumer, {stream: last}, count=_AT_ONCE)
            entries = cast("list[tuple[bytes, list[Entry]]]", found)[0][1] if found else []
            if not entries:
                return taken
            last = entries[-1][0]
            taken += self._take(stream, entries)

    def _claim(self) -> Taken:
        """What dead readers of the group left unacknowledged."""
        taken = Taken()
        if time.monotonic() - self._claimed_at < _CLAIM_SECONDS:
            return taken
        for stream in self._streams:
            cursor: Any = b"0-0"
            while True:
                answer = self._client.xautoclaim(
                    stream, self._queue.group, self._consumer, _IDLE_MS, start_id=cursor, count=_AT_ONCE
                )
                cursor, entries = answer[:2]
                taken += self._take(stream, entries)
                if cursor == b"0-0":
                    break
        self._claimed_at = time.monotonic()
        return taken

    def _take(self, stream: str, entries: Sequence[Entry]) -> Taken:
        """Rows to the spools, what cannot be used aside, then the acknowledgement: in this order (L1)."""
        rows: dict[str, list[bytes]] = {name: [] for name in self._readers}
        poison: list[tuple[Entry, str]] = []
        unmatched = 0
        there = [(number, fields) for number, fields in entries if fields]  # else trimmed off the stream meanwhile
        for number, fields in there:
            try:
                found = self._rows(stream, number, fields)
            except RowRejected as error:
                poison.append(((number, fields), str(error)))
                continue
            unmatched += not any(found.values())
            for name, lines in found.items():
                rows[name] += lines
        for name, lines in rows.items():
            if lines:
                self._readers[name][1].append(lines)
        if poison:
            self._set_aside(stream, poison)
        if entries:
            self._client.xack(stream, self._queue.group, *(number for number, _ in entries))
        if len(there) < len(entries):
            gone = len(entries) - len(there)
            log.error("%s: %s entries were trimmed off stream %s before they were read", self._where, gone, stream)
        if unmatched:
            log.info("%s: %s entries of stream %s match no entity, and are left out", self._where, unmatched, stream)
        return Taken(len(there), sum(len(lines) for lines in rows.values()), len(poison), unmatched)

    def _rows(self, stream: str, number: bytes, fields: Mapping[bytes, bytes]) -> dict[str, list[bytes]]:
        where = f"{self._where}: stream {stream}, entry {number.decode()}"
        if sum(len(name) + len(value) for name, value in fields.items()) > MAX_ENTRY_BYTES:
            raise RowRejected(Problem(where, f"is larger than {MAX_ENTRY_BYTES:,} bytes", "send smaller events"))
        events = _events(fields, where)
        return {
            name: [row for event in events for row in rows_of(event, entity, where, arrival=_arrival(number))]
            for name, (entity, _spool) in self._readers.items()
            if entity.events and entity.events.stream in {None, stream}
        }

    def _set_aside(self, stream: str, poison: Sequence[tuple[Entry, str]]) -> None:
        """One file for each set, named by its entries, with the reasons beside it; the same ones give the same name."""
        name = f"{digest_of([stream, *(number.decode() for (number, _), _ in poison)])}.jsonl"
        folder = self._settings.refused / self._folder / "queue"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = [
            json.dumps({"stream": stream, "entry": number.decode(), "fields": _shown(fields)})
            for (number, fields), _ in poison
        ]
        for target, text in (
            (folder / name, "\n".join(lines)),
            (folder / f"{name}.reason.txt", "\n".join(why for _, why in poison)),
        ):
            part = target.with_name(f".{target.name}.part")
            part.touch(mode=0o600)
            part.write_text(text + "\n", encoding="ascii", errors="backslashreplace")
            sync(part)
            part.replace(target)
        sync(folder)
        log.warning("%s: %s entries of stream %s cannot be used: see %s", self._where, len(poison), stream, folder)


def streams_of(source: Source) -> list[str]:
    """The streams that the source's entities name."""
    return sorted(
        {entity.events.stream for entity in source.entities.values() if entity.events and entity.events.stream}
    )


def client_of(connection: Connection) -> redis.Redis:
    """A client for the connection: host, port, login, password, `schema` or extra `db` as the number, extra `ssl`."""
    extra = connection.extra
    number = connection.schema or extra.get("db") or 0
    if not str(number).isdigit():
        fix = "give the number of the database in schema or in extra db"
        raise ConfigError(Problem(f"connection {connection.id}", "its database is not a number", fix))
    return redis.Redis(
        host=connection.host or "localhost",
        port=connection.port or 6379,
        username=connection.login or None,
        password=connection.password,
        db=int(number),
        ssl=str(extra.get("ssl", connection.kind == "rediss")).lower() == "true",
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),  # who reads waits and tries again, and says so
        decode_responses=False,
    )


@contextmanager
def _as_our_errors(where: str) -> Iterator[None]:
    try:
        yield
    except redis.exceptions.AuthenticationError:
        fix = "mend login and password of the connection"
        raise ConfigError(Problem(where, "the queue refuses who we are", fix)) from None
    except redis.exceptions.RedisError as error:
        said = type(error).__name__ if isinstance(error, redis.exceptions.ConnectionError) else str(error)
        raise RetryableError(Problem(where, f"the queue cannot be read: {said}", "it is tried again")) from error


def _arrival(number: bytes) -> int:
    """The entry's number as one that grows with it: the same entry, read again, has the same."""
    milliseconds, _, sequence = number.partition(b"-")
    return int(milliseconds) * 1_000_000 + int(sequence)


def _events(fields: Mapping[bytes, bytes], where: str) -> list[dict[str, Any]]:
    if len(fields) == 1:
        only = next(iter(fields.values()))
        if _is_json(only):
            return parse_events(only, where)
    event: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            event[name.decode()] = _value(value, where)
        except UnicodeDecodeError:
            raise RowRejected(Problem(where, "a field is not UTF-8", "send text")) from None
    return [event]


def _value(value: bytes, where: str) -> Any:
    if not _is_json(value):
        return value.decode()
    found = parse_events(value, where)
    return found if value.lstrip().startswith(b"[") else found[0]


def _is_json(value: bytes) -> bool:
    return value.lstrip()[:1] in {b"{", b"["}


def _shown(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(errors="replace"): value.decode(errors="backslashreplace") for name, value in fields.items()}


def _folder(source: Source) -> str:
    return next(iter(source.entities.values())).path.split("/", 1)[0]
