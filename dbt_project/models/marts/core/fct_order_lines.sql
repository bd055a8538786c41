{{ config(materialized='view') }}
with

lines as (
    select
        *,
        {{ counted_amount('amount', 'tax_amount') }} as original_amount
    from {{ ref('int_order_lines_netted') }}
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
        sales_channel,
        device,
        ordered_at,
        ordered_on,
        line_kind,
        quantity,
        {{ line_money('unit_price') }} as unit_price,
        {{ line_money('original_amount') }} as amount,
        {{ line_money('discount_amount') }} as discount_amount,
        cast(revenue as decimal(18, 4)) as revenue,
        cast(units as decimal(18, 4)) as units,
        {{ line_money('tax_amount') }} as tax_amount,
        {{ line_money('cost_amount') }} as cost_amount,
        case
            when line_kind in ('sale', 'return', 'cancellation')
                then {{ line_money(fitting(widened('original_amount') ~ ' - ' ~ counted_tax() ~ ' - cost_amount')) }}
        end as margin,
        is_cancelled,
        cancelled_on,
        cast(original_amount as decimal(18, 4)) as original_amount,
        original_currency,
        {{ currency() }} as currency
    from lines
)

select * from final
