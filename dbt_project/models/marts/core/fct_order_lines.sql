{{ config(materialized='view') }}
with

lines as (
    select * from {{ ref('int_order_lines_netted') }}
),

final as (
    select
        source,
        order_key,
        batch_id,
        file_name,
        file_line,
        client_id,
        product_key,
        store_key,
        country,
        ordered_at,
        ordered_on,
        line_kind,
        quantity,
        unit_price,
        amount,
        cast(discount_amount as decimal(18, 4)) as discount_amount,
        cast(revenue as decimal(18, 4)) as revenue,
        cast(units as decimal(18, 4)) as units,
        is_cancelled,
        cancelled_on,
        {{ currency() }} as currency
    from lines
)

select * from final
