-- Per client: lifetime revenue and orders of client_metrics are those of her orders, and every buyer has a row.
with

orders as (
    select
        client_id,
        sum(revenue) as revenue,
        count(*) filter (where counts_as_order) as orders
    from {{ ref('fct_orders') }}
    where client_id is not null
    group by client_id
),

metrics as (
    select * from {{ ref('client_metrics') }}
)

select
    coalesce(orders.client_id, metrics.client_id) as client_id,
    orders.revenue as revenue_of_orders,
    metrics.revenue_total
from orders
full outer join metrics on orders.client_id = metrics.client_id
where
    metrics.client_id is null
    or coalesce(orders.revenue, 0) <> metrics.revenue_total
    or coalesce(orders.orders, 0) <> metrics.orders_total
