"""The quarantine as people see it: what waits in it, the rows with their reasons, a CSV to correct, dropping.

The rows lie in the Parquet file of their batch; what became of each is written in the ledger. A row without an action
waits.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from perennial.contracts.entities import ENTITIES
from perennial.contracts.sources import SourceEntity
from perennial.core import clock
from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import sync
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.delivery.formulas import escaped_texts
from perennial.ledger.engine import open_ledger
from perennial.ledger.quarantine import (
    WHOLE_FILE,
    Key,
    SetAside,
    files_of,
    find_batch,
    record_actions,
    set_aside,
    settled_keys,
    still_refused,
)
from perennial.pipeline.turns import turn
from perennial.quality.rules import STRUCTURE
from perennial.sources.config import load_sources
from perennial.sources.shelf import lies_refused
from perennial.sources.staging import open_scratch

CONTROL = ("_batch", "_file", "_line", "_reasons")  # the last columns of an export
_ROWS = 5_000
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Waiting:
    """The waiting rows of one rule of one batch. A row that breaks several rules counts under each of them.

    `share` is of the rows that landed in the batch. `oldest` is when they were set aside, `age_days` from then to now.
    """

    batch_id: str
    source: str
    entity: str
    state: str
    as_of: Any
    rule: str
    rows: int
    share: float
    oldest: datetime
    age_days: float


@dataclass(frozen=True)
class BadRow:
    """A quarantined row: where it stood, the rules that it breaks, each reason with its fix, and its raw values."""

    batch_id: str
    file: str
    line: int
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    raw: dict[str, str | None] = field(repr=False)


@dataclass(frozen=True)
class Selection:
    """One batch, or all batches with waiting rows of a source entity; `file` and `line` narrow it to one row."""

    batches: tuple[SetAside, ...]
    file: str | None = None
    line: int | None = None


def select(settings: Settings, text: str) -> Selection:
    """What `BATCH`, `BATCH:LINE`, `BATCH:FILE:LINE` or `SOURCE.ENTITY` names; a batch by the beginning of its id.

    Raises ContractViolation when there is no such batch, and when nothing waits for the source entity.
    """
    engine = open_ledger(settings)
    if "." in text.partition(":")[0]:
        found = tuple(one for one in set_aside(engine) if one.name == text and one.waiting and one.state != "refused")
        if not found:
            raise ContractViolation(Problem(text, "no row of it waits in quarantine", "`perennial quarantine list`"))
        return Selection(found)
    batch, _, rest = text.partition(":")
    file, _, line = rest.rpartition(":")
    if rest and not line.isdecimal():
        raise ContractViolation(Problem(text, f"{line!r} is not a line", "write BATCH:LINE, or BATCH:FILE:LINE"))
    return Selection((find_batch(engine, batch),), file or None, int(line) if rest else None)


def waiting(settings: Settings) -> list[Waiting]:
    """What waits, by batch and rule, in the order of the batches; refused batches only while nobody has mended them."""
    engine = open_ledger(settings)
    now = clock.now().replace(tzinfo=None)
    refused = {one.batch_id for one in refused_batches(settings)}
    found: list[Waiting] = []
    for one in set_aside(engine):
        if one.state == "refused" and one.batch_id not in refused:
            continue
        by_rule = one.by_rule if not one.settled else _waiting_by_rule(settings, one)
        if one.state == "refused" and not one.quarantined:
            by_rule = {"the file as a whole": one.landed}
        age = (now - one.since).total_seconds() / _SECONDS_PER_DAY
        for rule, rows in sorted(by_rule.items()):
            share = rows / one.landed if one.landed else 0.0
            place = (one.batch_id, one.source, one.source_entity, one.state, one.as_of)
            found.append(Waiting(*place, rule, rows, share, one.since, round(age, 2)))
    return found


def refused_batches(settings: Settings) -> list[SetAside]:
    """The refused batches that still want somebody: not landed again, not taken away, not dropped."""
    return still_refused(open_ledger(settings), lambda name: lies_refused(settings, name))


def _waiting_by_rule(settings: Settings, one: SetAside) -> dict[str, int]:
    with waiting_rows(settings, one) as connection:
        query = "select rule, count(*) from (select unnest(rules) as rule from waiting) group by rule"
        return dict(connection.execute(query).fetchall())


@contextmanager
def waiting_rows(settings: Settings, one: SetAside) -> Iterator[duckdb.DuckDBPyConnection]:
    """A scratch database with the table `waiting`: the batch's rows without an action, as the gate wrote them.

    Raises ContractViolation when the file with the rows is gone.
    """
    scratch = settings.home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(prefix="quarantine-", dir=scratch) as folder, open_scratch(Path(folder)) as connection:
        _make_settled(connection, settings, one)
        connection.execute(f"""
            create table waiting as
            select quarantined.* from {_relation(settings, one)} as quarantined
            anti join settled on quarantined._file = settled.file and quarantined._line = settled.line
        """)
        yield connection


def _relation(settings: Settings, one: SetAside) -> str:
    if one.quarantine_path is None:
        empty = "null::varchar[] as rules, null::varchar[] as reasons, null::varchar as raw"
        return f"(select null::varchar as _file, 0::bigint as _line, null::date as _business_date, {empty} where false)"
    path = settings.home / one.quarantine_path
    if not path.exists():
        said = "the ledger names this file of quarantined rows, and it is gone"
        raise ContractViolation(Problem(one.quarantine_path, said, "restore it, or land the batch's files again"))
    return f"read_parquet({literal(str(path))})"


def _make_settled(connection: duckdb.DuckDBPyConnection, settings: Settings, one: SetAside) -> None:
    connection.execute("create table settled (file varchar, line bigint)")
    keys = list(settled_keys(open_ledger(settings), one.batch_id)) if one.settled else []
    if keys:
        arrays = [pa.array([file for file, _ in keys]), pa.array([line for _, line in keys], pa.int64())]
        connection.register("arriving", pa.Table.from_arrays(arrays, ["file", "line"]))
        connection.execute("insert into settled select * from arriving")
        connection.unregister("arriving")


def rows(settings: Settings, chosen: Selection, *, masked: bool) -> Iterator[BadRow]:
    """The waiting rows of the selection by batch, file and line, `masked` without personal data (L22)."""
    for one in chosen.batches:
        hide = _hidden(settings, one) if masked else None
        with waiting_rows(settings, one) as connection:
            query = "select _file, _line, rules, reasons, raw from waiting where ($1 is null or _file = $1)"
            query += " and ($2 is null or _line = $2) order by _file, _line"
            cursor = connection.execute(query, [chosen.file, chosen.line])
            while part := cursor.fetchmany(_ROWS):
                for file, line, rules, reasons, raw in part:
                    values = json.loads(raw)
                    shown = values if hide is None else {k: hide(k, v) for k, v in values.items()}
                    yield BadRow(one.batch_id, file, line, tuple(rules), tuple(reasons), shown)


def contract_of(settings: Settings, one: SetAside) -> SourceEntity | None:
    """The present contract of the batch's source entity; None when sources.yml has it no more."""
    source = load_sources(settings).sources.get(one.source)
    return source.entities.get(one.source_entity) if source else None


def _hidden(settings: Settings, one: SetAside) -> Any:
    """What masks a value: personal columns, and beside them all that the contract does not name, may be personal."""
    contract, entity = contract_of(settings, one), ENTITIES.get(one.entity)  # type: ignore[call-overload]
    columns = entity.columns if entity else {}
    is_personal = entity is None or any(column.personal for column in columns.values())
    plain = {c.source for n, c in contract.columns.items() if not columns[n].personal} if contract and entity else set()
    secret = {c.source for n, c in contract.columns.items() if columns[n].personal} if contract and entity else set()

    def hide(name: str, value: Any) -> Any:
        if value is None or not is_personal or (name in plain and name not in secret):
            return value
        return f"{str(value)[:1]}***"

    return hide


def export(settings: Settings, chosen: Selection, target: Path) -> int:
    """Write the waiting rows as CSV in the source's own columns, and `CONTROL` behind them. Gives their number.

    To be corrected by hand and given to `replay`: values are whole, so the file is for its owner only (mode 600), and
    none is read as a formula by a spreadsheet (an apostrophe stands before it; replay takes it away again).
    """
    header = _columns(settings, chosen)
    part = target.with_name(f".{target.name}.part")
    written = 0
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(escaped_texts(pa.array([*header, *CONTROL])).to_pylist())
        for found in _parts(rows(settings, chosen, masked=False)):
            writer.writerows(_cells(header, found))
            written += len(found)
    sync(part)
    part.replace(target)
    return written


def _parts(found: Iterator[BadRow]) -> Iterator[list[BadRow]]:
    while part := list(islice(found, _ROWS)):
        yield part


def _cells(header: Sequence[str], found: Sequence[BadRow]) -> Iterator[tuple[str, ...]]:
    control = ([r.batch_id, r.file, str(r.line), "; ".join(r.reasons)] for r in found)
    texts = [[*(_text(r.raw.get(name)) for name in header), *last] for r, last in zip(found, control, strict=True)]
    columns = [escaped_texts(pa.array(column, pa.string())).to_pylist() for column in zip(*texts, strict=True)]
    return zip(*columns, strict=True)


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(settings: Settings, chosen: Selection) -> list[str]:
    """The source's columns: the contract's in its order, then those that only the rows have."""
    names: dict[str, None] = {}
    for one in chosen.batches:
        contract = contract_of(settings, one)
        names |= dict.fromkeys(column.source for column in contract.columns.values()) if contract else {}
    for one in chosen.batches:
        with waiting_rows(settings, one) as connection:
            query = "select distinct unnest(json_keys(raw)) as name from waiting order by name"
            names |= {name: None for (name,) in connection.execute(query).fetchall()}
    return list(names)


def drop(settings: Settings, chosen: Selection, *, note: str, by: str) -> int:
    """Write that nobody will mend the selection's waiting rows, and why. Gives their number.

    Of a refused batch it says also that its files are not waited for. Raises ContractViolation when one line is named
    and several files of the batch have it.
    """
    engine = open_ledger(settings)
    dropped = 0
    for one in chosen.batches:
        with turn(settings, f"ingest-{one.source}"):
            keys = _keys(settings, one, chosen)
            if one.state == "refused" and chosen.line is None:
                keys += [(name, WHOLE_FILE) for name in _unsettled_files(settings, one)]
            with engine.begin() as connection:
                record_actions(connection, one.batch_id, keys, "dropped", done_by=by, note=note)
        dropped += sum(line != WHOLE_FILE for _file, line in keys)
    return dropped


def _unsettled_files(settings: Settings, one: SetAside) -> list[str]:
    engine = open_ledger(settings)
    waits = {other.batch_id for other in refused_batches(settings)}
    return files_of(engine, one.batch_id) if one.batch_id in waits else []


def _keys(settings: Settings, one: SetAside, chosen: Selection) -> list[Key]:
    with waiting_rows(settings, one) as connection:
        query = "select _file, _line from waiting where ($1 is null or _file = $1) and ($2 is null or _line = $2)"
        keys = connection.execute(f"{query} order by all", [chosen.file, chosen.line]).fetchall()
    if chosen.line is not None and len(keys) > 1:
        files = ", ".join(file for file, _line in keys)
        where = f"{one.batch_id}:{chosen.line}"
        raise ContractViolation(Problem(where, f"{files} all have that line", "write BATCH:FILE:LINE"))
    return [(str(file), int(line)) for file, line in keys]


def is_structure(rules: Sequence[str]) -> bool:
    """Whether the line was no row of its file's shape, so that its values are not known by column."""
    return STRUCTURE in rules
