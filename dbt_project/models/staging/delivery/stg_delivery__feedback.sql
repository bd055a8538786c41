-- One row per thing that a client did with a message of ours, as the tool that sent it tells. What a program did in her
-- stead (it opens mails to look into them) is told apart: it is no interest of hers (L20). What names no message is a
-- withdrawal alone, and is in the ledger's consents.
with

events as (
    select * from {{ source('raw', 'ledger_feedback') }}
),

kept as (
    select
        destination as source,
        event_id,
        client_ref,
        happened_at,
        channel,
        campaign_id as campaign_key,
        message_id as message_key,
        as_of as listed_on,
        known_on,
        coalesce(campaign_id || '|' || channel || '|' || cast(as_of as text), message_id) as communication_key,
        case when is_machine then 'machine_' else '' end || case kind
            when 'open' then 'opened'
            when 'click' then 'clicked'
            when 'reply' then 'replied'
            when 'hard_bounce' then 'bounced'
            when 'soft_bounce' then 'bounced_for_now'
            when 'unsubscribe' then 'unsubscribed'
            when 'complaint' then 'complained'
            when 'redemption' then 'redeemed'
            else kind
        end as event_kind
    from events
),

final as (
    select * from kept
    where communication_key is not null
)

select * from final
