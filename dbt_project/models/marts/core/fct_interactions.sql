with

interactions as (
    select * from {{ ref('stg_crm__interactions') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select
        interactions.source,
        interactions.interaction_key,
        coalesce(identified.client_id, interactions.client_ref) as client_id,
        interactions.interaction_kind,
        interactions.channel,
        interactions.happened_at,
        {{ business_date('interactions.happened_at') }} as happened_on,
        interactions.score,
        interactions.order_key
    from interactions
    left join identified on interactions.client_ref = identified.client_ref
)

select * from final
