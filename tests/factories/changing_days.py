"""A warehouse that is changed day by day, and what differs between it and its rebuild: what L4 is tested with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from factories.dbt_warehouse import NAMESPACE, Raw, Warehouse
from factories.postgres_warehouse import PostgresWarehouse
from perennial.contracts.entities import ENTITIES
from perennial.core.ids import client_ref

AnyWarehouse = Warehouse | PostgresWarehouse
COMPARED = ("intermediate", "marts", "private")
CHANGES_ALONE = ("_changed", "int_clients_due")  # of one change: in a full build they are empty
Delivered = tuple[str, str, str, date]  # campaign, client id, channel, date of a list that was accepted
Told = tuple[
    str, str, str, bool, str, date | None, date
]  # event, kind, moment, by a machine, client, list's date, known on


@dataclass(frozen=True)
class Day:
    """What becomes known on a business date: rows in batches that nobody had seen, and who is joined to whom since."""

    as_of: date
    added: Raw
    joined: Mapping[str, str]  # client key -> the client key that it is joined to
    delivered: Sequence[Delivered] = ()  # of lists of earlier days too: some are marked late
    told: Sequence[Told] = ()  # what tools tell of messages, of earlier days too


@dataclass
class ChangedWarehouse:
    """`first` builds all, `then` changes it."""

    warehouse: AnyWarehouse
    known: Raw = field(default_factory=Raw)
    delivered: list[Delivered] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    previous: date | None = None
    unfinished: Raw = field(default_factory=Raw)  # rows of a change that came to no end

    def first(self, day: Day, command: str = "run", *, options: Sequence[str] = ()) -> dict[str, str]:
        """A FULL build."""
        self.warehouse.fill(day.added, day.as_of.isoformat())
        return self._done(day, command, "--full-refresh", *options)

    def then(self, day: Day, command: str = "run", *, options: Sequence[str] = (), **variables: Any) -> dict[str, str]:
        """A CHANGE of the build before."""
        self._say_changed(day)
        return self._done(day, command, *options, previous_as_of=str(self.previous), **variables)

    def stopped(self, day: Day, *, after: str) -> dict[str, str]:
        """A CHANGE that ends after the model `after`, as if it had been killed: the last complete build stays the last."""
        self._say_changed(day)
        self.known = self.known.joined(day.added)
        self.unfinished = self.unfinished.joined(day.added)
        self._deliver(day.delivered)
        self._tell(day.told)
        self._join(day.joined)
        given = {"previous_as_of": str(self.previous)}
        return self.warehouse.dbt("run", day.as_of.isoformat(), "--select", f"+{after}", **given)

    def _done(self, day: Day, command: str, *options: str, **variables: Any) -> dict[str, str]:
        self.known = self.known.joined(day.added)
        self._deliver(day.delivered)
        self._tell(day.told)
        self._join(day.joined)
        without = ["--exclude-resource-type", "unit_test"] if command == "build" else []
        statuses = self.warehouse.dbt(command, day.as_of.isoformat(), *options, *without, **variables)
        self._change_raw(
            "create or replace table raw.identity_map_built as select client_ref, client_id from raw.identity_map"
        )
        self.previous, self.unfinished = day.as_of, Raw()
        return statuses

    def _deliver(self, delivered: Sequence[Delivered]) -> None:
        self.delivered += delivered
        for campaign, client_id, channel, day in delivered:
            row = f"'{campaign}', '{client_id}', '{channel}', date '{day}', 'add', 'accepted', 'outbox', null"
            self._change_raw(f"insert into raw.ledger_deliveries values ({row})")

    def _tell(self, told: Sequence[Told]) -> None:
        self.told += told
        for event, kind, moment, by_machine, client_id, listed_on, known_on in told:
            listed = f"date '{listed_on}'" if listed_on else "null"
            row = f"'tool', '{event}', '{kind}', timestamp '{moment}', 'email', '{client_id}', 'list', {listed}"
            self._change_raw(
                f"insert into raw.ledger_feedback values ({row}, 'm-{event}', {by_machine}, date '{known_on}')"
            )

    def _join(self, joined: Mapping[str, str]) -> None:
        pairs = {**{to: to for to in joined.values()}, **joined}
        rows = ", ".join(
            f"('{client_ref(NAMESPACE, key)}', '{client_ref(NAMESPACE, to)}', 'email', 'x', null, null)"
            for key, to in sorted(pairs.items())
        )
        self._change_raw("delete from raw.identity_map")
        if rows:
            self._change_raw(f"insert into raw.identity_map values {rows}")
        if isinstance(self.warehouse, PostgresWarehouse):
            self.warehouse.take_raw()

    def known_on(self, last: Day) -> Day:
        """Everything that came until the last day, as one: what the rebuild is made of."""
        return Day(last.as_of, self.known, last.joined, self.delivered, self.told)

    @property
    def _raw_file(self) -> str:
        on_postgres = isinstance(self.warehouse, PostgresWarehouse)
        return str(self.warehouse.raw_copy if on_postgres else self.warehouse.path)

    def _change_raw(self, sql: str) -> None:
        with duckdb.connect(self._raw_file) as connection:
            connection.execute(sql)

    def _say_changed(self, day: Day) -> None:
        """Fill what prepare_build fills of a change: the rows of new batches, and of those with rows still to come."""
        batches: dict[str, tuple[int, str, bool]] = {}
        changed = Raw()
        for name, rows in self.unfinished.joined(day.added).rows.items():
            changed.rows[name] = list(rows)
            for row in rows:
                own = int(row["_batch_id"].rsplit("-", 1)[1])
                batches[row["_batch_id"]] = (own, name, False)
        for name, rows in self.known.rows.items():
            late = {row["_batch_id"] for row in rows if row["_business_date"] > str(self.previous)} - batches.keys()
            again = [row for row in rows if row["_batch_id"] in late]
            changed.rows[name] = [*changed.rows.get(name, []), *again]
            for row in again:
                batches[row["_batch_id"]] = (int(row["_batch_id"].rsplit("-", 1)[1]), name, True)
        with duckdb.connect(self._raw_file) as connection:
            for name in ENTITIES:
                connection.execute(f"delete from raw.{name}_changed")
                _insert(connection, f"raw.{name}", day.added.rows.get(name, []))
                _insert(connection, f"raw.{name}_changed", changed.rows.get(name, []))
            connection.execute("delete from raw.batches_changed")
            for batch_id, told in batches.items():
                connection.execute("insert into raw.batches_changed values (?, ?, ?, ?)", [batch_id, *told])
            connection.execute("delete from raw.ledger_batches")
            connection.execute(
                "insert into raw.ledger_batches (batch_id, entity, state, loaded) select _batch_id, 'order_lines', 'committed', count(*) from raw.order_lines group by 1"
            )


def _insert(connection: Any, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        marks = ", ".join("?" for _ in row)
        connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))


def contents(warehouse: AnyWarehouse) -> dict[str, pa.Table]:
    """Every table and view of the schemas that are compared."""
    found = warehouse.contents(COMPARED) if isinstance(warehouse, PostgresWarehouse) else _contents_of(warehouse)
    return {name: table for name, table in found.items() if not name.endswith(CHANGES_ALONE)}


def _contents_of(warehouse: Warehouse) -> dict[str, pa.Table]:
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ? order by all",
            [list(COMPARED)],
        ).fetchall()
        return {f"{schema}.{name}": connection.sql(f"from {schema}.{name}").to_arrow_table() for schema, name in names}


def differences(changed: AnyWarehouse, rebuilt: AnyWarehouse, *, shown: int = 3) -> dict[str, Any]:
    """By table the rows that one of the two has and the other has not, as often; empty when all is equal, cell by cell."""
    left, right = contents(changed), contents(rebuilt)
    found: dict[str, Any] = dict.fromkeys(left.keys() ^ right.keys(), "only in one of them")
    with duckdb.connect() as connection:
        for name in left.keys() & right.keys():
            connection.register("l", left[name])
            connection.register("r", right[name])
            for title, sql in (
                ("changed alone", "from l except all from r"),
                ("rebuilt alone", "from r except all from l"),
            ):
                rows = connection.sql(f"select * from ({sql}) order by all limit {shown}").to_arrow_table().to_pylist()
                if rows:
                    found.setdefault(name, {})[title] = rows
    return found
