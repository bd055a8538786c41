{#- What only client_metrics reads, of int_client_measures: how the client came, what she says, reads, and when she buys.
    Every part gives a CTE keyed client_id, as of the business date alone. -#}

{#- What each part gives: {part: {column: what stands for it where the part has no row}}. -#}
{%- macro relation_parts() -%}
    {{ return({
        'touches': {'first_touch_on': none, 'touches_before_first_order': 0},
        'voices': {'nps_score': none, 'complaints_90d': 0, 'complaints_total': 0, 'complaints_open': 0},
        'messages': {'messages_received_90d': 0, 'messages_opened_90d': 0, 'messages_clicked_90d': 0},
        'reading': {'usual_reading_hour': none},
        'buying': {'usual_buying_hour': none},
    }) }}
{%- endmacro -%}

{#- CTEs of all parts. They stand on the macro client_facts. -#}
{%- macro relation_measures() -%}
{{ touch_measures() }},

{{ voice_measures() }},

{{ message_measures() }},

{{ usual_hour('buying', client_facts('fct_orders'), 'ordered_at', 'ordered_on', 'counts_as_order') }}
{%- endmacro -%}

{#- CTE `touches`: the way to the first order; of a client without one, the way so far. -#}
{%- macro touch_measures() -%}
touches as (
    select
        client_id,
        min(touched_on) as first_touch_on,
        count(*) as touches_before_first_order
    from {{ client_facts('fct_touches') }} as facts
    where is_before_first_order and touched_on <= {{ as_of() }}
    group by client_id
)
{%- endmacro -%}

{#- CTE `voices`: surveys and complaints. A complaint is open until a closing interaction (var complaint_closing_kinds)
    of the same client follows it. -#}
{%- macro voice_measures() -%}
heard as (
    select
        *,
        lower(interaction_kind) as kind,
        max(case when lower(interaction_kind) in ({{ text_list(var('complaint_closing_kinds')) }}) then happened_at end)
            over (partition by client_id) as closed_at
    from {{ client_facts('fct_interactions') }} as facts
    where happened_on <= {{ as_of() }}
),

voices as (
    select
        client_id,
        (array_agg(score order by happened_at desc, source asc, interaction_key asc)
        filter (where kind = 'nps' and score is not null))[1] as nps_score,
        count(case when kind = 'complaint' and happened_on > {{ as_of() }} - 90 then 1 end) as complaints_90d,
        count(case when kind = 'complaint' then 1 end) as complaints_total,
        count(case when kind = 'complaint' and (closed_at is null or closed_at < happened_at) then 1 end)
            as complaints_open
    from heard
    group by client_id
)
{%- endmacro -%}

{#- CTEs `messages` and `reading`: e-mails that tools report of. What we handed over ourselves is not yet a message. -#}
{%- macro message_measures() -%}
mails as (
    select
        *,
        coalesce(opened_at, clicked_at) as read_at
    from {{ client_facts('fct_communications') }} as facts
    where
        source <> 'perennial'
        and coalesce(lower(channel), 'email') = 'email'
        and bounced_at is null
        and sent_on <= {{ as_of() }}
        and sent_on > {{ as_of() }} - 365
),

messages as (
    select
        client_id,
        count(*) as messages_received_90d,
        count(read_at) as messages_opened_90d,
        count(clicked_at) as messages_clicked_90d
    from mails
    where sent_on > {{ as_of() }} - 90
    group by client_id
),

{{ usual_hour('reading', 'mails', 'read_at', 'sent_on', 'read_at is not null') }}
{%- endmacro -%}

{#- CTE of a part: the hour of the business day in which the moment lies most often in 365 days, the earlier of equals. -#}
{%- macro usual_hour(part, relation, moment, day, condition) -%}
{{ part }}_hours as (
    select
        client_id,
        {{ business_hour(moment) }} as hour,
        count(*) as times
    from {{ relation }} as facts
    where
        {{ condition }} and client_id is not null
        and {{ day }} > {{ as_of() }} - 365 and {{ day }} <= {{ as_of() }}
    group by client_id, {{ business_hour(moment) }}
),

{{ part }} as (
    select
        client_id,
        cast(23 - mod(max(times * 24 + 23 - hour), 24) as bigint) as usual_{{ part }}_hour
    from {{ part }}_hours
    group by client_id
)
{%- endmacro -%}
