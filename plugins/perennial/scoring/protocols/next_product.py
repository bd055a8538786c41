"""The next product: at each cut the model as it would have been there, beside what is hard to beat.

For a cut C what clients bought until the day before it is known; what they buy in the horizon from C on is looked for,
separately among products that they had bought in the year before (repeats) and among those that they had not (new). The
rankers are chosen on cuts one and two horizons earlier. A list has ten places.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial.scoring.next_product.judging import FIGURES, TOP
from perennial.scoring.next_product.training import Lines, days_needed, lines_from, train_products
from perennial.scoring.protocols import Judged, Row, Transactions

_DEFINITIONS = {
    "hit_rate": f"share of clients with something to find for whom one of {TOP} proposals was bought",
    "recall": f"mean share of what a client bought that is among the {TOP}",
    "ndcg": f"normalised discounted cumulative gain at {TOP}, gains of 0 and 1 (Jarvelin and Kekalainen 2002)",
    "mrr": f"mean of 1 over the rank of the first proposal that was bought, 0 if none of {TOP} was",
}


def run(data: Transactions, horizon_days: int) -> Judged:
    """Figures of repeats and of new products at each cut; why there are none at others."""
    table = _table(data)
    rows: list[Row] = []
    sentences: list[str] = []
    refused: list[str] = []
    if table is None:
        refused.append("the data name no products")
    for cut in data.cuts if table is not None else ():
        started = time.process_time()
        as_of = cut + timedelta(days=horizon_days - 1)
        if cut <= data.first_day or as_of > data.last_day:
            refused.append(f"{cut}: its window ends on {as_of}, the data are of {data.first_day} to {data.last_day}")
            continue
        trained = train_products(_until(table, as_of, horizon_days), as_of=as_of, horizon_days=horizon_days,
                                 level="product", seed=data.seed, final=False)  # fmt: skip
        if "figures_at_test" not in trained.card:
            refused.append(f"{cut}: {trained.refused}")
            continue
        rows += _rows(trained.card, cut, time.process_time() - started)
        if trained.refused:
            sentences.append(f"{cut}: the product would refuse this model: {trained.refused}")
    return Judged(
        "next_product", horizon_days, "ndcg", tuple(rows), (), tuple(sentences), tuple(refused),
        definitions=_DEFINITIONS,
    )  # fmt: skip


def _table(data: Transactions) -> pa.Table | None:
    """The lines as training reads them, of a sample of clients where there are very many of them."""
    batches = list(data.lines())
    if not batches:
        return None
    table = pa.Table.from_batches(batches).rename_columns({"product_id": "item"})
    return table.filter(pc.is_valid(table.column("item")))


def _until(table: pa.Table, as_of: date, horizon_days: int) -> Lines | None:
    first = as_of - timedelta(days=days_needed(horizon_days))
    ordered = table.column("ordered_on").cast(pa.date32())
    inside = pc.and_(pc.less_equal(ordered, pa.scalar(as_of)), pc.greater(ordered, pa.scalar(first)))
    return lines_from(table.filter(inside))


def _rows(card: dict[str, Any], cut: date, seconds: float) -> Iterator[Row]:
    for kind, rules in card["figures_at_test"].items():
        chosen = f"{card['chosen'][kind]}, by {card['selection']['by']}"
        for rule, figures in rules.items():
            values = {name: figures[name] for name in FIGURES}
            name, count = f"{kind}: {rule}", card["clients_at_test"][kind]
            if rule == "model":
                yield Row(str(cut), name, values, count, is_model=True, chosen=chosen, cpu_seconds=seconds)
            else:
                yield Row(str(cut), name, values, count)
