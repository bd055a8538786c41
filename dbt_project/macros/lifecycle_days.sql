{#- CTEs that end in `stage_days`: one row per client and day on which a count changed, with the stage of that day. It
    stands on the CTEs `client_days` (rows of int_client_days up to the date) and `known` (client_id, known_since). -#}
{%- macro lifecycle_days() -%}
{%- set horizon = days_var('churn_horizon_days') -%}
{%- set counts = ['orders_total', 'orders_in_h', 'orders_in_3h', 'orders_in_90d', 'orders_before_90d', 'returns'] -%}
standing as (
    select
        client_id,
        ordered_on,
        orders,
        coalesce(voided_on, {{ far_day() }}) as stands_until
    from client_days
    where orders > 0 and (voided_on is null or voided_on > ordered_on)
),

order_days as (
    select
        client_id,
        ordered_on,
        ordered_on - cast('1970-01-01' as date) as day_number,
        max(stands_until) as stands_until
    from standing
    group by client_id, ordered_on
),

-- Of each order day: until when a day of the 3 H before it stands, and until when one before those does.
preceded as (
    select
        *,
        max(stands_until) over (
            partition by client_id order by day_number range between {{ 3 * horizon }} preceding and 1 preceding
        ) as near_until,
        max(stands_until) over (
            partition by client_id
            order by day_number range between unbounded preceding and {{ 3 * horizon + 1 }} preceding
        ) as older_until
    from order_days
),

returned as (
    select
        client_id,
        greatest(ordered_on, coalesce(near_until, ordered_on)) as returned_on,
        least(stands_until, older_until, ordered_on + {{ horizon }}) as ends_on
    from preceded
    where older_until is not null
),

-- What an order adds to each count as it grows older.
ages (age_days, {{ counts[:5] | join(', ') }}) as (
    values
    (0, 1, 1, 1, 1, 0),
    ({{ horizon }}, 0, -1, 0, 0, 0),
    ({{ 3 * horizon }}, 0, 0, -1, 0, 0),
    (90, 0, 0, 0, -1, 1),
    (180, 0, 0, 0, 0, -1)
),

steps as (
    select
        standing.client_id,
        standing.ordered_on + ages.age_days as changed_on,
        {%- for count in counts[:5] %}
        standing.orders * ages.{{ count }} as {{ count }},
        {%- endfor %}
        0 as returns
    from standing
    cross join ages
    where standing.ordered_on + ages.age_days < standing.stands_until
    union all
    select
        standing.client_id,
        standing.stands_until as changed_on,
        {%- for count in counts[:5] %}
        -standing.orders * sum(ages.{{ count }}) as {{ count }},
        {%- endfor %}
        0 as returns
    from standing
    inner join ages on standing.ordered_on + ages.age_days < standing.stands_until
    where standing.stands_until < {{ far_day() }}
    group by standing.client_id, standing.ordered_on, standing.stands_until, standing.orders
    union all
    select client_id, returned_on as changed_on, 0, 0, 0, 0, 0, 1 as returns from returned
    where returned_on < ends_on
    union all
    select client_id, ends_on as changed_on, 0, 0, 0, 0, 0, -1 as returns from returned
    where returned_on < ends_on
    union all
    select client_id, known_since as changed_on, 0, 0, 0, 0, 0, 0 from known
),

step_days as (
    select
        client_id,
        changed_on,
        {%- for count in counts %}
        cast(sum({{ count }}) as bigint) as {{ count }}{{ ',' if not loop.last }}
        {%- endfor %}
    from steps
    where changed_on <= {{ as_of() }}
    group by client_id, changed_on
),

counted as (
    select
        client_id,
        changed_on,
        {%- for count in counts %}
        sum({{ count }}) over (partition by client_id order by changed_on) as {{ count }}{{ ',' if not loop.last }}
        {%- endfor %}
    from step_days
),

stage_days as (
    select
        client_id,
        changed_on,
        {{ lifecycle_stage() }} as stage
    from counted
)
{%- endmacro -%}
