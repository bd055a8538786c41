-- Every day, to the cent, guests included.
with

orders as (
    select
        ordered_on,
        sum(revenue) as revenue,
        sum(discount) as discount,
        sum(units) as units,
        count(*) filter (where counts_as_order) as orders
    from {{ ref('fct_orders') }}
    group by ordered_on
),

days as (
    select * from {{ ref('kpi_daily') }}
)

select
    coalesce(orders.ordered_on, days.business_date) as business_date,
    orders.revenue as revenue_of_orders,
    days.revenue as revenue_of_day
from orders
full outer join days on orders.ordered_on = days.business_date
where
    days.business_date is null
    or coalesce(orders.revenue, 0) <> days.revenue
    or coalesce(orders.discount, 0) <> days.discount
    or coalesce(orders.units, 0) <> days.units
    or coalesce(orders.orders, 0) <> days.orders
