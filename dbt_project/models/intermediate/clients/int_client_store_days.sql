-- One row per client, store, business day and voided_on on which the client bought in the store.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta=days_of_clients(),
) }}
with

lines as (
    select * from {{ ref('fct_order_lines') }}
    where
        client_id is not null and store_key is not null and line_kind = 'sale'
        and {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_clients_changed', {'client_id': 'client_id'}) }}
        and {{ in_changed('int_days_changed', {'business_date': 'ordered_on'}) }}
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
