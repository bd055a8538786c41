-- What sources report, and what we handed over before the business date and was accepted: a rerun of a day must not
-- see its own lists (L2).
with

reported as (
    select * from {{ ref('stg_marketing__campaign_contacts') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

joined as (
    select * from {{ ref('int_clients_joined') }}
),

delivered as (
    select * from {{ source('raw', 'ledger_deliveries') }}
    where as_of < {{ as_of() }} and state = 'accepted' and action = 'add'
),

contacts as (
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
        delivered.campaign_id as campaign_key,
        coalesce(identified.client_id, delivered.client_id) as client_id,
        delivered.channel,
        delivered.as_of as contacted_on
    from delivered
    left join identified on delivered.client_id = identified.client_ref
),

final as (
    select contacts.*
    from contacts
    left join joined on contacts.client_id = joined.client_id
    where joined.client_id is null
    union all
    -- Two records of one client may both have been addressed that day.
    select distinct contacts.*
    from contacts
    inner join joined on contacts.client_id = joined.client_id
)

select * from final
