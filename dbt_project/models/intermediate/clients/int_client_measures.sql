-- One row per client of dim_clients: sums over the windows that end on the business date, and dates instead of ages, so
-- that a row stays as it is until something of its client changes or leaves a window (int_clients_due).
{{ config(materialized='table') }}
with

{{ client_measures([var('as_of')]) }},

final as (
    select
        client_id,
        {{ measured_columns() }}
    from sums
)

select * from final
