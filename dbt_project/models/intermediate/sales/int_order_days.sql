-- One row per business day with an order document: what kpi_daily adds up, guests included.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_days_changed': {'business_date': 'business_date'}}},
) }}
with

orders as (
    select
        *,
        client_id is null as is_guest
    from {{ ref('fct_orders') }}
    where
        {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_days_changed', {'business_date': 'ordered_on'}) }}
),

final as (
    select
        ordered_on as business_date,
        cast(count(*) filter (where counts_as_order) as bigint) as orders,
        cast(count(*) filter (where counts_as_order and is_guest) as bigint) as guest_orders,
        cast(count(distinct case when counts_as_order then client_id end) as bigint) as buyers,
        cast(count(*) filter (where returned_amount > 0) as bigint) as returns,
        {{ amount_of('sum(revenue)') }} as revenue,
        {{ amount_of('coalesce(sum(revenue) filter (where is_guest), 0)') }} as guest_revenue,
        {{ amount_of('sum(sold_amount)') }} as sold_amount,
        {{ amount_of('sum(returned_amount)') }} as returned_amount,
        {{ amount_of('sum(other_amount)') }} as other_amount,
        {{ amount_of('coalesce(sum(cost), 0)') }} as cost,
        {{ amount_of('coalesce(sum(margin), 0)') }} as margin,
        {{ amount_of('coalesce(sum(revenue) filter (where margin is not null), 0)') }} as margin_revenue,
        {{ amount_of('sum(discount)') }} as discount,
        {{ amount_of('sum(units)') }} as units
    from orders
    group by ordered_on
)

select * from final
