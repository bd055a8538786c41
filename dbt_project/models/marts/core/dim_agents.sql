with

agents as (
    select * from {{ ref('stg_crm__agents') }}
),

final as (
    select
        source,
        agent_key,
        agent_name,
        manager,
        office
    from agents
)

select * from final
