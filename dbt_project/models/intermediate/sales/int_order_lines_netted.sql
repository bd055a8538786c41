-- One row per order line with its client, its business day, what it adds to revenue and units, and whether a later
-- cancellation took it back. Sales, returns and cancellations are merchandise; fees, write-offs and adjustments are
-- kept apart: their amount stands in `amount` and in neither revenue nor units. The table that everything about orders
-- is read from; the models of changed units come before it, since they read what it was.
{% set _ = ref_of_units('int_orders_changed') %}
{% set _ = ref_of_units('int_clients_changed') %}
{% set _ = ref_of_units('int_days_changed') %}
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_orders_changed': {'order_number': 'order_number'}}, 'zone': 'ordered_on'},
) }}
with

lines as (
    select
        *,
        {{ business_date('ordered_at') }} as business_day,
        {{ original_currency('currency') }} as original_currency,
        line_kind in ('sale', 'return', 'cancellation') as is_merchandise
    from ({{ order_lines_at_work() }}) as at_work
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

clients as (
    select * from {{ ref('int_clients_identified') }}
),

cancelled as (
    select * from {{ ref('int_sales_returned') }}
    where
        line_kind = 'cancellation'
        and sale_batch_id is not null
        and {{ in_changed('int_order_lines_changed', {'goods_number': 'goods_number'}) }}
),

final as (
    select
        {%- for column in order_line_names() %}
        lines.{{ column }},
        {%- endfor %}
        lines.order_number,
        lines.goods_number,
        clients.client_id,
        lines.business_day as ordered_on,
        lines.original_currency,
        rates.rate,
        case
            when lines.is_merchandise
                then {{ in_company_currency(
                    counted_amount('lines.amount', 'lines.tax_amount'), 'lines.original_currency', 'rates.rate'
                ) }}
            else 0
        end as revenue,
        case when lines.is_merchandise then lines.quantity else 0 end as units,
        cancelled.returned_at is not null as is_cancelled,
        {{ business_date('cancelled.returned_at') }} as cancelled_on
    from lines
    left join rates on lines.original_currency = rates.currency and lines.business_day = rates.business_date
    left join clients on lines.client_ref = clients.client_ref
    left join cancelled
        on
            lines.batch_id = cancelled.sale_batch_id
            and lines.file_name = cancelled.sale_file_name
            and lines.file_line = cancelled.sale_file_line
)

select * from final
