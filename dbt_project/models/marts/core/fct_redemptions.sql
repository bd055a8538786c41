with

redemptions as (
    select * from {{ ref('stg_marketing__redemptions') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select
        redemptions.source,
        coalesce(identified.client_id, redemptions.client_ref) as client_id,
        redemptions.coupon_key,
        redemptions.campaign_key,
        redemptions.redeemed_on
    from redemptions
    left join identified on redemptions.client_ref = identified.client_ref
)

select * from final
