-- One row per client who has to be measured again: something of hers changed, or left or entered a window between the
-- last complete build and the business date. Empty in a full build, which measures everyone.
{{ config(materialized='table') }}
{% set named = ref('int_clients_changed') %}
{% set touches_changed, contacts = source('raw', 'touches_changed'), ref('fct_campaign_contacts') %}
{% set identified, visits = ref('int_clients_identified'), ref('fct_touches') %}
{% set told = ref('stg_delivery__feedback') %}
{% if not execute %}{% for name in measured_edges() %}{% do ref(name) %}{% endfor %}{% endif %}
{% if is_change() %}
with

-- Who visited without a name is another client, or nobody's any more, once she gives a second name or takes it back.
visitors as (
    select {{ visitor_id() }} as visitor_id from {{ source('raw', 'touches') }}
    where visitor_key is not null and (_source, touch_key) in (select _source, touch_key from {{ touches_changed }})
    union all
    select visitor_id from {{ visits }}
    where visitor_id is not null and {{ moved('touched_on', [0]) }}
),

-- What became of a message later than it was told of: its day does not show it.
happened as (
    select client_ref from {{ source('raw', 'message_events') }}
    where
        happened_at > cast({{ date_literal(var('previous_as_of')) }} - 1 as timestamp)
        and ({{ moved(business_date('happened_at'), [0]) }})
    union all
    -- What tools told us is known by its own day, whenever it happened.
    select client_ref from {{ told }}
    where known_on >= {{ date_literal(var('previous_as_of')) }} or {{ moved(business_date('happened_at'), [0]) }}
),

-- A list that was accepted may be marked days later, after a crash.
marked_late as (
    select contacts.client_id
    from {{ contacts }} as contacts
    inner join {{ last_built('int_client_measures') }} as measures on contacts.client_id = measures.client_id
    where contacts.contacted_on <= {{ date_literal(var('previous_as_of')) }}
    group by contacts.client_id, measures.campaign_contacts_total
    having count(*) <> measures.campaign_contacts_total
),

final as (
    select client_id from {{ named }}
    union
    select client_id from {{ visits }}
    where client_id is not null and visitor_id in (select visitor_id from visitors)
    union
    select client_id from {{ identified }}
    where client_ref in (select client_ref from happened)
    union
    select client_id from marked_late
    union
    {{- clients_moved() }}
)

select * from final
{% else %}
select client_id from {{ named }}
where false
{% endif %}
