"""A warehouse that is changed day by day, and random histories to change it by: what L4 is tested with."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
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
START = date(2017, 6, 1)


@dataclass(frozen=True)
class Day:
    """What becomes known on a business date: rows in batches that nobody had seen, and who is joined to whom since."""

    as_of: date
    added: Raw
    joined: Mapping[str, str]  # client key -> the client key that it is joined to


@dataclass
class ChangedWarehouse:
    """`first` builds all, `then` changes it."""

    warehouse: AnyWarehouse
    known: Raw = field(default_factory=Raw)
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
        self._join(day.joined)
        given = {"previous_as_of": str(self.previous)}
        return self.warehouse.dbt("run", day.as_of.isoformat(), "--select", f"+{after}", **given)

    def _done(self, day: Day, command: str, *options: str, **variables: Any) -> dict[str, str]:
        self.known = self.known.joined(day.added)
        self._join(day.joined)
        without = ["--exclude-resource-type", "unit_test"] if command == "build" else []
        statuses = self.warehouse.dbt(command, day.as_of.isoformat(), *options, *without, **variables)
        self._change_raw(
            "create or replace table raw.identity_map_built as select client_ref, client_id from raw.identity_map"
        )
        self.previous, self.unfinished = day.as_of, Raw()
        return statuses

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


def random_days(seed: int, days: int = 4, orders: int = 40) -> list[Day]:
    """A history in days of one to forty days: late, corrected, deleted, replayed, out of order; clients that join and part."""
    chance = random.Random(seed)
    history = _History(chance)
    as_of, made = START, []
    for number in range(days):
        made.append(
            Day(as_of, history.day(as_of, orders if number == 0 else chance.randrange(0, orders // 3)), history.join())
        )
        as_of += timedelta(days=chance.choice([0, 1, 1, 1, 2, 7, 30, 40]))
    return made


@dataclass
class _History:
    """Rows of few clients, products and prices, so that they meet."""

    chance: random.Random
    batch: int = 0
    lines: int = 1
    joined: dict[str, str] = field(default_factory=dict)
    told: list[tuple[int, str, str]] = field(default_factory=list)  # batch, file and order of what was delivered

    def day(self, as_of: date, orders: int) -> Raw:
        """All batches that arrive on the date."""
        raw = Raw()
        for _ in range(self.chance.randrange(1, 3)):
            self.batch += 1
            self._orders(raw, as_of, max(1, orders // 2))
        if self.told and self.chance.random() < 0.5:
            self._replay(raw, as_of)
        self._others(raw, as_of)
        return raw

    def join(self) -> dict[str, str]:
        """Some clients are joined to earlier ones, some no longer."""
        for key in ("4", "5", "6"):
            if self.chance.random() < 0.3:
                self.joined[key] = self.chance.choice(["1", "2"])
            elif self.chance.random() < 0.2:
                self.joined.pop(key, None)
        return dict(self.joined)

    def _orders(self, raw: Raw, as_of: date, orders: int) -> None:
        day = self._delivered_on(as_of)
        file = f"sales_{day}_{self.batch}.csv"
        for _ in range(orders):
            key, version = f"o{self.chance.randrange(60)}", self.chance.choice([None, None, None, "1", "2"])
            source = self.chance.choice(["shop", "shop", "shop", "till"])
            if self.chance.random() < 0.06:
                rows = [{"order_key": key, "_deleted": True}]
            else:
                client = self.chance.choice([*"123456", None])
                rows = [self._line(key, client, as_of) for _ in range(self.chance.randrange(1, 4))]
            self._add(raw, "order_lines", rows, day, file=file, version=version, source=source)
            self.told.append((self.batch, file, key))

    def _delivered_on(self, as_of: date) -> date:
        return as_of + timedelta(days=self.chance.choice([0, 0, 0, 0, -1, -3, -20, 2]))

    def _line(self, order: str, client: str | None, as_of: date) -> dict[str, Any]:
        kind = self.chance.choices(["sale", "return", "cancellation", "fee"], [70, 12, 13, 5])[0]
        sign = -1 if kind in {"return", "cancellation"} else 1
        quantity, price = self.chance.choice([1, 1, 2, 3]), self.chance.choice([5, 10])
        day = as_of - timedelta(days=self.chance.choice([0, 0, 1, 2, 5, 29, 31, 90, 400]))
        if self.chance.random() < 0.1:
            client = self.chance.choice([*"123456", None])
        return {
            "order_key": order, "client_key": client, "product_key": self.chance.choice(["p1", "p1", "p2", "p3"]),
            "product_name": self.chance.choice(["Tea", "Green tea", None]), "line_kind": kind,
            "ordered_at": f"{day} {self.chance.choice(['03', '12', '12', '23'])}:00:00", "quantity": sign * quantity,
            "unit_price": price, "amount": sign * quantity * price, "discount_amount": self.chance.choice([None, 0, 1]),
            "store_key": self.chance.choice(["s1", "s2", None]), "country": self.chance.choice(["US", "CA", None]),
            "cost_amount": self.chance.choice([None, sign * quantity * 2]),
        }  # fmt: skip

    def _replay(self, raw: Raw, as_of: date) -> None:
        """A line that was set aside comes back: a batch of its own, at the place of the batch that it landed with."""
        place, file, order = self.chance.choice(self.told)
        self.batch += 1
        row = {**self._line(order, self.chance.choice("123456"), as_of), "_batch_seq": place}
        self._add(raw, "order_lines", [row], as_of - timedelta(days=self.chance.choice([0, 1])), file=file)

    def _others(self, raw: Raw, as_of: date) -> None:
        day = self._delivered_on(as_of)
        self.batch += 1
        some = [key for key in "12345678" if self.chance.random() < 0.4]
        self._add(raw, "clients", [self._client(key, as_of) for key in some], day)
        self._add(
            raw, "products", [self._product(key) for key in ("p1", "p2", "p3") if self.chance.random() < 0.3], day
        )
        for key in some:
            self._events(raw, key, as_of, day)

    def _client(self, key: str, as_of: date) -> dict[str, Any]:
        if self.chance.random() < 0.1:
            return {"client_key": key, "_deleted": True}
        signed = as_of - timedelta(days=self.chance.choice([0, 10, 90, 500]))
        return {
            "client_key": key, "first_name": self.chance.choice(["Ann", "Bo"]), "email": f"{key}@example.com",
            "signed_up_on": str(signed), "country": self.chance.choice(["US", None]),
        }  # fmt: skip

    def _product(self, key: str) -> dict[str, Any]:
        if self.chance.random() < 0.1:
            return {"product_key": key, "_deleted": True}
        return {
            "product_key": key, "product_name": key.upper(), "department": self.chance.choice(["GROCERY", "HOME", None]),
            "category": self.chance.choice(["a", "b"]),
        }  # fmt: skip

    def _events(self, raw: Raw, key: str, as_of: date, day: date) -> None:
        on = str(as_of - timedelta(days=self.chance.choice([0, 1, 60, 89, 90, 91])))
        rows: dict[str, dict[str, Any]] = {
            "demographics": {"client_key": key, "age_band": self.chance.choice(["19-24", "25-34"])},
            "campaign_contacts": {"client_key": key, "campaign_key": self.chance.choice(["k1", "k2"]), "contacted_on": on},
            "redemptions": {"client_key": key, "coupon_key": "u", "campaign_key": "k1", "redeemed_on": on},
            "interactions": {
                "client_key": key, "interaction_key": f"i{self.chance.randrange(9)}", "interaction_kind": "complaint",
                "happened_at": f"{on} 12:00:00", "score": self.chance.choice([None, 3, 9]),
            },
            "deals": {
                "client_key": key, "deal_key": f"d{self.chance.randrange(6)}", "stage": self.chance.choice(["open", "won"]),
                "opened_on": on, "amount": self.chance.choice([None, 100]),
            },
        }  # fmt: skip
        for name, row in rows.items():
            if self.chance.random() < 0.3:
                self._add(raw, name, [row], day)

    def _add(
        self, raw: Raw, entity: Any, rows: list[dict[str, Any]], day: date, *,
        file: str | None = None, version: str | None = None, source: str = "shop",
    ) -> None:  # fmt: skip
        for row in rows:
            self.lines += 1
            given = {
                "_line": self.lines, "_version": version, "_source": source,
                "_batch_id": f"{entity}-{self.batch}", "_file": file or f"{entity}_{day}_{self.batch}.csv",
            }  # fmt: skip
            raw.add(entity, str(day), [{**given, **row}], batch_seq=self.batch)
