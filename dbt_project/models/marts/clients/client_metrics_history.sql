{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_months_changed': {'month': 'month'}}},
) }}
{% set bands = {'rfm_recency': 'last_order_on', 'rfm_frequency': 'orders_365d', 'rfm_monetary': 'revenue_365d'} %}
{% set watched = ['lifecycle_stage', 'concentration_class'] + bands.keys() | list %}
{% set compared = [
    'client_id', 'as_of_date', 'orders_total', 'revenue_total', 'last_order_on', 'orders_365d', 'revenue_365d',
] %}
{% set base_on = history_base() %}
{% set bases = ['base'] if base_on else [] %}
with

{% if base_on -%}
{{ history_base_rows(base_on) }},

{% endif -%}
{{ history_states(base_on, 'base' if base_on) }},

month_ends as (
    {{ history_month_ends() }}
),

held as (
    select
        states.*,
        month_ends.month,
        month_ends.ends_on as as_of_date
    from states
    inner join month_ends
        on states.state_on <= month_ends.ends_on and (states.next_on is null or states.next_on > month_ends.ends_on)
    where {{ 'month_ends.ends_on > %s' % base_on if base_on else 'true' }}
),

-- Those with an order are compared with each other; leads stand apart. What fifths and classes begin with stands until
-- the next month end.
placed as (
    {%- for rows in ['held'] + bases %}
    select {{ compared | join(', ') }} from {{ rows }}
    where orders_total > 0
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

{{ history_boundaries(bands) }},

at_month_ends as (
    select
        held.*,
        {{ history_bands('held', bands) }},
        {{ history_class('held') }} as concentration_class
    from held
    left join boundaries on held.as_of_date = boundaries.drawn_on
),

known_month_ends as (
    {%- for rows in ['at_month_ends'] + bases %}
    select {{ (compared + watched) | join(', ') }} from {{ rows }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

between_month_ends as (
    select
        states.*,
        {{ month_of('states.state_on') }} as month,
        states.state_on as as_of_date,
        {{ history_watched('before', bands) }} as watched_at_month_end,
        {{ history_bands('states', bands) }},
        case
            when states.orders_total > 0 and before.orders_total > 0 and states.revenue_total = before.revenue_total
                then before.concentration_class
            else {{ history_class('states', equals='all') }}
        end as concentration_class
    from states
    left join boundaries on {{ month_of('states.state_on') }} - 1 = boundaries.drawn_on
    left join known_month_ends as before
        on states.client_id = before.client_id and {{ month_of('states.state_on') }} - 1 = before.as_of_date
    where
        states.state_on >= {{ history_starts() }}
        and states.state_on not in (select ends_on from month_ends)
        and {{ 'states.state_on > %s' % base_on if base_on else 'true' }}
),

watched as (
    select
        *,
        {{ history_watched('between_month_ends', bands) }} as watched
    from between_month_ends
),

-- Of a client who was not there at the month end the first day is a change, for nothing was watched.
followed as (
    select
        *,
        coalesce(
            lag(watched) over (partition by client_id, month order by as_of_date), watched_at_month_end
        ) as watched_before
    from watched
),

changes as (
    select * from followed
    where watched_before is null or watched <> watched_before
),

final as (
    {{ history_rows('at_month_ends', 'month_end') }}
    union all
    {{ history_rows('changes', 'change') }}
)

select * from final
where month >= {{ history_starts() }}
