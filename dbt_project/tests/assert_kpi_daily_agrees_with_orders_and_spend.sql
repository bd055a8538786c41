-- Every day, to the cent, guests included, and what was spent on campaigns.
{% set columns = ['revenue', 'sold_amount', 'returned_amount', 'other_amount', 'discount', 'units', 'orders'] %}
with

orders as (
    select
        ordered_on,
        sum(revenue) as revenue,
        sum(sold_amount) as sold_amount,
        sum(returned_amount) as returned_amount,
        sum(other_amount) as other_amount,
        sum(discount) as discount,
        sum(units) as units,
        sum(cost) as cost,
        sum(margin) as margin,
        sum(revenue) filter (where margin is not null) as margin_revenue,
        count(*) filter (where counts_as_order) as orders,
        sum(revenue) filter (where client_id is null) as guest_revenue,
        count(*) filter (where counts_as_order and client_id is null) as guest_orders
    from {{ ref('fct_orders') }}
    group by ordered_on
),

spend as (
    select
        spent_on,
        sum(amount) as spend
    from {{ ref('fct_spend') }}
    group by spent_on
),

facts as (
    select
        orders.*,
        spend.spend,
        coalesce(orders.ordered_on, spend.spent_on) as business_date
    from orders
    full outer join spend on orders.ordered_on = spend.spent_on
),

days as (
    select * from {{ ref('kpi_daily') }}
)

select
    coalesce(facts.business_date, days.business_date) as business_date,
    facts.revenue as revenue_of_orders,
    days.revenue as revenue_of_day,
    facts.spend as spend_of_campaigns,
    days.spend as spend_of_day
from facts
full outer join days on facts.business_date = days.business_date
where
    days.business_date is null
    {%- for column in columns + ['cost', 'margin', 'margin_revenue', 'guest_revenue', 'guest_orders', 'spend'] %}
    or coalesce(facts.{{ column }}, 0) <> days.{{ column }}
    {%- endfor %}
