{#- What client_rates makes of the sums of `client_measures`: ages on the date, averages, shares, changes. One definition
    for client_metrics and client_features (L3). -#}

{#- a / b - 1: -0.5 is half of before; null when there was nothing before, or less than nothing. -#}
{%- macro change(a, b) -%}
    case when {{ b }} > 0 then cast({{ a }} as double precision) / cast({{ b }} as double precision) - 1 end
{%- endmacro -%}

{#- The sums of money of a window or of life as a double, for shares: two decimals of 18 digits may not add up to one. -#}
{%- macro added(a, b) -%}
    cast({{ a }} as double precision) + cast({{ b }} as double precision)
{%- endmacro -%}

{#- Averages and shares of a window or of life: `span` is `30d`, `before_30d` or `total`. -#}
{%- macro rates_of(span) -%}
        {{ ratio('revenue_' ~ span, 'orders_' ~ span) }} as average_order_{{ span }},
        {{ ratio('discount_' ~ span, added('sold_amount_' ~ span, 'discount_' ~ span)) }} as discount_share_{{ span }},
        {{ ratio('returned_amount_' ~ span, 'sold_amount_' ~ span) }} as returned_share_{{ span }}
{%- endmacro -%}

{#- CTE `measures`: the rows of the relation (client_id, as_of_date, sums), and what follows from them. -#}
{%- macro client_rates(relation) -%}
rated as (
    select
        *,
        {%- for days in metric_windows() %}
        {{ rates_of(days ~ 'd') }},
        {%- endfor %}
        {{ rates_of('total') }}
    from {{ relation }}
),

measures as (
    select
        *,
        cast(as_of_date - last_order_on as bigint) as recency_days,
        cast(as_of_date - first_order_on as bigint) as days_since_first_order,
        cast(as_of_date - least(signed_up_on, first_order_on) as bigint) as tenure_days,
        {{ ratio('lines_365d', 'orders_365d') }} as lines_per_order_365d,
        {{ ratio('weekend_orders_180d', 'orders_180d') }} as weekend_share_180d,
        {{ ratio('as_of_date - last_order_on', 'gap_days_median') }} as recency_over_gap,
        {%- for days in metric_windows() %}
        {{ change('revenue_%sd' % days, 'revenue_before_%sd' % days) }} as revenue_change_{{ days }}d,
        {%- endfor %}
        {{ change('orders_90d', 'orders_before_90d') }} as orders_trend_90d
    from rated
)
{%- endmacro -%}
