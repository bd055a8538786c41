-- One row per client of dim_clients: sums over the windows that end on the business date, and the rates made of them,
-- with dates instead of ages, so that a row stays as it is until something of its client changes or leaves a window
-- (int_clients_due).
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_clients_due': {'client_id': 'client_id'}}},
) }}
with

{{ client_measures([var('as_of')]) }},

{{ client_rates() }},

{{ relation_measures() }},

final as (
    select
        rated.client_id,
        {%- for column in rated_columns() %}
        rated.{{ column }},
        {%- endfor %}
        {{- columns_of_parts(relation_parts()) }}
    from rated
    {{- joined_parts(relation_parts(), 'rated', ['client_id']) }}
)

select * from final
