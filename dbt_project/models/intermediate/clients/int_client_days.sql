-- One row per client, business day and voided_on: what the client ordered and brought back that day. voided_on is the
-- day on which the last line of those orders was cancelled (null for orders that stand): they counted until then.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta=days_of_clients(),
) }}
with

orders as (
    select * from {{ ref('fct_orders') }}
    where
        client_id is not null
        and {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_clients_changed', {'client_id': 'client_id'}) }}
        and {{ in_changed('int_days_changed', {'business_date': 'ordered_on'}) }}
),

final as (
    select
        client_id,
        ordered_on,
        voided_on,
        count(*) filter (where sale_lines > 0) as orders,
        cast(sum(sale_lines) as bigint) as sale_lines,
        {{ amount_of('sum(revenue)') }} as revenue,
        {{ amount_of('sum(sold_amount)') }} as sold_amount,
        {{ amount_of('sum(returned_amount)') }} as returned_amount,
        {{ amount_of('sum(discount)') }} as discount,
        {{ amount_of('sum(units)') }} as units,
        {{ amount_of('coalesce(sum(margin), 0)') }} as margin
    from orders
    group by client_id, ordered_on, voided_on
)

select * from final
