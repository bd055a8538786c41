"""However the same days are delivered, the same rows hold: by rule, never by the order of arrival (L1, L2, L4).

Files go through the real ingestion, and what holds is asked from the SQL of the real staging models.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from factories.landing_zone import Zone
from perennial.contracts.entities import ENTITIES
from perennial.contracts.records import DayRun
from perennial.ledger.batches import committed
from perennial.ledger.engine import open_ledger
from perennial.ledger.export import raw_files
from perennial.pipeline.quarantine import export, select
from perennial.pipeline.replay import replay
from perennial.warehouse.build_db import raw_select

SALES = "basket_id,household_id,product_id,sold_at,quantity,sales_value,discount,store_id"
PRODUCTS = "product_id,product_type,department"
# Per day the orders (key, then the amounts of its lines), and the products with their department; None: deleted.
Orders = Mapping[int, list[tuple[int, tuple[int, ...]]]]
Goods = Mapping[int, Mapping[str, str | None]]
ORDERS: Orders = {
    1: [(10001, (1, 1, 2)), (10002, (5,))],
    2: [(10002, (5, 7)), (10003, (3,))],
    3: [(10001, (1, 1, 2)), (10002, (5,)), (10004, (9,))],  # 10002 is again what it was on day 1
}
GOODS: Goods = {
    1: {"a": "A1", "b": "B1", "c": "C1", "d": "D1", "e": "E1"},
    2: {"a": "A2", "b": None, "c": None, "d": "D2", "e": "E1"},
    3: {"a": "A2", "b": "B1", "d": "D1", "e": "E1"},  # b is back as it was, d is again what it was
}
EXPECTED_LINES = [("10001", 1), ("10001", 1), ("10001", 2), ("10002", 5), ("10003", 3), ("10004", 9)]
EXPECTED_GOODS = [("a", "A2"), ("b", "B1"), ("d", "D1"), ("e", "E1")]


def _change(sources: dict[str, Any]) -> None:
    shop = sources["shop"]["entities"]
    shop["sales"] |= {"path": "shop/sales_{date}*.csv", "limits": {"warn": 1, "stop": 1}, "references": []}
    shop["products"] = {
        "entity": "products",
        "path": "shop/products_{date}*.csv",
        "cadence": "on_change",
        "columns": {"product_key": "product_id", "product_name": "product_type", "department": "department"},
        "deleted": {"column": "product_type", "values": ["GONE"]},
        "limits": {"warn": 1, "stop": 1},
    }
    products = {**shop["products"], "path": "erp/products_{date}.csv", "precedence": 10}
    sources["erp"] = {**sources["shop"], "entities": {"products": products}}


class Shop:
    """Delivers days to a landing zone, and asks what holds."""

    def __init__(self, folder: Path, orders: Orders = ORDERS, goods: Goods = GOODS) -> None:
        self.orders, self.goods = orders, goods
        self.zone = Zone(folder, _change)
        self.folder = folder

    def land(self, day: int, *, part: str = "", orders: slice = slice(None), name_of: int | None = None) -> None:
        date_text = date(2017, 9, name_of or day)
        lines = [_line(order, amount, day) for order, amounts in self.orders[day][orders] for amount in amounts]
        goods = [
            f"{key},{'GONE' if to is None else 'x'},{to or ''}" for key, to in list(self.goods[day].items())[orders]
        ]
        self.zone.land(f"shop/sales_{date_text}{part}.csv", "\n".join([SALES, *lines]) + "\n")
        self.zone.land(f"shop/products_{date_text}{part}.csv", "\n".join([PRODUCTS, *goods]) + "\n")

    def take(self) -> None:
        for report in self.zone.ingest("shop"):
            assert report.state == "committed", report
            assert report.landed == report.loaded + report.quarantined + report.duplicate

    def deliver(self, *days: int, **more: Any) -> None:
        for day in days:
            self.land(day, **more)
            self.take()

    def holds(self, models: Mapping[str, str]) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
        """The lines of orders, and the products with their departments, by the SQL of the staging models."""
        engine = open_ledger(self.zone.settings)
        ids = tuple(batch.batch_id for batch in committed(engine))
        run = DayRun("r", date(2017, 10, 1), 1, "open", ids, "c", True)
        files = raw_files(engine, run, self.zone.home)
        path = self.folder / "build.duckdb"  # the name that stands in the compiled SQL
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema raw")
            for name in ("order_lines", "products"):
                connection.execute(f"create view raw.{name} as {raw_select(ENTITIES[name], files.get(name, ()))}")
            lines = connection.execute(
                f"select order_key, amount::int from ({models['lines']}) order by all"
            ).fetchall()
            goods = connection.execute(
                f"select product_key, department from ({models['goods']}) order by all"
            ).fetchall()
        return lines, goods


def _line(order: int, amount: object, day: int) -> str:
    return f"{order},1,p1,2017-09-{day:02d}T12:00:00Z,1,{amount},0,s1"


@pytest.fixture(scope="module")
def models(compiled) -> dict[str, str]:
    """The compiled SQL of two staging models, as of 2017-10-01."""
    return {
        name: next(compiled.rglob(f"{model}.sql")).read_text(encoding="utf-8")
        for name, model in (("lines", "stg_sales__order_lines"), ("goods", "stg_sales__products"))
    }


def _the_same_file_twice_and_renamed(shop: Shop) -> None:
    shop.deliver(1, 2, 2)
    shop.deliver(2, part="_copy")
    shop.deliver(3)
    shop.land(1, name_of=4)  # orders under the name of another day; a snapshot would be news
    (shop.zone.settings.landing / "shop/products_2017-09-04.csv").unlink()
    shop.take()


def _a_batch_cut_in_two(shop: Shop) -> None:
    shop.deliver(1, part="_a", orders=slice(0, 1))
    shop.deliver(1, part="_b", orders=slice(1, None))
    shop.deliver(2, part="_b", orders=slice(1, None))
    shop.deliver(2, part="_a", orders=slice(0, 1))
    shop.deliver(3)


def _all_in_one_batch(shop: Shop) -> None:
    for day in (1, 2, 3):
        shop.land(day)
    shop.take()


def _corrected_before_the_next_day(shop: Shop) -> None:
    shop.zone.land("shop/sales_2017-09-01.csv", "\n".join([SALES, _line(10001, 99, 1), _line(10002, 98, 1)]) + "\n")
    shop.zone.land("shop/products_2017-09-01.csv", f"{PRODUCTS}\na,x,wrong\nd,x,wrong\n")
    shop.take()
    shop.deliver(1, 2, 3)


def _replayed(when: int) -> Callable[[Shop], None]:
    """Day 2 has bad lines, which are corrected and replayed after day `when`."""

    def deliver(shop: Shop) -> None:
        shop.deliver(1)
        shop.land(2)
        for name, good in (("sales", "T12:00:00Z,1,7,"), ("products", "a,x,A2")):
            path = shop.zone.settings.landing / f"shop/{name}_2017-09-02.csv"
            bad = "T12:00:00Z,x,7," if name == "sales" else ",x,A2"
            path.write_text(path.read_text(encoding="utf-8").replace(good, bad), encoding="utf-8")
        shop.take()
        if when == 3:
            shop.deliver(3)
        for name, column, value in (("sales", "quantity", "1"), ("products", "product_id", "a")):
            _replay(shop, f"shop.{name}", column, value)
        if when == 2:
            shop.deliver(3)

    return deliver


def _replay(shop: Shop, name: str, column: str, value: str) -> None:
    path = shop.folder / "bad.csv"
    chosen = select(shop.zone.settings, name)
    assert export(shop.zone.settings, chosen, path) == 1
    with path.open(encoding="utf-8", newline="") as stream:
        [row] = list(csv.DictReader(stream))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerow({**row, column: value})
    [done] = replay(shop.zone.settings, chosen, corrected=path, by="ann")
    assert (done.batch.loaded, done.batch.landed) == (1, 1)


_SLOW = pytest.mark.slow
WAYS = [
    _the_same_file_twice_and_renamed, _a_batch_cut_in_two, _all_in_one_batch,
    pytest.param(_corrected_before_the_next_day, marks=_SLOW),
]  # fmt: skip


@pytest.mark.parametrize("deliver", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_L4_however_days_are_delivered_the_same_rows_hold(tmp_path, models, deliver):
    shop = Shop(tmp_path)
    deliver(shop)
    assert shop.holds(models) == (EXPECTED_LINES, EXPECTED_GOODS)


def test_L1_a_snapshot_with_the_bytes_of_an_earlier_day_says_that_all_is_as_it_was_then(tmp_path, models):
    shop = Shop(tmp_path)
    shop.deliver(1, 2)
    path = shop.zone.land(
        "shop/products_2017-09-03.csv", (shop.zone.settings.archive / "shop/products_2017-09-01.csv").read_bytes()
    )
    shop.take()
    assert not path.exists()
    assert shop.holds(models)[1] == sorted(GOODS[1].items())


@pytest.mark.parametrize(
    "order", [(1, 3, 2), pytest.param((2, 1, 3), marks=_SLOW), pytest.param((3, 2, 1), marks=_SLOW)]
)
def test_L2_days_that_arrive_out_of_order_end_in_the_same_rows(tmp_path, models, order: Sequence[int]):
    shop = Shop(tmp_path)
    shop.deliver(*order)
    assert shop.holds(models) == (EXPECTED_LINES, EXPECTED_GOODS)


@pytest.mark.parametrize("when", [pytest.param(2, marks=_SLOW), 3])
def test_L4_rows_that_come_back_from_quarantine_end_where_they_would_have_been(tmp_path, models, when):
    shop = Shop(tmp_path)
    _replayed(when)(shop)
    assert shop.holds(models) == (EXPECTED_LINES, EXPECTED_GOODS)


def test_L2_of_two_sources_of_a_record_the_one_with_precedence_is_believed_until_it_deletes_it(tmp_path, models):
    shop = Shop(tmp_path)
    shop.zone.land("erp/products_2017-09-01.csv", f"{PRODUCTS}\na,x,ERP\nz,x,ERP\n")
    shop.zone.ingest("erp")
    shop.deliver(3)
    assert shop.holds(models)[1] == [("a", "ERP"), ("b", "B1"), ("d", "D1"), ("e", "E1"), ("z", "ERP")]
    shop.zone.land("erp/products_2017-09-02.csv", f"{PRODUCTS}\na,GONE,\nz,GONE,\n")
    shop.zone.ingest("erp")
    assert shop.holds(models)[1] == [("a", "A2"), ("b", "B1"), ("d", "D1"), ("e", "E1")]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_L4_whatever_is_said_on_which_day_and_arrives_when_the_last_day_of_a_key_holds(tmp_path, models, seed):
    chance = random.Random(seed)
    orders = {
        day: [(order, tuple(chance.choices((1, 2), k=chance.randrange(1, 3)))) for order in range(10001, 10007)]
        for day in range(1, 6)
    }
    goods = {day: {key: chance.choice(["A", "B", None]) for key in "abcdefgh"} for day in range(1, 6)}
    for day in range(1, 6):
        orders[day] = [one for one in orders[day] if chance.random() < 0.7]
        goods[day] = {key: to for key, to in goods[day].items() if chance.random() < 0.7}
    shop = Shop(tmp_path, orders, goods)
    for day in chance.sample(range(1, 6), 5):
        shop.land(day)
        if chance.random() < 0.8:
            shop.take()
    shop.take()
    lines = {order: amounts for day in sorted(orders) for order, amounts in orders[day]}
    last = {key: to for day in sorted(goods) for key, to in goods[day].items()}
    expected = sorted((str(order), amount) for order, amounts in lines.items() for amount in amounts)
    assert shop.holds(models) == (expected, sorted((key, to) for key, to in last.items() if to is not None))
