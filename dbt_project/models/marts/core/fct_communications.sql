-- What tools report of each message (in files, or back to us from where we handed it over), and what we handed over
-- before the business date and was accepted: a rerun of a day must not see its own lists (L2). A tool that sends what
-- we hand over has a row of its own for it.
{% set kinds = [
    'sent', 'delivered', 'opened', 'clicked', 'replied', 'bounced', 'unsubscribed', 'complained',
] %}
{% set told = [
    'source', 'communication_key', 'client_ref', 'channel', 'campaign_key', 'message_key', 'event_kind', 'happened_at',
] %}
with

told as (
    select
        {{ told | join(', ') }},
        cast(null as date) as listed_on
    from {{ ref('stg_marketing__message_events') }}
    union all
    select
        {{ told | join(', ') }},
        listed_on
    from {{ ref('stg_delivery__feedback') }}
),

events as (
    select
        *,
        {{ business_date('happened_at') }} as happened_on
    from told
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

delivered as (
    select * from {{ source('raw', 'ledger_deliveries') }}
    where as_of < {{ as_of() }} and state = 'accepted' and action = 'add'
),

messages as (
    select
        events.source,
        events.communication_key,
        coalesce(identified.client_id, events.client_ref) as client_id,
        events.channel,
        events.campaign_key,
        events.message_key,
        events.event_kind,
        events.happened_at,
        events.happened_on,
        events.listed_on
    from events
    left join identified on events.client_ref = identified.client_ref
    where events.happened_on <= {{ as_of() }}
),

reported as (
    select
        source,
        communication_key,
        client_id,
        min(channel) as channel,
        min(campaign_key) as campaign_key,
        min(message_key) as message_key,
        coalesce(min(happened_on) filter (where event_kind = 'sent'), min(listed_on), min(happened_on)) as sent_on,
        {%- for kind in kinds %}
        min(happened_at) filter (where event_kind = '{{ kind }}') as {{ kind }}_at,
        {%- endfor %}
        count(*) filter (where event_kind = 'bounced_for_now') as soft_bounces,
        count(*) filter (where event_kind = 'machine_opened') as machine_opens,
        count(*) as events
    from messages
    group by source, communication_key, client_id
),

final as (
    select * from reported
    union all
    select
        'perennial' as source,
        delivered.campaign_id || '|' || delivered.channel || '|' || cast(delivered.as_of as text) as communication_key,
        coalesce(identified.client_id, delivered.client_id) as client_id,
        delivered.channel,
        delivered.campaign_id as campaign_key,
        null as message_key,
        delivered.as_of as sent_on,
        {%- for kind in kinds %}
        cast(null as timestamp) as {{ kind }}_at,
        {%- endfor %}
        cast(0 as bigint) as soft_bounces,
        cast(0 as bigint) as machine_opens,
        count(*) as events
    from delivered
    left join identified on delivered.client_id = identified.client_ref
    group by
        delivered.campaign_id, delivered.channel, delivered.as_of, coalesce(identified.client_id, delivered.client_id)
)

select * from final
