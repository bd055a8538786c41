{#- CTEs that end in `states`: one row per client and day on which something of hers changed, with her figures from that
    day on until `next_on`. -#}
{%- macro history_states(base_on=none, base=none) -%}
{%- set so_far = '(partition by client_id order by state_on rows between unbounded preceding and current row)' -%}
{{ history_steps(base_on, base) }},

step_days as (
    select
        client_id,
        state_on,
        {%- for counter in history_counters() %}
        {{ 'cast(sum(%s) as bigint)' % counter if 'orders' in counter else amount_of('sum(%s)' % counter) }} as {{ counter }},
        {%- endfor %}
        max(last_order) as last_order,
        max(stage_key) as stage_key,
        min(known_since) as known_since
    from steps
    group by client_id, state_on
),

running as (
    select
        client_id,
        state_on,
        lead(state_on) over (partition by client_id order by state_on) as next_on,
        {%- for counter in history_counters() %}
        sum({{ counter }}) over {{ so_far }} as {{ counter }},
        {%- endfor %}
        max(last_order) over {{ so_far }} as last_order,
        max(stage_key) over {{ so_far }} as stage_key,
        min(known_since) over {{ so_far }} as known_since
    from step_days
),

-- The latest order may be cancelled by then: the one before it that still stands is looked for.
stepped_back as (
    select
        running.client_id,
        running.state_on,
        max(facts.ordered_on) as last_order_on
    from running
    inner join facts on running.client_id = facts.client_id
    where
        {{ low_day('running.last_order', 10000000) }} <= running.state_on
        and facts.standing_orders > 0
        and facts.ordered_on <= running.state_on
        and facts.stands_until > running.state_on
    group by running.client_id, running.state_on
),

states as (
    select
        running.client_id,
        running.state_on,
        running.next_on,
        running.known_since,
        {%- for counter in history_counters() %}
        {{ 'cast(running.%s as bigint)' % counter if 'orders' in counter else amount_of('running.' ~ counter) }} as {{ counter }},
        {%- endfor %}
        case
            when {{ low_day('running.last_order', 10000000) }} > running.state_on
                then {{ high_day('running.last_order', 10000000) }}
            else stepped_back.last_order_on
        end as last_order_on,
        {{ stage_of('running.stage_key') }} as lifecycle_stage,
        {{ high_day('running.stage_key', 10) }} as stage_entered_on
    from running
    left join stepped_back
        on running.client_id = stepped_back.client_id and running.state_on = stepped_back.state_on
)
{%- endmacro -%}
