-- One row per client of whom anything may have changed since the last complete build: an order, the records that belong
-- to the client, what a record says, an event. Old and new id of who was joined or split. Empty in a FULL build.
{{ config(materialized='table') }}
{% set tables = [
    'clients', 'demographics', 'contact_persons', 'campaign_contacts', 'redemptions', 'deals', 'interactions',
    'message_events', 'touches',
] %}
{% set keyed = {
    'contact_persons': 'contact_key', 'deals': 'deal_key', 'interactions': 'interaction_key', 'touches': 'touch_key',
    'message_events': 'communication_key, event_kind, happened_at',
} %}
{% if is_change() %}
with

refs as (
    select client_ref from {{ ref('int_order_lines_changed') }}
    union all
    select client_ref from ({{ identity_changes() }}) as changes
    {%- for table in tables %}
    union all
    select client_ref from {{ source('raw', table ~ '_changed') }}
    {%- endfor %}
    -- Of what bears a key of its own another version may have named another client, and what deletes it names none.
    {%- for table, key in keyed.items() %}
    union all
    select client_ref from {{ source('raw', table) }}
    where (_source, {{ key }}) in (select _source, {{ key }} from {{ source('raw', table ~ '_changed') }})
    {%- endfor %}
),

clients as (
    select client_id from {{ ref('int_order_lines_changed') }}
    union all
    select identified.client_id
    from {{ ref('int_clients_identified') }} as identified
    where identified.client_ref in (select client_ref from refs)
    union all
    select client_ref from refs
    union all
    select client_id from {{ source('raw', 'identity_map_built') }}
    where client_ref in (select client_ref from refs)
    union all
    select client_id from {{ source('raw', 'identity_map') }}
    where client_ref in (select client_ref from refs)
    {%- if goes_on() %}
    union all
    select client_id from {{ this }}
    {%- endif %}
)

select distinct client_id from clients
where client_id is not null
{% else %}
{% set _ = ref('int_order_lines_changed') %}
select client_id from {{ ref('int_clients_identified') }}
where false
{% endif %}
