-- One row per client, coupon, campaign and day on which it was redeemed, as first reported.
{% set key = ['_source', 'client_key', 'coupon_key', 'campaign_key', 'redeemed_on'] %}
with

redemptions as ({{ resolved(source('raw', 'redemptions'), key, keep='first') }}),

final as (
    select
        _source as source,
        client_ref,
        coupon_key,
        campaign_key,
        redeemed_on
    from redemptions
    where version_rank = 1
)

select * from final
