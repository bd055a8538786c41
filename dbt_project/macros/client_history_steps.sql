{#- CTEs that end in `steps`: what each day adds to a client's counters. In a CHANGE `base` is a relation with the rows of the month end `base_on` (SQL of a date)
    and `last_order`; without it everything is counted from the first day. -#}
{%- macro history_steps(base_on=none, base=none) -%}
{%- set spans, measures = [90, 365], ['orders'] + history_sums() -%}
{%- set seen = "> %s and " % base_on if base else "is not null and " -%}
facts as (
    select
        *,
        case when voided_on is null or voided_on > ordered_on then orders else 0 end as standing_orders,
        coalesce(voided_on, {{ far_day() }}) as stands_until
    from {{ ref('int_client_days') }}
    where ordered_on <= {{ as_of() }}
),

-- What came, became too old for a window or was cancelled since the base.
moved as (
    select * from facts
    where
        ordered_on {{ seen }} ordered_on <= {{ as_of() }}
        {%- for days in spans %}
        or (ordered_on + {{ days }} {{ seen }} ordered_on + {{ days }} <= {{ as_of() }})
        {%- endfor %}
        or (voided_on {{ seen }} voided_on <= {{ as_of() }})
),

ages (age_days, in_total{% for days in spans %}, in_{{ days }}d{% endfor %}) as (
    values
    (0, 1, 1, 1), (90, 0, -1, 0), (365, 0, 0, -1)
),

moves as (
    select
        moved.client_id,
        moved.ordered_on + ages.age_days as state_on,
        case when moved.ordered_on + ages.age_days < moved.stands_until then moved.standing_orders else 0 end as orders,
        {%- for name in history_sums() %}
        moved.{{ name }},
        {%- endfor %}
        {%- for days in spans %}
        ages.in_{{ days }}d,
        {%- endfor %}
        ages.in_total,
        case
            when ages.age_days = 0 and moved.standing_orders > 0
                then {{ packed(day_number('moved.ordered_on'), day_number('moved.stands_until'), 10000000) }}
        end as last_order
    from moved
    cross join ages
    union all
    select
        client_id,
        voided_on as state_on,
        -standing_orders as orders,
        {%- for name in history_sums() %}
        0 as {{ name }},
        {%- endfor %}
        {%- for days in spans %}
        case when voided_on <= ordered_on + {{ days }} then 1 else 0 end as in_{{ days }}d,
        {%- endfor %}
        1 as in_total,
        cast(null as bigint) as last_order
    from moved
),

steps as (
    select
        client_id,
        state_on,
        {%- for name in measures %}
        {%- for span in ['90d', '365d', 'total'] %}
        {{ name }} * in_{{ span }} as {{ name }}_{{ span }},
        {%- endfor %}
        {%- endfor %}
        last_order,
        cast(null as bigint) as stage_key,
        cast(null as date) as known_since
    from moves
    where state_on {{ seen }} state_on <= {{ as_of() }}
    union all
    select
        client_id,
        changed_on as state_on,
        {% for _ in history_counters() %}0, {% endfor %}
        null as last_order,
        {{ packed(day_number('changed_on'), stage_code('stage'), 10) }} as stage_key,
        case when stage_before is null then changed_on end as known_since
    from {{ ref('client_lifecycle_events') }}
    where changed_on {{ seen }} changed_on <= {{ as_of() }}
    {%- if base %}
    union all
    select
        client_id,
        as_of_date as state_on,
        {{ history_counters() | join(', ') }},
        last_order,
        {{ packed(day_number('stage_entered_on'), stage_code('lifecycle_stage'), 10) }} as stage_key,
        known_since
    from {{ base }}
    {%- endif %}
)
{%- endmacro -%}
