{#- What follows from the sums of `client_measures`, one definition for client_metrics and client_features (L3). Averages,
    shares and changes move only when a sum does, so int_client_measures keeps them; ages move every day. -#}

{#- a / b - 1: -0.5 is half of before; null when there was nothing before, or less than nothing. -#}
{%- macro change(a, b) -%}
    case when {{ b }} > 0 then cast({{ a }} as double precision) / cast({{ b }} as double precision) - 1 end
{%- endmacro -%}

{#- The sum of two amounts as a double, for shares: of two of 18 digits the sum may have 19. -#}
{%- macro added(a, b) -%}
    (cast({{ a }} as double precision) + cast({{ b }} as double precision))
{%- endmacro -%}

{#- {column: SQL over the sums}. -#}
{%- macro rates() -%}
    {%- set rates = {
        'lines_per_order_365d': ratio('lines_365d', 'orders_365d'),
        'weekend_share_180d': ratio('weekend_orders_180d', 'orders_180d'),
    } -%}
    {%- for span in window_spans() + ['total'] -%}
        {%- set sold, discount = 'sold_amount_' ~ span, 'discount_' ~ span -%}
        {%- do rates.update({
            'average_order_' ~ span: average_of('revenue_' ~ span, 'orders_' ~ span),
            'discount_share_' ~ span: ratio(discount, added(sold, discount)),
            'returned_share_' ~ span: ratio('returned_amount_' ~ span, sold),
        }) -%}
    {%- endfor -%}
    {%- for span in window_spans() -%}
        {%- for name in summed() if name not in ['orders', 'sold_amount'] -%}
            {%- do rates.update({
                name ~ '_change_' ~ span: change(name ~ '_' ~ span, name ~ '_before_' ~ span),
            }) -%}
        {%- endfor -%}
        {%- set average, before = ratio('revenue_' ~ span, 'orders_' ~ span), ratio('revenue_before_' ~ span, 'orders_before_' ~ span) -%}
        {%- do rates.update({
            'average_order_change_' ~ span: change(average, before),
            'orders_trend_' ~ span: change('orders_' ~ span, 'orders_before_' ~ span),
        }) -%}
    {%- endfor -%}
    {{ return(rates) }}
{%- endmacro -%}

{#- How the columns of the windows end: 30d, 90d, ... -#}
{%- macro window_spans() -%}
    {%- set spans = [] -%}
    {%- for days in metric_windows() %}{% do spans.append(days ~ 'd') %}{% endfor -%}
    {{ return(spans) }}
{%- endmacro -%}

{#- CTE `rated`: the sums, and the rates made of them. -#}
{%- macro client_rates() -%}
rated as (
    select
        *,
        {%- for column, sql in rates().items() %}
        {{ sql }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from sums
)
{%- endmacro -%}

{#- CTE `measures`: the rows of a relation (client_id, as_of_date, sums, rates) with the ages on their date. -#}
{%- macro client_ages(relation) -%}
measures as (
    select
        *,
        cast(as_of_date - last_order_on as bigint) as recency_days,
        cast(as_of_date - first_order_on as bigint) as days_since_first_order,
        cast(as_of_date - least(signed_up_on, first_order_on) as bigint) as tenure_days,
        {{ ratio('as_of_date - last_order_on', 'gap_days_median') }} as recency_over_gap
    from {{ relation }}
)
{%- endmacro -%}

{#- How a client buys. regular: at least four order days whose gaps differ by less than 60 % of their mean (their
    coefficient of variation); rare: one order day, or more than 180 days between two on average; occasional: the rest;
    null without an order. -#}
{%- macro cyclicality(order_days, gap_mean, gap_sd) -%}
    case
        when {{ order_days }} = 0 then null
        when {{ order_days }} >= 4 and {{ gap_sd }} <= 0.6 * {{ gap_mean }} then 'regular'
        when {{ order_days }} = 1 or {{ gap_mean }} > 180 then 'rare'
        else 'occasional'
    end
{%- endmacro -%}

{#- The day on which the next order is due by the usual gap; to be asked of clients with three order days or more. -#}
{%- macro next_due_on(alias) -%}
    {{ alias }}.last_order_on + cast(ceil({{ alias }}.gap_days_median) as integer)
{%- endmacro -%}

{#- The class of an answer from 0 to 10 to "would you recommend us". -#}
{%- macro nps_class(score) -%}
    case when {{ score }} >= 9 then 'promoter' when {{ score }} >= 7 then 'passive' when {{ score }} >= 0 then 'detractor' end
{%- endmacro -%}

{#- The first day of the month of the first order: the cohort. -#}
{%- macro cohort_month(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro -%}

{#- The columns of money of client_metrics: what is summed over every window and life, its averages, shares, changes. -#}
{%- macro money_columns() -%}
    {%- set columns = [] -%}
    {%- for span in window_spans() + ['total'] -%}
        {%- for name in summed() if name != 'sold_amount' %}{% do columns.append(name ~ '_' ~ span) %}{% endfor -%}
    {%- endfor -%}
    {{ return(columns + (rates() | list)) }}
{%- endmacro -%}
