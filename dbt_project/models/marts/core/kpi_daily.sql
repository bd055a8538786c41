{% set amounts = [
    'revenue', 'guest_revenue', 'sold_amount', 'returned_amount', 'other_amount', 'discount', 'cost', 'margin',
    'margin_revenue', 'units',
] %}
{% set counts = ['orders', 'guest_orders', 'buyers', 'returns'] %}
with

orders as (
    select * from {{ ref('int_order_days') }}
),

new_clients as (
    select
        first_order_on,
        count(*) as new_clients
    from {{ ref('dim_clients') }}
    group by first_order_on
),

spend as (
    select
        spent_on,
        sum(amount) as spend
    from {{ ref('fct_spend') }}
    group by spent_on
),

happened as (
    select min(business_date) as first_on from orders
    union all
    select min(spent_on) as first_on from spend
),

bounds as (
    select
        min(first_on) as first_on,
        {{ as_of() }} as last_on
    from happened
),

days as (
    {{ each_day('bounds', 'first_on', 'last_on') }}
),

final as (
    select
        days.day as business_date,
        {%- for amount in amounts %}
        cast(coalesce(orders.{{ amount }}, 0) as decimal(18, 4)) as {{ amount }},
        {%- endfor %}
        {%- for each in counts %}
        cast(coalesce(orders.{{ each }}, 0) as bigint) as {{ each }},
        {%- endfor %}
        {{ average_of('orders.revenue', 'orders.orders') }} as average_order,
        cast(coalesce(new_clients.new_clients, 0) as bigint) as new_clients,
        {{ amount_of('coalesce(spend.spend, 0)') }} as spend,
        {{ currency() }} as currency
    from days
    left join orders on days.day = orders.business_date
    left join new_clients on days.day = new_clients.first_order_on
    left join spend on days.day = spend.spent_on
)

select * from final
