with

identified as (
    select * from {{ ref('int_clients_identified') }}
),

joined as (
    select * from {{ source('raw', 'identity_map') }}
),

final as (
    select
        joined.client_ref,
        joined.client_id,
        coalesce(identified.client_key, joined.client_ref) as client_key,
        identified.source,
        joined.rule,
        joined.evidence
    from joined
    left join identified on joined.client_ref = identified.client_ref
    where joined.client_ref <> joined.client_id
)

select * from final
