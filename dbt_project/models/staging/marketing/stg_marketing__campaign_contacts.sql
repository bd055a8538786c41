-- One row per campaign of a source and client that it addressed, as first reported.
with

contacts as (
    {{ resolved(source('raw', 'campaign_contacts'), ['_source', 'campaign_key', 'client_key'], keep='first') }}
),

final as (
    select
        _source as source,
        campaign_key,
        client_ref,
        contacted_on,
        channel
    from contacts
    where version_rank = 1
)

select * from final
