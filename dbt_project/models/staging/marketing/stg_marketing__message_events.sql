-- One row per thing that became of a message to a client, as first reported.
{% set key = ['_source', 'communication_key', 'event_kind', 'happened_at'] %}
with

events as ({{ resolved(source('raw', 'message_events'), key, keep='first') }}),

final as (
    select
        _source as source,
        communication_key,
        client_ref,
        lower(event_kind) as event_kind,
        happened_at,
        channel,
        campaign_key,
        message_key
    from events
    where version_rank = 1
)

select * from final
