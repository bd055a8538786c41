-- One row per client, store, business day and voided_on on which the client bought in the store.
{{ config(materialized='table') }}
with

lines as (
    select * from {{ ref('fct_order_lines') }}
    where client_id is not null and store_key is not null and line_kind = 'sale'
),

final as (
    select
        client_id,
        store_key,
        ordered_on,
        cancelled_on as voided_on
    from lines
    group by client_id, store_key, ordered_on, cancelled_on
)

select * from final
