"""What clients bought, line by line, in chunks of whole clients: one statement for training, backtests and every day.

The engine filters and orders out of core, to the last column, for sums of doubles follow the order (L2). Its rows come
in batches, so that nothing grows with order lines (L26). What is made of them as of a date stands in `pairs`, and is
the same for a past cut and for today (L3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Level = Literal["product", "category"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HISTORY_DAYS = 365
KNOWN = "next_known_items"
NEVER = 2**31 - 1  # the day on which a line that stands was cancelled
_ITEM = {"product": "l.product_key", "category": "p.category"}
_JOIN = {"product": "", "category": "inner join dim_products as p on p.product_key = l.product_key"}

_LINES = """
select
    l.client_id,
    {place} as item,
    l.ordered_on,
    l.cancelled_on,
    cast(l.revenue as double precision) as revenue,
    cast(l.units as double precision) as units
from fct_order_lines as l
{join}
where
    l.client_id is not null and {item} is not null and l.line_kind = 'sale'
    and l.ordered_on > cast($after as date) and l.ordered_on <= cast($until as date)
    {sample}
order by 1, 2, 3, 5, 6, 4
"""


class Reader(Protocol):
    """What is needed of a published version; `warehouse.engine.Published` is one."""

    def query(self, sql: str, params: dict[str, Any]) -> pa.Table:
        """The whole result."""

    def batches(self, sql: str, params: dict[str, Any], rows: int) -> Iterator[pa.RecordBatch]:
        """The result in batches."""

    def register(self, name: str, data: pa.Table) -> None:
        """Make an Arrow table a temporary relation."""


@dataclass(frozen=True)
class History:
    """Lines of whole clients. `row` is a place in `clients`, `item` one in the list of products; days since 1970.

    `void` is the day on which the line was cancelled, NEVER if it was not: before that day nobody knew.
    """

    clients: pa.Array
    row: Ints
    item: Ints
    day: Ints
    void: Ints
    revenue: Floats
    units: Floats

    def __len__(self) -> int:
        return len(self.row)


def since_epoch(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def known_items(reader: Reader, keys: pa.Array) -> None:
    """Make the products of a model a temporary relation: `lines_of(..., known=True)` then gives their places."""
    places = pa.array(np.arange(len(keys)), pa.int64())
    reader.register(KNOWN, pa.table({"item": keys, "place": places}))


def lines_of(
    reader: Reader,
    until: date,
    *,
    level: Level,
    days: int = HISTORY_DAYS,
    share: float = 1.0,
    rows: int = 200_000,
    known: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Sale lines of the `days` days up to `until`, by client. `share` below 1: of clients whose hash is below it.

    `known`: of the products of `known_items` alone, by their place.
    """
    sample = f"and substr(md5(l.client_id), 1, 4) < '{round(share * 65536):04x}'" if share < 1 else ""
    item, join = _ITEM[level], _JOIN[level]
    if known:
        join += f" inner join {KNOWN} as k on k.item = {item}"
    sql = _LINES.format(item=item, place="k.place" if known else item, join=join, sample=sample)
    return reader.batches(sql, {"after": until - timedelta(days=days), "until": until}, rows)


def chunks_of(batches: Iterable[pa.RecordBatch]) -> Iterator[History]:
    """Batches of known products (`lines_of(..., known=True)`) as chunks of whole clients."""
    kept: pa.Table | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        table = pa.Table.from_batches([batch])
        table = table if kept is None else pa.concat_tables([kept, table])
        whole = int(pc.index(table.column("client_id"), table.column("client_id")[-1]).as_py())
        if whole:
            yield history_of(table.slice(0, whole))
        kept = table.slice(whole).combine_chunks()
    if kept is not None and kept.num_rows:
        yield history_of(kept)


def history_of(table: pa.Table, keys: pa.Array | None = None) -> History:
    """A table (client_id, item, ordered_on, cancelled_on, revenue, units), ordered by client, as a History.

    With `keys` the items are texts, of which those among `keys` are taken; without, places.
    """
    if keys is not None:
        place = pc.index_in(table.column("item").combine_chunks().cast(pa.string()), value_set=keys)
        table = table.drop_columns("item").append_column("item", place).filter(pc.is_valid(place))
    clients = table.column("client_id").combine_chunks().cast(pa.string()).dictionary_encode()
    cancelled = pc.fill_null(_days(table.column("cancelled_on")), NEVER)
    return History(
        clients=clients.dictionary,
        row=_ints(clients.indices),
        item=_ints(table.column("item")),
        day=_ints(_days(table.column("ordered_on"))),
        void=_ints(cancelled),
        revenue=_floats(table.column("revenue")),
        units=_floats(table.column("units")),
    )


def _days(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.date32()).cast(pa.int32())


def _ints(column: Any) -> Ints:
    return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column, dtype=np.int64)


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.fill_null(column, 0.0), dtype=np.float64)
