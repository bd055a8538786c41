-- One row per client record of a source (client_ref) with the client it belongs to: from the CRM, and from sales.
-- raw.identity_map says which records are joined; every other record is a client of its own. What is joined or split
-- changes client_id here and nowhere else: facts are re-keyed by this map, never by update.
{{ config(materialized='table') }}
with

crm as (
    select * from {{ ref('stg_crm__clients') }}
),

lines as (
    select * from {{ ref('stg_sales__order_lines') }}
    where client_ref is not null
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
        min(client_key) as client_key,
        min(source) as source,
        false as is_in_crm
    from lines
    group by client_ref
),

ranked as (
    select
        *,
        row_number() over (partition by client_ref order by is_in_crm desc) as seen_rank
    from seen
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
    where ranked.seen_rank = 1
)

select * from final
