-- Per currency and in all: what the lines add up to is what the orders add up to, and no order is without lines.
with

lines as (
    select
        sum(revenue) as revenue,
        sum(units) as units,
        sum(amount) as amount,
        count(*) as lines
    from {{ ref('fct_order_lines') }}
),

orders as (
    select
        sum(revenue) as revenue,
        sum(units) as units,
        sum(revenue + other_amount) as amount,
        sum(lines) as lines
    from {{ ref('fct_orders') }}
)

select *
from lines
cross join orders
where
    lines.revenue is distinct from orders.revenue
    or lines.units is distinct from orders.units
    or lines.amount is distinct from orders.amount
    or lines.lines <> coalesce(orders.lines, 0)
