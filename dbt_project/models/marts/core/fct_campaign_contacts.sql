-- What sources report, and what we handed over before the business date and was accepted: a rerun of a day must not
-- see its own lists (L2).
with

reported as (
    select * from {{ ref('stg_marketing__campaign_contacts') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

delivered as (
    select * from {{ source('raw', 'ledger_deliveries') }}
    where as_of < {{ as_of() }} and state = 'accepted' and action = 'add'
),

final as (
    select
        reported.source as reported_by,
        reported.campaign_key,
        coalesce(identified.client_id, reported.client_ref) as client_id,
        reported.channel,
        reported.contacted_on
    from reported
    left join identified on reported.client_ref = identified.client_ref
    union all
    select
        'perennial' as reported_by,
        campaign_id as campaign_key,
        client_id,
        channel,
        as_of as contacted_on
    from delivered
)

select * from final
