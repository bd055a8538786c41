"""A whole table against the last time: what changed, and which keys went.

What is remembered is a Parquet file of key and row hash, named by the number in the cursor: the cursor that is written
when the changes have landed is what makes it valid, so a crash in between finds the same changes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import sync
from perennial.core.sqltext import identifier, literal
from perennial.sources.database.landed import open_duckdb, row_text
from perennial.sources.database.place import DELETED, Place
from perennial.sources.fetching import FetchedFile, Request


def snapshot(request: Request, place: Place, path: Path | None, columns: Sequence[str]) -> Iterator[FetchedFile]:
    """The file of the changed rows and of tombstones; `path` is the whole table, None when it is empty.

    Raises ContractViolation when more keys vanished than max_deleted_share (L11), ConfigError for a key that is none.
    """
    number = int(request.cursor.get("snapshot", 0))
    before = request.state / f"{request.entity_name}.{number}.parquet"
    after = request.state / f"{request.entity_name}.{number + 1}.parquet"
    notes: tuple[str, ...] = ()
    if number and not before.is_file():
        notes = ("the last snapshot is not there any more: every row is landed again, deleted ones are not told",)
    if path is None and not before.is_file():
        return
    changes = request.scratch / f"{request.entity_name}.parquet"
    with open_duckdb(request.scratch) as connection:
        _load(connection, place, path, columns, before)
        _refuse_bad_keys(connection, place)
        gone = _refuse_implausible(connection, place)
        rows = _write_changes(connection, place, path, changes, f"snapshot {number + 1}")
        if not rows:
            return
        _remember(connection, after)
    dated = f"{request.today.isoformat()}_" if "{date}" in request.entity.path else ""
    name = f"{dated}{number + 1}"
    notes += (f"{gone} keys vanished",) if gone else ()
    yield FetchedFile(changes, name, {"snapshot": number + 1}, rows, notes=notes)
    _forget_others(request, after)


def _forget_others(request: Request, kept: Path) -> None:
    """Remove snapshots that no cursor names any more, also those of a fetch that was killed."""
    for file in request.state.iterdir():
        entity, _, number = file.name.removesuffix(".parquet").rpartition(".")
        if entity == request.entity_name and number.isdigit() and file != kept:
            file.unlink()


def _keys(place: Place) -> list[str]:
    """The names of the key's columns in `now` and `last`."""
    return [f"k{index}" for index in range(len(place.read.key))]


def _load(
    connection: duckdb.DuckDBPyConnection, place: Place, path: Path | None, columns: Sequence[str], before: Path
) -> None:
    """Tables `now` and `last`: key as text and hash of every row, now and the last time."""
    names = _keys(place)
    empty = f"select {', '.join(f'null::varchar as {name}' for name in names)}, null::varchar as hash where false"
    keys = ", ".join(f"{identifier(c)}::varchar as {k}" for c, k in zip(place.read.key, names, strict=True))
    now = f"select {keys}, md5({row_text(columns)}) as hash from read_parquet({literal(str(path))})" if path else empty
    last = f"select * from read_parquet({literal(str(before))})" if before.is_file() else empty
    connection.execute(f"create table now as {now}")
    connection.execute(f"create table last as {last}")


def _refuse_bad_keys(connection: duckdb.DuckDBPyConnection, place: Place) -> None:
    key, shown = ", ".join(_keys(place)), ", ".join(place.read.key)
    missing = " or ".join(f"{name} is null" for name in _keys(place))
    nulls = _number(connection, f"select count(*) from now where {missing}")
    twice = _number(connection, f"select count(*) from (select {key} from now group by {key} having count(*) > 1)")
    if nulls or twice:
        said = f"{nulls} rows have no value in it" if nulls else f"{twice} of its values have several rows"
        raise place.error(f"database.key [{shown}] does not identify a row: {said}", "name the table's primary key")


def _refuse_implausible(connection: duckdb.DuckDBPyConnection, place: Place) -> int:
    """The number of keys that went. An empty source reads as `everyone left`: that is held for a person (L11)."""
    key = ", ".join(_keys(place))
    known = _number(connection, "select count(*) from last")
    gone = _number(connection, f"select count(*) from last anti join now using ({key})")
    if known and gone / known > place.read.max_deleted_share:
        message = f"{gone} of {known} keys vanished since the last snapshot; nothing was landed (L11)"
        limit = place.read.max_deleted_share
        fix = f"see whether the table is whole; if it is right, raise database.max_deleted_share (now {limit:g})"
        raise ContractViolation(Problem(place.where, message, fix))
    return gone


def _write_changes(
    connection: duckdb.DuckDBPyConnection, place: Place, path: Path | None, target: Path, name: str
) -> int:
    """Changed rows as they are, then keys that went; in the order of the key, so that the file is the same again."""
    names = _keys(place)
    key = ", ".join(names)
    whole = f"read_parquet({literal(str(path))})"
    pairs = list(zip(place.read.key, names, strict=True))
    if path is None:  # everything went, and that is allowed
        gone = ", ".join(f"last.{k} as {identifier(c)}" for c, k in pairs)
        query = f"select {gone}, true as {DELETED} from last order by all"
    else:
        types = {row[0]: row[1] for row in connection.execute(f"describe select * from {whole}").fetchall()}
        same = " and ".join(f"whole.{identifier(c)}::varchar = changed.{k}" for c, k in pairs)
        gone = ", ".join(f"try_cast({k} as {types[c]}) as {identifier(c)}" for c, k in pairs)
        query = f"""
            select * from (
                select whole.*, false as {DELETED} from {whole} as whole
                inner join (
                    select now.* from now anti join last using ({key}, hash)
                ) as changed on {same}
                union all by name
                select {gone}, true as {DELETED} from (select * from last anti join now using ({key}))
            ) order by {DELETED}, {", ".join(identifier(c) for c, _k in pairs)}
        """
    metadata = f"kv_metadata {{'perennial.range': {literal(name)}}}"
    row = connection.execute(
        f"copy ({query}) to {literal(str(target))} (format parquet, compression zstd, {metadata})"
    ).fetchone()
    return int(row[0]) if row else 0


def _remember(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    connection.execute(f"copy now to {literal(str(part))} (format parquet, compression zstd)")
    part.chmod(0o600)
    sync(part)
    part.replace(path)
    sync(path.parent)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
