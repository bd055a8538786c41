-- One row per campaign of a source, as last described on the business date.
with

campaigns as ({{ resolved(source('raw', 'campaigns'), ['_source', 'campaign_key'], keep='last') }}),

final as (
    select
        _source as source,
        campaign_key,
        campaign_type,
        starts_on,
        ends_on
    from campaigns
    where version_rank = 1
)

select * from final
