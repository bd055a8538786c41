with

orders as (
    select
        ordered_on,
        count(*) filter (where counts_as_order) as orders,
        count(distinct case when counts_as_order then client_id end) as buyers,
        sum(revenue) as revenue,
        sum(discount) as discount,
        sum(units) as units,
        sum(revenue) filter (where client_id is null) as guest_revenue
    from {{ ref('fct_orders') }}
    group by ordered_on
),

new_clients as (
    select
        first_order_on,
        count(*) as new_clients
    from {{ ref('dim_clients') }}
    group by first_order_on
),

bounds as (
    select
        cast(min(ordered_on) as timestamp) as first_day,
        cast({{ as_of() }} as timestamp) as last_day
    from orders
),

days as (
    select cast(series.day as date) as business_date
    from bounds
    cross join generate_series(bounds.first_day, bounds.last_day, interval '1 day') as series (day)
),

final as (
    select
        days.business_date,
        cast(coalesce(orders.revenue, 0) as decimal(18, 4)) as revenue,
        cast(coalesce(orders.guest_revenue, 0) as decimal(18, 4)) as guest_revenue,
        cast(coalesce(orders.discount, 0) as decimal(18, 4)) as discount,
        cast(coalesce(orders.orders, 0) as bigint) as orders,
        cast(coalesce(orders.buyers, 0) as bigint) as buyers,
        cast(coalesce(new_clients.new_clients, 0) as bigint) as new_clients,
        cast(coalesce(orders.units, 0) as decimal(18, 4)) as units,
        {{ currency() }} as currency
    from days
    left join orders on days.business_date = orders.ordered_on
    left join new_clients on days.business_date = new_clients.first_order_on
)

select * from final
