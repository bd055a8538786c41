with

redemptions as (
    select * from {{ ref('stg_marketing__redemptions') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

joined as (
    select * from {{ ref('int_clients_joined') }}
),

known as (
    select
        redemptions.source,
        coalesce(identified.client_id, redemptions.client_ref) as client_id,
        redemptions.coupon_key,
        redemptions.campaign_key,
        redemptions.redeemed_on
    from redemptions
    left join identified on redemptions.client_ref = identified.client_ref
),

final as (
    select known.*
    from known
    left join joined on known.client_id = joined.client_id
    where joined.client_id is null
    union all
    select distinct known.*
    from known
    inner join joined on known.client_id = joined.client_id
)

select * from final
