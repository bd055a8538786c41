with

campaigns as (
    select * from {{ ref('stg_marketing__campaigns') }}
),

contacts as (
    select
        reported_by,
        campaign_key,
        count(*) as contacts
    from {{ ref('fct_campaign_contacts') }}
    group by reported_by, campaign_key
),

final as (
    select
        campaigns.source,
        campaigns.campaign_key,
        campaigns.campaign_type,
        campaigns.starts_on,
        campaigns.ends_on,
        cast(coalesce(contacts.contacts, 0) as bigint) as contacts
    from campaigns
    left join contacts on campaigns.source = contacts.reported_by and campaigns.campaign_key = contacts.campaign_key
)

select * from final
