-- One row per touch of a source, as first reported.
with

touches as ({{ resolved(source('raw', 'touches'), ['_source', 'touch_key'], keep='first') }}),

final as (
    select
        _source as source,
        touch_key,
        client_ref,
        case when visitor_key is not null then {{ visitor_id() }} end as visitor_id,
        touched_at,
        touch_channel,
        touch_kind,
        campaign_key,
        device
    from touches
    where version_rank = 1
)

select * from final
