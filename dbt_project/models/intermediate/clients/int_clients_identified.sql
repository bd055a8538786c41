-- One row per client record of a source (client_ref) with the client it belongs to: from the CRM, and from sales.
-- raw.identity_map says which records are joined; every other record is a client of its own. What is joined or split
-- changes client_id here and nowhere else: facts are re-keyed by this map.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_records_changed': {'client_ref': 'client_ref'}}},
) }}
with

crm as (
    {%- if is_change() %}
    select
        client_ref,
        client_key,
        _source as source
    from ({{ resolved(rows_of_changed_records('clients'), ['client_ref'], keep='last') }}) as records
    where version_rank = 1
    {%- else %}
    select
        client_ref,
        client_key,
        source
    from {{ ref('stg_crm__clients') }}
    {%- endif %}
),

lines as (
    select
        client_ref,
        min(client_key) as client_key,
        min(source) as source
    from ({{ order_lines_at_work() }}) as at_work
    where client_ref is not null
    group by client_ref
),

joined as (
    select * from {{ source('raw', 'identity_map') }}
),

seen as (
    select
        client_ref,
        client_key,
        source,
        true as is_in_crm
    from crm
    union all
    select
        client_ref,
        client_key,
        source,
        false as is_in_crm
    from lines
    {%- if is_change() %}
    -- What the record was known as before, where nothing of that went away; else what is left of it.
    union all
    select
        known.client_ref,
        known.client_key,
        known.source,
        known.is_in_crm
    from {{ this }} as known
    inner join {{ ref('int_records_changed') }} as changed on known.client_ref = changed.client_ref
    where case when known.is_in_crm then not changed.is_in_crm_anew else not changed.is_lost end
    union all
    select
        client_ref,
        client_key,
        source,
        false as is_in_crm
    from {{ last_built('int_order_lines_netted') }}
    where
        client_ref in (
            select changed.client_ref from {{ ref('int_records_changed') }} as changed
            where changed.is_lost
        )
        and order_number not in (select order_number from {{ ref('int_order_lines_changed') }})
    {%- endif %}
),

known as (
    select
        client_ref,
        is_in_crm,
        min(client_key) as client_key,
        min(source) as source
    from seen
    group by client_ref, is_in_crm
),

ranked as (
    select
        *,
        row_number() over (partition by client_ref order by is_in_crm desc) as seen_rank
    from known
),

final as (
    select
        ranked.client_ref,
        coalesce(joined.client_id, ranked.client_ref) as client_id,
        ranked.client_key,
        ranked.source,
        ranked.is_in_crm
    from ranked
    left join joined on ranked.client_ref = joined.client_ref
    where ranked.seen_rank = 1 and {{ in_changed('int_records_changed', {'client_ref': 'ranked.client_ref'}) }}
)

select * from final
