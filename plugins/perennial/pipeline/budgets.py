"""What a client may cost: a share of expected value (`scoring.budget_share`), beside the other scores."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

BUDGET = "client_budget"
_PLANNED_DAYS = 210  # budgets are planned for six to eight months
_DIGITS = 4


def budget_from(scores: list[str]) -> str | None:
    """The value that budgets are a share of: the one whose horizon is nearest to seven months, if there is any."""
    days = {int(score[6:-1]): score for score in scores if score.startswith("value_")}
    return days[min(days, key=lambda known: (abs(known - _PLANNED_DAYS), known))] if days else None


def budgets(values: pa.RecordBatch, share: float) -> pa.RecordBatch:
    """`client_budget` of the clients with a value: what one may cost within that value's horizon."""
    changed = {
        "score": pa.array([BUDGET] * values.num_rows),
        **dict.fromkeys(("reasons", "reason"), pa.nulls(values.num_rows, pa.string())),
    }
    changed |= {n: pc.round(pc.multiply(values.column(n), share), _DIGITS) for n in ("value", "low", "high")}
    columns = [changed.get(name, values.column(name)) for name in values.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=values.schema)
