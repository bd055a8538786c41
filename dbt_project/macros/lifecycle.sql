{#- The eight stages of a client, defined here alone: a function of the client's orders up to a day and of the churn
    horizon H (var churn_horizon_days), so that the stage of any past day follows from the facts, with nothing from
    after it. An order counts from its business day until it is cancelled (voided_on), as in client_measures.
    docs/warehouse.md, "Lifecycle", has the table of stages. The stage as of the business date, for client_metrics, is
    the row of client_lifecycle_events without left_on: lifecycle_stage = coalesce(stage, 'lead'), stage_entered_on =
    changed_on, days_in_stage = as_of - changed_on (a client who was never dated has no row). -#}

{#- The stage of a day from counts of orders that stand on it; the first line that holds decides. in_h, in_3h, in_90d:
    younger than H, 3 H, 90 days (age 0 to N - 1); before_90d: 90 to 179 days old; returns: order days younger than H
    that came after more than 3 H days without an order, that is, to a client who was lost the day before. Growth and
    decline are looked at only where the client was there for the whole of both windows. -#}
{%- macro lifecycle_stage() -%}
    {%- set percent, least_orders = var('stage_change_percent') | int, var('stage_change_orders') | int -%}
    case
        when orders_total = 0 then 'lead'
        when orders_in_3h = 0 then 'lost'
        when orders_in_h = 0 then 'at_risk'
        when orders_in_h = orders_total then 'new'
        when returns > 0 then 'won_back'
        when orders_total = orders_in_90d + orders_before_90d or orders_before_90d = 0 then 'active'
        when
            orders_in_90d - orders_before_90d >= {{ least_orders }}
            and 100 * orders_in_90d >= (100 + {{ percent }}) * orders_before_90d
            then 'growing'
        when
            orders_before_90d - orders_in_90d >= {{ least_orders }}
            and 100 * orders_in_90d <= (100 - {{ percent }}) * orders_before_90d
            then 'cooling'
        else 'active'
    end
{%- endmacro -%}

{#- The stages, in the order in which a client usually passes them. -#}
{%- macro lifecycle_stages() -%}
    {{ return(['lead', 'new', 'active', 'growing', 'cooling', 'at_risk', 'lost', 'won_back']) }}
{%- endmacro -%}

{#- The ages of an order, in days, at which the stage of its client can change: what int_clients_due looks for. -#}
{%- macro lifecycle_edges() -%}
    {%- set horizon = days_var('churn_horizon_days') -%}
    {{ return([horizon, 3 * horizon, 90, 180] | unique | sort) }}
{%- endmacro -%}

{#- The day that never comes: until then stands what nobody cancelled. -#}
{%- macro far_day() -%}
    cast('9999-12-31' as date)
{%- endmacro -%}

{#- A stage as a digit, and back from the last digit of a number. -#}
{%- macro stage_code(stage) -%}
    case {{ stage }}{% for name in lifecycle_stages() %} when '{{ name }}' then {{ loop.index }}{% endfor %} end
{%- endmacro -%}

{%- macro stage_of(number) -%}
    case mod({{ number }}, 10){% for name in lifecycle_stages() %} when {{ loop.index }} then '{{ name }}'{% endfor %} end
{%- endmacro -%}
