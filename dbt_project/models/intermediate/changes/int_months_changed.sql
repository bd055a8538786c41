-- One row per month (its first day) whose rows of client_metrics_history have to be made again in a CHANGE: from the
-- first month on in which a fact changed, a client is known earlier or later than before, or days have passed; and the
-- months that are too old to be kept. Empty in a FULL build.
{{ config(materialized='table') }}
{% set stages, days, clients = ref('client_lifecycle_events'), ref('int_days_changed'), ref('int_clients_changed') %}
{% if is_change() %}
with

last_month_end as (
    select max(as_of_date) as ends_on from {{ last_history() }}
    where row_kind = 'month_end'
),

known_before as (
    select
        client_id,
        min(known_since) as known_since
    from {{ last_history() }}
    where as_of_date >= (select ends_on from last_month_end)
    group by client_id
),

known_now as (
    select
        client_id,
        changed_on as known_since
    from {{ stages }}
    where stage_before is null
),

changed_days as (
    select {{ date_literal(var('previous_as_of')) }} + 1 as changed_on
    union all
    select business_date as changed_on from {{ days }}
    union all
    select least(known_now.known_since, known_before.known_since) as changed_on
    from {{ clients }} as changed
    left join known_now on changed.client_id = known_now.client_id
    left join known_before on changed.client_id = known_before.client_id
    where known_now.known_since is distinct from known_before.known_since
    {%- if goes_on() %}
    union all
    select month as changed_on from {{ this }}
    where month >= {{ history_starts() }}
    {%- endif %}
),

bounds as (
    select cast({{ month_of('min(changed_on)') }} as timestamp) as first_day from changed_days
),

final as (
    select cast(series.day as date) as month
    from bounds
    cross join generate_series(bounds.first_day, cast({{ as_of() }} as timestamp), interval '1 month') as series (day)
    union
    select month from {{ last_history() }}
    where month < {{ history_starts() }}
)

select * from final
{% else %}
select cast(null as date) as month
where false
{% endif %}
