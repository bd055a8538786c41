{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_months_changed': {'month': 'month'}}},
) }}
{% set bands = {'rfm_recency': 'last_order_on', 'rfm_frequency': 'orders_365d', 'rfm_monetary': 'revenue_365d'} %}
{% set watched = ['lifecycle_stage', 'concentration_class'] + bands.keys() | list %}
{% set base_on = history_base() %}
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

-- Those with an order are compared with each other; leads stand apart.
compared as (
    select
        *,
        {%- for band, column in bands.items() %}
        {{ fifth(column, per='as_of_date, orders_total > 0') }} as {{ band }}_of_all,
        {%- endfor %}
        {{ revenue_of_larger(per='as_of_date, orders_total > 0') }} as of_larger,
        sum(greatest(revenue_total, 0)) over (partition by as_of_date, orders_total > 0) as of_all
    from held
),

at_month_ends as (
    select
        *,
        {%- for band in bands %}
        case when orders_total > 0 then {{ band }}_of_all end as {{ band }},
        {%- endfor %}
        case when orders_total > 0 then {{ concentration_class('of_larger', 'of_all') }} else 'C' end
            as concentration_class
    from compared
),

known_month_ends as (
    select
        client_id,
        as_of_date,
        orders_total,
        revenue_total,
        last_order_on,
        orders_365d,
        revenue_365d,
        {{ watched | join(', ') }}
    from at_month_ends
    {%- if base_on %}
    union all
    select
        client_id,
        as_of_date,
        orders_total,
        revenue_total,
        last_order_on,
        orders_365d,
        revenue_365d,
        {{ watched | join(', ') }}
    from base
    {%- endif %}
),

-- The least value of each fifth and class: they stand until the next month end.
boundaries as (
    select
        as_of_date as drawn_on,
        {%- for band, column in bands.items() %}
        {%- for number in [2, 3, 4, 5] %}
        min(case when {{ band }} >= {{ number }} then {{ column }} end) as {{ band }}_{{ number }},
        {%- endfor %}
        {%- endfor %}
        min(case when concentration_class = 'A' then revenue_total end) as class_a,
        min(case when concentration_class in ('A', 'B') then revenue_total end) as class_b
    from known_month_ends
    where orders_total > 0
    group by as_of_date
),

between_month_ends as (
    select
        states.*,
        {{ month_of('states.state_on') }} as month,
        states.state_on as as_of_date,
        before.client_id is not null as was_there,
        {%- for column in watched %}
        before.{{ column }} as {{ column }}_at_month_end,
        {%- endfor %}
        {{ history_bands(bands) }}
    from states
    left join boundaries on {{ month_of('states.state_on') }} - 1 = boundaries.drawn_on
    left join known_month_ends as before
        on states.client_id = before.client_id and {{ month_of('states.state_on') }} - 1 = before.as_of_date
    where
        states.state_on >= {{ history_starts() }}
        and states.state_on not in (select ends_on from month_ends)
        and {{ 'states.state_on > %s' % base_on if base_on else 'true' }}
),

followed as (
    select
        *,
        row_number() over (partition by client_id, month order by as_of_date) as place,
    {%- for column in watched %}
    lag({{ column }}) over (partition by client_id, month order by as_of_date) as {{ column }}_before
    {{- ',' if not loop.last }}
    {%- endfor %}
    from between_month_ends
),

changes as (
    select * from followed
    where
        (place = 1 and not was_there)
    {%- for column in watched %}
    or {{ column }} is distinct from (
        case when place = 1 then {{ column }}_at_month_end else {{ column }}_before end
    )
    {%- endfor %}
),

final as (
    {{ history_rows('at_month_ends', 'month_end') }}
    union all
    {{ history_rows('changes', 'change') }}
)

select * from final
where month >= {{ history_starts() }}
