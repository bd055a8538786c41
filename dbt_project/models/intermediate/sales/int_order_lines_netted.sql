-- One row per order line with its client, its business day, what it adds to revenue and units, and whether a later
-- cancellation took it back. Sales, returns and cancellations are merchandise; fees, write-offs and adjustments are
-- kept apart: their amount stands in `amount` and in neither revenue nor units.
with

lines as (
    select
        *,
        {{ business_date('ordered_at') }} as ordered_on,
        line_kind in ('sale', 'return', 'cancellation') as is_merchandise
    from {{ ref('stg_sales__order_lines') }}
),

clients as (
    select * from {{ ref('int_clients_identified') }}
),

cancelled as (
    select * from {{ ref('int_sales_cancelled') }}
),

final as (
    select
        lines.source,
        lines.order_key,
        lines.batch_id,
        lines.file_name,
        lines.file_line,
        clients.client_id,
        lines.product_key,
        lines.product_name,
        lines.store_key,
        lines.country,
        lines.ordered_at,
        lines.ordered_on,
        lines.line_kind,
        lines.quantity,
        lines.unit_price,
        lines.amount,
        lines.discount_amount,
        case when lines.is_merchandise then lines.amount else 0 end as revenue,
        case when lines.is_merchandise then lines.quantity else 0 end as units,
        cancelled.cancelled_at is not null as is_cancelled,
        {{ business_date('cancelled.cancelled_at') }} as cancelled_on
    from lines
    left join clients on lines.client_ref = clients.client_ref
    left join cancelled
        on
            lines.batch_id = cancelled.batch_id
            and lines.file_name = cancelled.file_name
            and lines.file_line = cancelled.file_line
)

select * from final
