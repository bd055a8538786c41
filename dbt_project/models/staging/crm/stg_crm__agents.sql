-- One row per sales agent of a source, as last described on the business date.
with

agents as ({{ resolved(source('raw', 'agents'), ['_source', 'agent_key'], keep='last') }}),

final as (
    select
        _source as source,
        agent_key,
        agent_name,
        manager,
        office
    from agents
    where version_rank = 1
)

select * from final
