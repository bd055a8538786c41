"""When a client buys next from a product line that they buy regularly: a gamma renewal, shrunk to the line.

The time between two purchases of a client in a line is gamma distributed (Herniter 1971). Its mean and its coefficient
of variation are those of the client, pulled towards those of all who buy from the line with the weight of two gaps.
What is said of the next purchase is conditional on the silence so far: a client who is late is not due today, the days
left are those of such gaps that last as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import gammaincc, gammainccinv

from perennial.scoring.features import Matrix, column

VERSION = "renewal-1"
MIN_DAYS_OF_PURCHASE = 3
_PRIOR_GAPS = 2.0
_LEAST_CV, _MOST_CV = 0.15, 2.0
_OVER = 0.02  # a silence that so few gaps reach: the client no longer buys from the line
LEVELS = (0.1, 0.5, 0.9)

# Of published client_product_matrix: its rhythm is dbt's (L3). `mean_gap` follows from the first and the last day.
RHYTHM = f"""
select
    client_id,
    product_line as category,
    cast(order_days_total - 1 as double precision) as gaps,
    cast(last_bought_on - first_bought_on as double precision) / (order_days_total - 1) as mean_gap,
    gap_days_sd as sd_gap,
    cast(cast($as_of as date) - last_bought_on as double precision) as silent,
    case when due_by = 'term' then cast(next_due_on - cast($as_of as date) as double precision) end as term_days
from client_product_matrix
where order_days_total >= {MIN_DAYS_OF_PURCHASE} and cyclicality_class <> 'rare'
"""
ROWS = f"{RHYTHM} order by client_id, product_line"
PRIORS = f"""
select category, avg(ln(greatest(mean_gap, 1))) as log_gap, avg(least(sd_gap / greatest(mean_gap, 1), 2)) as cv
from ({RHYTHM}) as rhythm
group by category
"""


@dataclass(frozen=True)
class Renewal:
    """Days from the date on, by row: low, median, high; NaN where the client no longer buys from the line."""

    low: Matrix
    median: Matrix
    high: Matrix


def renewal(gaps: Matrix, mean_gap: Matrix, sd_gap: Matrix, silent: Matrix, prior: tuple[Matrix, Matrix]) -> Renewal:
    """The next purchase of clients in lines. `prior`: mean of the log gap and of the cv of the row's line.

    All in days; arrays of equal length.
    """
    weight = gaps / (gaps + _PRIOR_GAPS)
    own = np.log(np.maximum(mean_gap, 1.0))
    mean = np.exp(weight * own + (1 - weight) * prior[0])
    own_cv = np.nan_to_num(sd_gap / np.maximum(mean_gap, 1.0), nan=1.0)
    cv = np.clip(np.sqrt(weight * own_cv**2 + (1 - weight) * prior[1] ** 2), _LEAST_CV, _MOST_CV)
    shape = 1 / cv**2
    scale = mean / shape
    left = gammaincc(shape, silent / scale)
    there = left > _OVER

    def days(level: float) -> Matrix:
        ends = gammainccinv(shape, (1 - level) * np.where(there, left, 1.0)) * scale
        return np.where(there, np.maximum(ends - silent, 1.0), np.nan)

    low, median, high = (days(level) for level in LEVELS)
    return Renewal(low, median, high)


def next_purchases(batch: pa.RecordBatch, priors: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of `client_next_purchases` of a batch of ROWS with `as_of_date`; lines no longer bought are left out."""
    known = dict(zip(priors.column("category").to_pylist(), range(priors.num_rows), strict=True))
    place = np.array([known[name] for name in batch.column("category").to_pylist()], dtype=np.int64)
    prior = (column(priors, "log_gap")[place], np.nan_to_num(column(priors, "cv"), nan=1.0)[place])
    gaps, mean, sd, silent, term = (column(batch, n) for n in ("gaps", "mean_gap", "sd_gap", "silent", "term_days"))
    found = renewal(gaps, mean, sd, silent, prior)
    by_term = ~np.isnan(term)
    days = np.where(by_term, np.maximum(term, 0.0), found.median)
    low, high = (np.where(by_term, np.nan, values) for values in (found.low, found.high))
    columns = [
        batch.column("client_id").cast(pa.string()),
        batch.column("as_of_date").cast(pa.date32()),
        batch.column("category").cast(pa.string()),
        *(pa.array(np.round(values, 2), from_pandas=True) for values in (days, low, high)),
        pa.array([VERSION] * len(batch), pa.string()),
    ]
    kept = pa.array(~np.isnan(days))
    arrays = [array.filter(kept) for array in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
