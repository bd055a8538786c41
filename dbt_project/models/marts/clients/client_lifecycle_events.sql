{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_clients_due': {'client_id': 'client_id'}}},
) }}
with

client_days as (
    select * from {{ ref('int_client_days') }}
    where ordered_on <= {{ as_of() }} and {{ in_changed('int_clients_due', {'client_id': 'client_id'}) }}
),

first_seen as (
    select
        client_id,
        signed_up_on as seen_on
    from {{ ref('dim_clients') }}
    where signed_up_on <= {{ as_of() }} and {{ in_changed('int_clients_due', {'client_id': 'client_id'}) }}
    union all
    select
        client_id,
        min(ordered_on) as seen_on
    from client_days
    group by client_id
),

known as (
    select
        client_id,
        min(seen_on) as known_since
    from first_seen
    group by client_id
),

{{ lifecycle_days() }},

compared as (
    select
        *,
        lag(stage) over (partition by client_id order by changed_on) as stage_of_day_before
    from stage_days
),

changes as (
    select
        client_id,
        changed_on,
        stage,
        lag(stage) over (partition by client_id order by changed_on) as stage_before,
        lag(changed_on) over (partition by client_id order by changed_on) as changed_before_on,
        lead(changed_on) over (partition by client_id order by changed_on) as left_on
    from compared
    where stage_of_day_before is null or stage_of_day_before <> stage
),

final as (
    select
        client_id,
        changed_on,
        stage_before,
        stage,
        cast(changed_on - changed_before_on as bigint) as days_in_stage_before,
        left_on
    from changes
)

select * from final
