"""The next purchase by product line: how often its 80 % interval holds, and how far its median is off, on real data.

    .perennial/env/bin/python tests/bench/bench_next_by_category.py /reference/data/dunnhumby_complete_journey

Weeks 1 to 40 of Complete Journey, lines by department and by product category. At a cut every household and line with
three days of purchase or more before it, as `client_product_matrix` has them; the statements and the renewal are the
product's. Asked: is the next day of purchase in the line, from the cut on, within the interval? Whether it is below
`low` or above `high` is known only where that end lies within the data: each tail is counted over the rows for which
it is, and the interval holds what neither leaves. Errors are over those who bought within 28 days, beside the mean gap less
the silence (not below a day). Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))

from perennial.contracts.next_steps import CLIENT_NEXT_PURCHASES
from perennial.scoring.features import column
from perennial.scoring.next_purchase.renewal import PRIORS, ROWS, next_purchases

CUTS, LEVELS, NEAR = (date(2017, 7, 4), date(2017, 8, 7), date(2017, 9, 4)), ("department", "product_category"), 28

_DAYS = """
create or replace table days as
select distinct cast(t.household_id as varchar) as client_id, p.{level} as product_line,
    cast(timezone('America/New_York', timezone('UTC', t.transaction_timestamp)) as date) as day
from read_parquet('{folder}/transactions_w01_40.parquet') as t
join read_parquet('{folder}/products.parquet') as p using (product_id)
where p.{level} is not null and t.quantity > 0
"""
_MATRIX = """
create or replace table client_product_matrix as
with gaps as (
    select *, day - lag(day) over (partition by client_id, product_line order by day) as gap from days where day < $cut
)
select client_id, product_line, count(*) as order_days_total, min(day) as first_bought_on, max(day) as last_bought_on,
    stddev_samp(gap) as gap_days_sd, 'gap' as due_by, cast(null as date) as next_due_on,
    case when avg(gap) > 180 then 'rare' else 'regular' end as cyclicality_class
from gaps
group by all
"""


def main() -> None:
    """One line per level and cut."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    sys.stdout.write(
        "| lines by | cut | rows | before low | after high | held | of those who bought | bought in 28 days | MAE | gap less silence |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    connection = duckdb.connect(config={"threads": 1})
    for level in LEVELS:
        connection.execute(_DAYS.format(level=level, folder=folder))
        for cut in CUTS:
            sys.stdout.write(line_of(connection, level, cut) + "\n")
            sys.stdout.flush()


def line_of(connection: Any, level: str, cut: date) -> str:
    """The figures of a cut. Days count from the day before it: day 1 is the cut itself."""
    connection.execute(_MATRIX, {"cut": cut})
    as_of = {"as_of": cut - timedelta(days=1)}
    priors = connection.sql(PRIORS, params=as_of).to_arrow_table()
    rows = connection.sql(ROWS, params=as_of).to_arrow_table().combine_chunks()
    import pyarrow as pa

    rows = rows.append_column("as_of_date", pa.array([as_of["as_of"]] * len(rows), pa.date32()))
    made = next_purchases(rows.to_batches()[0], priors, CLIENT_NEXT_PURCHASES)
    connection.register("made", pa.table([*made.columns, pa.array(np.arange(len(made)))], [*_names(made), "place"]))
    connection.register("asked", rows.select(["client_id", "category", "mean_gap", "silent"]))
    found = connection.sql(
        "select m.place, any_value(a.mean_gap - a.silent) as gap, min(d.day) - $as_of as days from made as m "
        "join asked as a on a.client_id = m.client_id and a.category = m.product_line "
        "left join days as d on d.client_id = m.client_id and d.product_line = m.product_line and d.day > $as_of "
        "group by m.place order by m.place",
        params=as_of,
    ).to_arrow_table()
    last = connection.execute("select max(day) from days").fetchone()[0]
    return _told(level, cut, made, found, float((last - as_of["as_of"]).days))


def _names(made: Any) -> list[str]:
    names = list(made.schema.names)
    names[2] = "product_line"
    return names


def _told(level: str, cut: date, made: Any, found: Any, known: float) -> str:
    median, low, high = (column(made, made.schema.names[place]) for place in (3, 4, 5))
    days, gap = column(found, "days"), column(found, "gap")
    came = np.where(np.isnan(days), np.inf, days)
    before = np.mean((came < np.floor(low))[np.floor(low) <= known])
    after = np.mean((came > np.ceil(high))[np.ceil(high) <= known])
    near, ever = came <= NEAR, np.isfinite(came)
    of_buyers = np.mean(((came >= np.floor(low)) & (came <= np.ceil(high)))[ever])
    errors = (np.abs(days - other)[near].mean() for other in (median, np.maximum(gap, 1)))
    told = " | ".join(f"{error:.1f}" for error in errors)
    return (
        f"| {level} | {cut} | {len(made):,} | {before:.3f} | {after:.3f} | {1 - before - after:.3f} | {of_buyers:.3f} "
        f"| {near.mean():.3f} | {told} |"
    )


if __name__ == "__main__":
    main()
