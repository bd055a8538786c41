"""The watch on the model of the next product: a calm day passes, an old model and an unknown range stop it (L6)."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from perennial.contracts.records import DayRun
from perennial.core.settings import load_settings
from perennial.ledger.cards import StoredCard
from perennial.pipeline.next_watch import check_next_product
from perennial.scoring.next_product.history import known_items, lines_of
from perennial.scoring.next_product.training import lines_from, train_products

AS_OF = date(2017, 10, 1)


class Lines:
    """Order lines in a database, read as the published ones are."""

    def __init__(self, rows: pa.Table) -> None:
        self.connection = duckdb.connect()
        self.connection.register("fct_order_lines", rows)

    def query(self, sql, params=None):
        return self.connection.sql(sql, params=params).to_arrow_table()

    def batches(self, sql, params, rows):
        with self.connection.sql(sql, params=params).to_arrow_reader(rows) as reader:
            yield from reader

    def register(self, name, data):
        self.connection.register(name, data)


def order_lines(*, products=12, first="p", until=AS_OF, seed=3) -> pa.Table:
    """Lines of 260 clients with two favourites each and now and then another, of 240 days up to `until`."""
    random, rows = np.random.default_rng(seed), []
    for client in range(260):
        favourites = random.choice(products, 2, replace=False)
        rows += [
            (
                f"c{client:04d}",
                f"{first}{random.choice(favourites) if random.random() < 0.8 else random.integers(products):02d}",
                until - timedelta(days=ago),
            )
            for ago in np.flatnonzero(random.random(240) < 0.08).tolist()
        ]
    client, product, day = zip(*rows, strict=True)
    count = len(rows)
    return pa.table(
        {
            "client_id": list(client),
            "product_key": list(product),
            "line_kind": ["sale"] * count,
            "ordered_on": pa.array(day, pa.date32()),
            "cancelled_on": pa.nulls(count, pa.date32()),
            "revenue": np.full(count, 2.0),
            "units": np.ones(count),
        }
    )


@pytest.fixture(scope="module")
def trained():
    batches = list(lines_of(Lines(order_lines()), AS_OF, level="product", days=449))
    made = train_products(
        lines_from(pa.Table.from_batches(batches)), as_of=AS_OF, horizon_days=28, level="product", seed=1
    )
    assert made.refused is None
    return made


@pytest.fixture
def watched(trained):
    def check(rows, as_of=AS_OF):
        reader, keys = Lines(rows), trained.scorer.item_keys()
        known_items(reader, keys)
        used = StoredCard("next_product-test", "next_product", AS_OF, "champion", "-", trained.card)
        run = DayRun(f"{as_of}.r1", as_of, 1, "scored", (), "-", is_latest=True)
        return check_next_product(
            load_settings({}), run, reader, used, trained.scorer, trained.scorer.view(as_of, keys)
        )

    return check


def test_the_day_of_the_training_passes(watched):
    check = watched(order_lines())
    assert (check.verdict, check.sentences) == ("passed", ())
    assert check.figures["unknown_products"] == 0


def test_L6_a_range_of_products_that_the_model_does_not_know_stops_it_and_a_few_new_ones_warn(watched):
    check = watched(order_lines(first="q"))
    assert check.verdict == "stopped"
    assert check.sentences[0].startswith("100% of the latest lines are of products that the model does not know")
    some = order_lines(products=14)
    warned = watched(some)
    assert warned.verdict == "warned"
    assert any("products that the model does not know" in sentence for sentence in warned.sentences)


def test_L6_a_model_of_half_a_year_ago_stops(watched):
    later = AS_OF + timedelta(days=181)
    check = watched(order_lines(until=later), later)
    assert check.verdict == "stopped"
    assert "the model is 181 days old, after 180 nothing is proposed" in check.sentences
