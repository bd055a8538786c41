{#- What is measured per client as of a date, defined once for int_client_measures (the business date, which
    client_metrics and the day's client_features read) and for client_features of past dates, so that people, segments,
    training and scoring read the same numbers (L3). A window of N days is (as_of_date - N, as_of_date]. Nothing after
    as_of_date is read; an order that was cancelled later still counts on the dates before its cancellation.

    Two steps. `client_measures` sums the facts: only what does not move with the calendar by itself, dates instead of
    ages, so that a day recomputes only the clients for whom something changed or left a window (int_clients_due).
    `client_rates` (client_rates.sql) makes ages, averages, shares and changes of those sums, a row at a time. -#}

{#- The trailing windows of people's metrics, in days. -#}
{%- macro metric_windows() -%}
    {{ return(var('metric_windows') | map('int') | unique | sort) }}
{%- endmacro -%}

{#- The windows that only models see. -#}
{%- macro further_windows() -%}
    {{ return(var('feature_windows') | map('int') | unique | sort | reject('in', metric_windows()) | list) }}
{%- endmacro -%}

{#- All trailing windows in days, of people's metrics and of features. -#}
{%- macro measure_windows() -%}
    {{ return((metric_windows() + further_windows()) | sort) }}
{%- endmacro -%}

{#- The ages, in days, at which something leaves a window of `client_measures`, or enters the window before it. A new
    window belongs here too: int_clients_due looks for the clients whose facts crossed one of these ages. -#}
{%- macro order_edges() -%}
    {%- set edges = metric_windows() + [180, 365] -%}
    {%- for days in metric_windows() %}{% do edges.append(2 * days) %}{% endfor -%}
    {{ return(edges | unique | sort) }}
{%- endmacro -%}

{#- The rows of a model of facts: of every client, or, where int_client_measures follows what changed, of those that are
    due. -#}
{%- macro client_facts(name) -%}
    {%- set due = in_changed('int_clients_due', {'client_id': 'client_id'}) -%}
    {%- if model.name == 'int_client_measures' and is_change() -%}
        (select * from {{ ref(name) }} where {{ due }})
    {%- else -%}
        {{ ref(name) }}
    {%- endif -%}
{%- endmacro -%}

{#- CTEs that end in `sums`: one row per client of dim_clients and date of the list. -#}
{%- macro client_measures(dates) -%}
dates as ({{ date_rows(dates) }}
),

known as (
    select
        clients.client_id,
        dates.as_of_date,
        case when clients.signed_up_on <= dates.as_of_date then clients.signed_up_on end as signed_up_on
    from {{ client_facts('dim_clients') }} as clients
    cross join dates
),

{{ order_measures() }},

{{ gap_measures() }},

{{ variety_measures() }},

{{ contact_measures() }},

sums as (
    select
        known.client_id,
        known.as_of_date,
        known.signed_up_on,
        {{- columns_of_parts(measured_parts()) }}
    from known
    {{- joined_parts(measured_parts(), 'known', ['client_id', 'as_of_date']) }}
)
{%- endmacro -%}

{#- What each part of client_measures gives: {part: {column: what stands for it where the part has no row}}. -#}
{%- macro measured_parts() -%}
    {%- set orders = {'first_order_on': none, 'last_order_on': none, 'lines_365d': 0, 'weekend_orders_180d': 0} -%}
    {%- for name in summed() -%}
        {%- for days in metric_windows() -%}
            {%- do orders.update({name ~ '_' ~ days ~ 'd': 0, name ~ '_before_' ~ days ~ 'd': 0}) -%}
        {%- endfor -%}
        {%- do orders.update({name ~ '_total': 0}) -%}
    {%- endfor -%}
    {{ return({
        'orders': orders,
        'gaps': {
            'order_days_total': 0, 'gap_days_mean': none, 'gap_days_median': none, 'gap_days_sd': none,
            'gap_days_trend': none, 'last_gap_days': none,
        },
        'departments': {
            'lines_bought_365d': 0, 'departments_180d': 0, 'top_department_share_180d': none,
            'main_department_365d': none, 'left_departments_365d': 0, 'left_department_share_365d': none,
            'left_department_365d': none,
        },
        'stores': {'stores_180d': 0},
        'contacts': {
            'campaign_contacts_90d': 0, 'campaign_contacts_total': 0, 'last_campaign_contact_on': none,
        },
        'redemptions': {'redemptions_365d': 0, 'redemptions_total': 0, 'last_redemption_on': none},
    }) }}
{%- endmacro -%}

{#- Joins of parts to a relation, by their keys. -#}
{%- macro joined_parts(parts, relation, keys) -%}
    {%- for part in parts %}
    left join {{ part }} on
        {%- for key in keys %} {{ relation }}.{{ key }} = {{ part }}.{{ key }}{{ ' and' if not loop.last }}{% endfor -%}
    {%- endfor -%}
{%- endmacro -%}

{#- The columns of parts as a select list. -#}
{%- macro columns_of_parts(parts) -%}
    {%- for part, columns in parts.items() %}
        {%- for column, absent in columns.items() %}
        {%- set name = part ~ '.' ~ column %}
        {{ name if absent is none else 'coalesce(%s, %s) as %s' % (name, absent, column) }}{{ ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro -%}

{#- The columns of `rated` but for its keys. -#}
{%- macro rated_columns() -%}
    {%- set columns = ['signed_up_on'] -%}
    {%- for part in measured_parts().values() %}{% do columns.extend(part) %}{% endfor -%}
    {{ return(columns + (rates() | list)) }}
{%- endmacro -%}
