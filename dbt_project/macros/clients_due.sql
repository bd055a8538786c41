{#- Which clients have to be measured again although nothing of theirs changed: something crossed an age at which it
    leaves or enters a window of client_measures (order_edges), or a stage (lifecycle_edges). -#}

{#- (model of facts, its column of dates, ages in days at which a row begins or ceases to count). Age 0 is the day of the
    row itself: what is dated after the last build is seen for the first time. -#}
{%- macro measured_edges() -%}
    {{ return([
        ('int_client_days', 'ordered_on', [0] + order_edges() + lifecycle_edges()),
        ('dim_clients', 'signed_up_on', [0]),
        ('fct_campaign_contacts', 'contacted_on', [0, 1, 90]),
        ('fct_redemptions', 'redeemed_on', [0, 365]),
    ]) }}
{%- endmacro -%}

{#- Whether the date in the column passed one of the ages between the last complete build and the business date. What we
    ourselves hand over on a day is seen from the next day on (fct_campaign_contacts): it crosses age 1. -#}
{%- macro moved(column, ages) -%}
    {%- set previous = var('previous_as_of', none) -%}
    {%- if previous is none -%}
        false
    {%- else -%}
        {%- for age in ages | unique | sort %}
        ({{ column }} > {{ date_literal(previous) }} - {{ age }} and {{ column }} <= {{ as_of() }} - {{ age }})
        {{- ' or' if not loop.last }}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}

{#- The clients of whom a row of facts crossed an age, each once. -#}
{%- macro clients_moved() -%}
    {%- for model, column, ages in measured_edges() %}
    select client_id
    from {{ ref(model) }}
    where client_id is not null and ({{ moved(column, ages) }})
    {{- '\n    union' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}
