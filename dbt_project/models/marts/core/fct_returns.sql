{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    on_schema_change='fail',
    meta={'units': {'int_orders_changed': {'source': 'source', 'order_key': 'order_key'}}, 'zone': 'returned_on'},
) }}
with

lines as (
    select * from {{ ref('int_order_lines_netted') }}
    where
        line_kind in ('return', 'cancellation')
        and {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_orders_changed', {'source': 'source', 'order_key': 'order_key'}) }}
),

matched as (
    select * from {{ ref('int_sales_returned') }}
    where {{ in_changed('int_order_lines_changed', {'goods_number': 'goods_number'}) }}
),

final as (
    select
        lines.source,
        lines.order_key,
        lines.batch_id,
        lines.file_name,
        lines.file_line,
        lines.client_id,
        lines.product_key,
        lines.line_kind,
        lines.ordered_at as returned_at,
        lines.ordered_on as returned_on,
        cast(-lines.units as decimal(18, 4)) as returned_units,
        cast(-lines.revenue as decimal(18, 4)) as returned_amount,
        cast(coalesce(matched.matched_units, 0) as decimal(18, 4)) as matched_units,
        matched.sale_order_key,
        matched.sale_batch_id,
        matched.sale_file_name,
        matched.sale_file_line,
        {{ business_date('matched.sale_ordered_at') }} as sold_on,
        cast(lines.ordered_on - {{ business_date('matched.sale_ordered_at') }} as bigint) as days_kept,
        {{ currency() }} as currency
    from lines
    left join matched
        on
            lines.batch_id = matched.batch_id
            and lines.file_name = matched.file_name
            and lines.file_line = matched.file_line
)

select * from final
