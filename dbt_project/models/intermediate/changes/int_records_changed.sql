-- One row per client record of which anything may have changed: a line of an order, a version in the CRM, or the client
-- that it is joined to. is_in_crm_anew: the CRM delivered it, so what it says is read again; is_lost: a line that named
-- the record in this way is gone, or the CRM's row may be, so all other lines have to be looked at. Empty in a FULL
-- build.
{{ config(materialized='table') }}
{% if is_change() %}
with

crm as (
    select distinct client_ref from {{ source('raw', 'clients_changed') }}
    where client_ref is not null
),

lines as (
    select
        client_ref,
        client_key,
        source,
        max(case when holds then 1 else 0 end) as is_held
    from {{ ref('int_order_lines_changed') }}
    where client_ref is not null
    group by client_ref, client_key, source
),

records as (
    select
        client_ref,
        1 as is_in_crm_anew,
        1 as is_lost
    from crm
    union all
    select
        client_ref,
        0 as is_in_crm_anew,
        1 - is_held as is_lost
    from lines
    union all
    select
        client_ref,
        0 as is_in_crm_anew,
        0 as is_lost
    from ({{ identity_changes() }}) as changes
    {%- if goes_on() %}
    union all
    select
        client_ref,
        1 as is_in_crm_anew,
        1 as is_lost
    from {{ this }}
    {%- endif %}
)

select
    client_ref,
    max(is_in_crm_anew) = 1 as is_in_crm_anew,
    max(is_lost) = 1 as is_lost
from records
group by client_ref
{% else %}
{% set _ = ref('int_order_lines_changed') %}
select
    cast(null as text) as client_ref,
    false as is_in_crm_anew,
    false as is_lost
where false
{% endif %}
