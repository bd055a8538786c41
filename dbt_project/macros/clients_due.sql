{#- Which clients have to be measured again although nothing of theirs changed: something crossed an age at which it
    leaves or enters a window of client_measures (order_edges), or a stage (lifecycle_edges). -#}

{#- {model of facts: {its column of dates: ages in days at which a row begins or ceases to count}}. Age 0 is the day of
    the row itself: what is dated after the last build is seen for the first time, a cancellation too. What we ourselves
    hand over on a day is seen from the next day on: it crosses age 1. The orders' hours and departments have the days
    of int_client_days; the lines that stores are counted by may be of later days than their orders. -#}
{%- macro measured_edges() -%}
    {{ return({
        'int_client_days': {'ordered_on': [0] + order_edges() + lifecycle_edges(), 'voided_on': [0]},
        'int_client_department_days': {'voided_on': [0]},
        'int_client_store_days': {'ordered_on': [0, 180], 'voided_on': [0]},
        'dim_clients': {'signed_up_on': [0]},
        'fct_campaign_contacts': {'contacted_on': [0, 1, 90]},
        'fct_redemptions': {'redeemed_on': [0, 365]},
        'fct_interactions': {'happened_on': [0, 90]},
        'fct_communications': {'sent_on': [0, 1, 90, 365]},
        'fct_touches': {'touched_on': [0]},
    }) }}
{%- endmacro -%}

{#- Whether the date in the column passed one of the ages between the last complete build and the business date. -#}
{%- macro moved(column, ages) -%}
    {%- for age in ages | unique | sort %}
        ({{ column }} > {{ date_literal(var('previous_as_of')) }} - {{ age }} and {{ column }} <= {{ as_of() }} - {{ age }})
        {{- ' or' if not loop.last }}
    {%- endfor -%}
{%- endmacro -%}

{#- The clients of whom a row of facts crossed an age, each once. -#}
{%- macro clients_moved() -%}
    {%- for name, edges in measured_edges().items() %}
    select client_id from {{ ref(name) }}
    where client_id is not null and (
        {%- for column, ages in edges.items() %}{{ moved(column, ages) }}{{ ' or' if not loop.last }}{% endfor %}
    )
    {{- '\n    union' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}

{#- Who a visitor was before she is known as a client: opaque, as client ids are. -#}
{%- macro visitor_id() -%}
    substr(md5(_source || '|' || visitor_key), 1, 16)
{%- endmacro -%}
