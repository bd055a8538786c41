"""What the clients of all experiments did in their windows: one pass over the orders, moments by arm out of it.

A client's window is the `window_days` days after the day on which the arm was drawn: the list of a day is handed over
after its orders are in. The same number of days up to that day is the time before, which the adjustment uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pyarrow as pa

from perennial.contracts.measurement import ASSIGNED, METRICS, Experiment
from perennial.measurement.moments import Moments

_ARMS, _CARDS, _CLIENTS, _OUTCOMES = "m_assigned", "m_cards", "m_clients", "campaign_outcomes"
# The share of the clients above which a client's amount is cut, to see whether a few large orders carry the result.
CAPPED_ABOVE = 0.99
_COLUMNS = ("mean_y", "square_y", "cube_y", "var_y", "mean_x", "var_x", "cov_xy")


class Session(Protocol):
    """`warehouse.engine.Published` is one."""

    def query(self, sql: str, params: Mapping[str, Any] = ...) -> pa.Table:
        """The result as an Arrow table."""

    def execute(self, sql: str, params: Mapping[str, Any] = ...) -> object:
        """Run a statement for its effect."""

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable under a name."""

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        """The published tables with the names and types of their columns."""


@dataclass(frozen=True)
class ArmOutcomes:
    """One arm of one campaign: its metrics among clients whose window is over, and among those whose is open."""

    campaign_id: str
    arm: str
    is_closed: bool
    clients: int
    moments: dict[str, Moments]
    capped: dict[str, float]  # the mean of a money metric, each client's amount cut
    margin_is_assumed: bool
    cost: float = 0.0  # of contacts and offers, as they were planned when they were allocated


def read_outcomes(
    session: Session, experiments: Sequence[Experiment], assigned: Iterable[pa.RecordBatch], as_of: date
) -> list[ArmOutcomes]:
    """The outcomes of the experiments by campaign, arm and whether the clients' windows are over on the date.

    `assigned` has `ASSIGNED` rows, one per campaign and client; it is read in batches (L26). Nothing after `as_of`
    counts (L2).
    """
    _load(session, experiments, assigned)
    session.execute(f"drop table if exists {_CLIENTS}")
    session.execute(f"create temporary table {_CLIENTS} as {_clients_sql(session)}", {"as_of": as_of})
    rows = session.query(_moments_sql()).to_pylist()
    capped = {_key(row): row for row in session.query(_capped_sql()).to_pylist()}
    costs: dict[tuple[str, str, bool], float] = {}
    if _OUTCOMES in session.tables():
        found = session.query(_COSTS, {"as_of": as_of}).to_pylist()
        costs = {_key(row): float(row["cost"] or 0) for row in found}
    return [_outcomes(row, capped[_key(row)], costs.get(_key(row), 0.0)) for row in rows]


def _key(row: Mapping[str, Any]) -> tuple[str, str, bool]:
    return row["campaign_id"], row["arm"], row["is_closed"]


def _load(session: Session, experiments: Sequence[Experiment], assigned: Iterable[pa.RecordBatch]) -> None:
    cards = [
        {"campaign_id": one.campaign_id, "window_days": one.window_days, "margin_share": one.margin_share}
        for one in experiments
    ]
    schema = pa.schema([("campaign_id", pa.string()), ("window_days", pa.int32()), ("margin_share", pa.float64())])
    session.register(_CARDS, pa.Table.from_pylist(cards, schema=schema))
    session.execute(f"drop table if exists {_ARMS}")
    session.execute(
        f"create temporary table {_ARMS} (campaign_id varchar, client_id varchar, arm varchar, assigned_on date)"
    )
    for batch in assigned:
        session.register("m_chunk", pa.Table.from_batches([batch], schema=ASSIGNED))
        session.execute(f"insert into {_ARMS} select campaign_id, client_id, arm, assigned_on from m_chunk")


def _clients_sql(session: Session) -> str:
    """One row per campaign and client: y_<metric> in the window, x_<metric> in as many days before it."""
    complaints = "fct_interactions" in session.tables()
    told = _COMPLAINTS if complaints else "select cast(null as varchar) as campaign_id, '' as client_id, 0 as y, 0 as x"
    return f"""
with drawn as (
    select
        a.campaign_id,
        a.client_id,
        a.arm,
        a.assigned_on,
        c.window_days,
        c.margin_share,
        a.assigned_on + c.window_days <= cast($as_of as date) as is_closed
    from {_ARMS} as a
    inner join {_CARDS} as c on c.campaign_id = a.campaign_id
),
orders as (
    select
        d.campaign_id,
        d.client_id,
        o.ordered_on > d.assigned_on as is_after,
        sum(cast(o.revenue as double precision)) as revenue,
        sum(cast(coalesce(o.margin, o.revenue * cast(d.margin_share as decimal(9, 6))) as double precision)) as margin,
        count(*) filter (where o.counts_as_order) as orders,
        sum(cast(o.units as double precision)) as units,
        bool_or(o.margin is null and o.revenue <> 0) as is_assumed
    from drawn as d
    inner join fct_orders as o
        on o.client_id = d.client_id
        and o.ordered_on > d.assigned_on - d.window_days
        and o.ordered_on <= d.assigned_on + d.window_days
        and o.ordered_on <= cast($as_of as date)
    group by 1, 2, 3
),
complaints as ({told})
select
    d.campaign_id,
    d.client_id,
    d.arm,
    d.is_closed,
    coalesce(y.is_assumed, false) or coalesce(x.is_assumed, false) as is_assumed,
    {_pair("revenue")},
    {_pair("margin")},
    {_pair("orders")},
    {_pair("units")},
    case when y.orders > 0 then 1.0 else 0.0 end as y_buyers,
    case when x.orders > 0 then 1.0 else 0.0 end as x_buyers,
    case when m.first_order_on > d.assigned_on and m.first_order_on <= d.assigned_on + d.window_days
        then 1.0 else 0.0 end as y_new_clients,
    0.0 as x_new_clients,
    coalesce(cast(k.y as double precision), 0) as y_complaints,
    coalesce(cast(k.x as double precision), 0) as x_complaints
from drawn as d
left join orders as y on y.campaign_id = d.campaign_id and y.client_id = d.client_id and y.is_after
left join orders as x on x.campaign_id = d.campaign_id and x.client_id = d.client_id and not x.is_after
left join complaints as k on k.campaign_id = d.campaign_id and k.client_id = d.client_id
left join client_metrics as m on m.client_id = d.client_id
"""


def _pair(metric: str) -> str:
    return ", ".join(f"coalesce(cast({side}.{metric} as double precision), 0) as {side}_{metric}" for side in "yx")


_COMPLAINTS = """
select
    d.campaign_id,
    d.client_id,
    count(*) filter (where i.happened_on > d.assigned_on) as y,
    count(*) filter (where i.happened_on <= d.assigned_on) as x
from drawn as d
inner join fct_interactions as i
    on i.client_id = d.client_id
    and i.interaction_kind = 'complaint'
    and i.happened_on > d.assigned_on - d.window_days
    and i.happened_on <= d.assigned_on + d.window_days
    and i.happened_on <= cast($as_of as date)
group by 1, 2
"""


# Only days before: the plan of the date itself may be there already when a day is run again.
_COSTS = f"""
select c.campaign_id, c.arm, c.is_closed, sum(cast(o.cost as decimal(18, 6))) as cost
from {_CLIENTS} as c
inner join {_OUTCOMES} as o
    on o.campaign_id = c.campaign_id and o.client_id = c.client_id
    and o.outcome = 'target' and o.as_of_date < cast($as_of as date)
group by 1, 2, 3
"""


def _moments_sql() -> str:
    terms = []
    for metric in METRICS:
        y, x = f"y_{metric}", f"x_{metric}"
        for name, sql in zip(
            _COLUMNS,
            (
                f"avg({y})",
                f"avg({y} * {y})",
                f"avg({y} * {y} * {y})",
                f"var_samp({y})",
                f"avg({x})",
                f"var_samp({x})",
                f"covar_samp({y}, {x})",
            ),
            strict=True,
        ):
            terms.append(f"{sql} as {metric}_{name}")
    return (
        f"select campaign_id, arm, is_closed, count(*) as clients, bool_or(is_assumed) as is_assumed, "
        f"{', '.join(terms)} from {_CLIENTS} group by 1, 2, 3 order by 1, 2, 3"
    )


def _capped_sql() -> str:
    """Means of the money metrics with each amount cut at the quantile of all arms of its campaign together."""
    bound = f"percentile_cont({CAPPED_ABOVE}) within group (order by"
    return f"""
with bounds as (
    select campaign_id, is_closed, {bound} y_revenue) as revenue, {bound} y_margin) as margin
    from {_CLIENTS}
    group by 1, 2
)
select
    c.campaign_id,
    c.arm,
    c.is_closed,
    avg(least(c.y_revenue, b.revenue)) as revenue,
    avg(least(c.y_margin, b.margin)) as margin
from {_CLIENTS} as c
inner join bounds as b on b.campaign_id = c.campaign_id and b.is_closed = c.is_closed
group by 1, 2, 3
"""


def _outcomes(row: dict[str, Any], capped: dict[str, Any], cost: float) -> ArmOutcomes:
    return ArmOutcomes(
        row["campaign_id"],
        row["arm"],
        row["is_closed"],
        row["clients"],
        {metric: _moments_of(row, metric) for metric in METRICS},
        {"revenue": capped["revenue"], "margin": capped["margin"]},
        row["is_assumed"],
        cost,
    )


def _moments_of(row: dict[str, Any], metric: str) -> Moments:
    mean, square, cube, var_y, mean_x, var_x, cov = (float(row[f"{metric}_{name}"] or 0) for name in _COLUMNS)
    spread = square - mean**2
    skew = (cube - 3 * mean * square + 2 * mean**3) / spread**1.5 if spread > 0 else 0.0
    return Moments(row["clients"], mean, var_y, mean_x, var_x, cov, skew)
