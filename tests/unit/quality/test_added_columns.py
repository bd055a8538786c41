"""Columns that an entity got later: rates of currencies, and rows whose digest was kept before the column was there."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest

from perennial.contracts.entities import ENTITIES, SQL_TYPES
from perennial.contracts.sources import FileFormat, SourceEntity
from perennial.quality import expressions

_CONTRACT = SourceEntity(
    entity="products", path="shop/products_{date}.csv", columns={"product_key": {"source": "sku"}}, version="changed"
)


def _digest(connection: duckdb.DuckDBPyConnection, **said: str) -> str:
    columns = ENTITIES["products"].columns
    values = [
        f"cast({said.get(name, 'null')} as {SQL_TYPES[column.type]}) as {name}" for name, column in columns.items()
    ]
    sql = f"select {expressions.row_hash(_CONTRACT)} from (select {', '.join(values)}, '7' as version)"
    return str(connection.execute(sql).fetchone()[0])


def test_L2_a_null_in_a_column_that_was_added_later_is_no_part_of_what_a_row_says():
    with duckdb.connect() as connection:
        before = [name for name, column in ENTITIES["products"].columns.items() if not column.added]
        parts = ", ".join(f"coalesce({'chr(112)' if name == 'product_key' else 'null'}, chr(30))" for name in before)
        [old] = connection.execute(f"select md5(concat_ws(chr(31), {parts}, '7'))").fetchone()
        assert _digest(connection, product_key="'p'") == old
        assert _digest(connection, product_key="'p'", list_price="1") != old
        assert _digest(connection, product_key="'p'", unit_cost="1") != _digest(
            connection, product_key="'p'", list_price="1"
        )


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [("1.09999999", ".", Decimal("1.09999999")), ("0,00000001", ",", Decimal("0.00000001")), ("x", ".", None)],
)
def test_a_rate_keeps_eight_places(text, decimal, value):
    sql = expressions.typed("x", "rate", FileFormat(decimal=decimal))
    with duckdb.connect() as connection:
        assert connection.execute(f"select {sql} from (select $1::varchar as x)", [text]).fetchone() == (value,)
