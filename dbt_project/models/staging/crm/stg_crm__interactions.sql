-- One row per interaction of a source, as first reported.
with

interactions as ({{ resolved(source('raw', 'interactions'), ['_source', 'interaction_key'], keep='first') }}),

final as (
    select
        _source as source,
        interaction_key,
        client_ref,
        interaction_kind,
        channel,
        happened_at,
        score,
        order_key
    from interactions
    where version_rank = 1
)

select * from final
