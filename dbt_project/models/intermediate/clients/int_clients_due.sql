-- One row per client who has to be measured again: something of hers changed, or left or entered a window between the
-- last complete build and the business date. Empty in a full build, which measures everyone.
{{ config(materialized='table') }}
{% set named = ref('int_clients_changed') %}
{% set touched = [ref('fct_touches'), source('raw', 'touches_changed')] %}
{% if not execute %}{% for name in measured_edges() %}{% do ref(name) %}{% endfor %}{% endif %}
{% if is_change() %}
with

-- Who visited without a name is another client, or nobody's any more, once she gives a second name.
visitors as (
    select {{ visitor_id() }} as visitor_id from {{ touched[1] }}
    where visitor_key is not null
),

final as (
    select client_id from {{ named }}
    union
    select client_id from {{ touched[0] }}
    where client_id is not null and visitor_id in (select visitor_id from visitors)
    union
    {{- clients_moved() }}
)

select * from final
{% else %}
select client_id from {{ named }}
where false
{% endif %}
