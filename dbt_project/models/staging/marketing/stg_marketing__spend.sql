-- One row per source, day, channel and campaign with what it cost, as last said on the business date.
{% set key = ['_source', 'spent_on', 'spend_channel', 'campaign_key'] %}
with

spend as ({{ resolved(source('raw', 'spend'), key, keep='last') }}),

final as (
    select
        _source as source,
        spent_on,
        spend_channel,
        campaign_key,
        amount as original_amount,
        {{ original_currency('currency') }} as original_currency,
        impressions,
        clicks
    from spend
    where version_rank = 1
)

select * from final
