-- One row per client record of a source (client_ref) with the client it belongs to: from the CRM, and from sales.
-- Today a record is a client; what merges records later changes client_id here and nowhere else.
{{ config(materialized='table') }}
with

crm as (
    select * from {{ ref('stg_crm__clients') }}
),

lines as (
    select * from {{ ref('stg_sales__order_lines') }}
    where client_ref is not null
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
        client_ref,
        client_ref as client_id,
        client_key,
        source,
        is_in_crm
    from ranked
    where seen_rank = 1
)

select * from final
