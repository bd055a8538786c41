{#- The first part of client_measures, and the small macros that all parts are made of. Every part gives CTEs keyed
    (client_id, as_of_date) and stands on the CTE `dates`. -#}

{#- A sum over the trailing days; `skip` moves the window that many days back. A case is cheaper than a filter. -#}
{%- macro trailing(measure, days, skip=0) -%}
    sum(case when {{ 'age_days >= ' ~ skip ~ ' and ' if skip }}age_days < {{ days + skip }} then {{ measure }} else 0 end)
{%- endmacro -%}

{#- Whether what is in the row had not been cancelled by the date. -#}
{%- macro stands_on_date(alias) -%}
    ({{ alias }}.voided_on is null or {{ alias }}.voided_on > dates.as_of_date)
{%- endmacro -%}

{#- A sum as an amount. Sums are of 38 digits inside; one that no decimal(18,4) can hold stands as the largest that can,
    and the tests that compare it with its orders tell of it: no model stops in an overflow. Nothing stays nothing, which
    least and greatest alone would make the smallest amount. -#}
{%- macro amount_of(sum) -%}
    cast(
        case when {{ sum }} is not null then least(greatest({{ sum }}, -99999999999999.9999), 99999999999999.9999) end
        as decimal(18, 4)
    )
{%- endmacro -%}

{#- What is summed per client over every window, the window before it, and life: (name, column of client_days). -#}
{%- macro summed() -%}
    {{ return({
        'orders': 'standing_orders', 'revenue': 'revenue', 'margin': 'margin', 'units': 'units',
        'sold_amount': 'sold_amount', 'discount': 'discount', 'returned_amount': 'returned_amount',
    }) }}
{%- endmacro -%}

{#- CTE `client_days`: what each client did on each day up to the date, and whether it stood on the date. `since` leaves
    out what is that old. -#}
{%- macro client_days_up_to_dates(facts, since=none) -%}
    select
        facts.*,
        dates.as_of_date,
        dates.as_of_date - facts.ordered_on as age_days,
        case when {{ stands_on_date('facts') }} then facts.orders else 0 end as standing_orders,
        case when {{ stands_on_date('facts') }} then facts.sale_lines else 0 end as standing_lines
    from {{ facts }} as facts
    inner join dates on facts.ordered_on <= dates.as_of_date
    {%- if since %} and facts.ordered_on > dates.as_of_date - {{ since }}{% endif %}
{%- endmacro -%}

{#- CTE `orders`: sums of orders and money over the windows. Sums up to an age are taken once, and the window before is
    the difference of two. -#}
{%- macro order_measures() -%}
client_days as (
    {{ client_days_up_to_dates(client_facts('int_client_days')) }}
),

order_sums as (
    select
        client_id,
        as_of_date,
        min(case when standing_orders > 0 then ordered_on end) as first_order_on,
        max(case when standing_orders > 0 then ordered_on end) as last_order_on,
        {%- for name, column in summed().items() %}
        {%- for age in order_edges() %}
        {{ trailing(column, age) }} as {{ name }}_up_to_{{ age }},
        {%- endfor %}
        sum({{ column }}) as {{ name }}_total,
        {%- endfor %}
        {{ trailing('standing_lines', 365) }} as lines_365d,
        {{ trailing('case when extract(isodow from ordered_on) >= 6 then standing_orders else 0 end', 180) }}
            as weekend_orders_180d
    from client_days
    group by client_id, as_of_date
),

orders as (
    select
        client_id,
        as_of_date,
        first_order_on,
        last_order_on,
        {%- for name in summed() %}
        {%- for days in metric_windows() %}
        {%- set within, twice = '%s_up_to_%s' % (name, days), '%s_up_to_%s' % (name, 2 * days) %}
        {{ number_of(name, within) }} as {{ name }}_{{ days }}d,
        {{ number_of(name, twice ~ ' - ' ~ within) }} as {{ name }}_before_{{ days }}d,
        {%- endfor %}
        {{ number_of(name, name ~ '_total') }} as {{ name }}_total,
        {%- endfor %}
        cast(lines_365d as bigint) as lines_365d,
        cast(weekend_orders_180d as bigint) as weekend_orders_180d
    from order_sums
)
{%- endmacro -%}

{#- A sum in the type of its name: orders are counted, everything else is an amount. -#}
{%- macro number_of(name, sum) -%}
    {{ 'cast(%s as bigint)' % sum if name == 'orders' else amount_of(sum) }}
{%- endmacro -%}

{#- CTE `recent`: the windows that only models see, from the days that they reach back to alone, so that nobody has to be
    recomputed because an order left one of them. Live for every date. -#}
{%- macro recent_measures() -%}
{%- set reach = (further_windows() + [182]) | max -%}
recent_days as (
    {{ client_days_up_to_dates(ref('int_client_days'), since=reach) }}
),

recent as (
    select
        client_id,
        as_of_date,
        {%- for days in further_windows() %}
        cast({{ trailing('standing_orders', days) }} as bigint) as orders_{{ days }}d,
        {{ amount_of(trailing('revenue', days)) }} as revenue_{{ days }}d,
        {%- endfor %}
        {%- for days in [28, 91] %}
        cast({{ trailing('standing_orders', days) }} as bigint) as momentum_orders_{{ days }}d,
        cast({{ trailing('standing_orders', days, skip=days) }} as bigint) as momentum_before_{{ days }}d
        {{- ',' if not loop.last }}
        {%- endfor %}
    from recent_days
    group by client_id, as_of_date
)
{%- endmacro -%}
