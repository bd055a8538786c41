{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    on_schema_change='fail',
    meta={'units': {'int_orders_changed': {'source': 'source', 'order_key': 'order_key'}}, 'zone': 'ordered_on'},
) }}
with

lines as (
    select
        *,
        line_kind = 'sale' as is_sale
    from {{ ref('fct_order_lines') }}
    where
        {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_orders_changed', {'source': 'source', 'order_key': 'order_key'}) }}
),

orders as (
    select
        source,
        order_key,
        min(client_id) as client_id,
        min(ordered_at) as ordered_at,
        min(ordered_on) as ordered_on,
        min(country) as country,
        min(sales_channel) as sales_channel,
        min(device) as device,
        count(distinct store_key) as stores,
        count(*) as lines,
        count(*) filter (where is_sale) as sale_lines,
        count(*) filter (where is_sale and is_cancelled) as cancelled_lines,
        max(cancelled_on) as last_cancelled_on,
        sum(revenue) as revenue,
        coalesce(sum(revenue) filter (where is_sale), 0) as sold_amount,
        coalesce(sum(-revenue) filter (where not is_sale), 0) as returned_amount,
        sum(amount - revenue) as other_amount,
        coalesce(sum(discount_amount) filter (where is_sale), 0) as discount,
        sum(case when line_kind in ('sale', 'return', 'cancellation') then cost_amount end) as cost,
        sum(margin) as margin,
        count(*) filter (where line_kind in ('sale', 'return', 'cancellation')) as merchandise_lines,
        count(margin) as margin_lines,
        sum(units) as units
    from lines
    group by source, order_key
),

final as (
    select
        source,
        order_key,
        client_id,
        ordered_at,
        ordered_on,
        country,
        sales_channel,
        device,
        {{ amount_of('revenue') }} as revenue,
        {{ amount_of('sold_amount') }} as sold_amount,
        {{ amount_of('returned_amount') }} as returned_amount,
        {{ amount_of('other_amount') }} as other_amount,
        {{ amount_of('discount') }} as discount,
        {{ amount_of('case when margin_lines = merchandise_lines then cost end') }} as cost,
        {{ amount_of('case when margin_lines = merchandise_lines then margin end') }} as margin,
        {{ amount_of('units') }} as units,
        cast(lines as bigint) as lines,
        cast(sale_lines as bigint) as sale_lines,
        cast(stores as bigint) as stores,
        sale_lines > cancelled_lines as counts_as_order,
        case when sale_lines > 0 and sale_lines = cancelled_lines then last_cancelled_on end as voided_on,
        {{ currency() }} as currency
    from orders
)

select * from final
