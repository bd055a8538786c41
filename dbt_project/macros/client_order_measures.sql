{#- The first part of client_measures, and the small macros that all parts are made of. Every part gives CTEs keyed
    (client_id, as_of_date) and stands on the CTE `dates`. -#}

{#- A sum over the trailing days; `skip` moves the window that many days back. -#}
{%- macro trailing(measure, days, skip=0) -%}
    coalesce(sum({{ measure }}) filter (
        where {{ 'age_days >= ' ~ skip ~ ' and ' if skip }}age_days < {{ days + skip }}), 0)
{%- endmacro -%}

{#- Whether what is in the row had not been cancelled by the date. -#}
{%- macro stands_on_date(alias) -%}
    ({{ alias }}.voided_on is null or {{ alias }}.voided_on > dates.as_of_date)
{%- endmacro -%}

{#- (a - b) / b: -0.5 is half of before; null when there was nothing before. -#}
{%- macro change(a, b) -%}
    case when {{ b }} > 0 then {{ ratio(a ~ ' - ' ~ b, b) }} end
{%- endmacro -%}

{#- CTE `orders`: windows of orders and revenue, and the shares and averages made of them. -#}
{%- macro order_measures() -%}
client_days as (
    select
        facts.*,
        dates.as_of_date,
        dates.as_of_date - facts.ordered_on as age_days,
        case when {{ stands_on_date('facts') }} then facts.orders else 0 end as standing_orders,
        case when {{ stands_on_date('facts') }} then facts.sale_lines else 0 end as standing_lines,
        extract(isodow from facts.ordered_on) >= 6 as is_weekend
    from {{ ref('int_client_days') }} as facts
    inner join dates on facts.ordered_on <= dates.as_of_date
),

order_sums as (
    select
        client_id,
        as_of_date,
        min(ordered_on) filter (where standing_orders > 0) as first_order_on,
        max(ordered_on) filter (where standing_orders > 0) as last_order_on,
        {%- for days in measure_windows() %}
        cast({{ trailing('standing_orders', days) }} as bigint) as orders_{{ days }}d,
        cast({{ trailing('revenue', days) }} as decimal(18, 4)) as revenue_{{ days }}d,
        {%- endfor %}
        cast(sum(standing_orders) as bigint) as orders_total,
        cast(sum(revenue) as decimal(18, 4)) as revenue_total,
        cast({{ trailing('units', 90) }} as decimal(18, 4)) as units_90d,
        {{ trailing('standing_orders', 28, skip=28) }} as orders_before_28d,
        {{ trailing('standing_orders', 90, skip=90) }} as orders_before_90d,
        {{ trailing('standing_orders', 91, skip=91) }} as orders_before_91d,
        {{ trailing('revenue', 90, skip=90) }} as revenue_before_90d,
        {{ trailing('standing_lines', 365) }} as lines_365d,
        {{ trailing('sold_amount', 365) }} as sold_amount_365d,
        {{ trailing('discount', 365) }} as discount_365d,
        cast({{ trailing('returned_amount', 365) }} as decimal(18, 4)) as returned_amount_365d,
        {{ trailing('case when is_weekend then standing_orders else 0 end', 180) }} as weekend_orders_180d
    from client_days
    group by client_id, as_of_date
),

orders as (
    select
        *,
        {{ ratio('revenue_365d', 'orders_365d') }} as average_order_365d,
        {{ ratio('lines_365d', 'orders_365d') }} as lines_per_order_365d,
        {{ ratio('discount_365d', 'sold_amount_365d + discount_365d') }} as discount_share_365d,
        {{ ratio('returned_amount_365d', 'sold_amount_365d') }} as returned_share_365d,
        {{ ratio('weekend_orders_180d', 'orders_180d') }} as weekend_share_180d,
        {{ change('orders_90d', 'orders_before_90d') }} as orders_trend_90d,
        {{ change('revenue_90d', 'revenue_before_90d') }} as revenue_change_90d,
        {%- for days in [28, 91] %}
        {{ ratio('orders_%sd - orders_before_%sd' % (days, days), 'orders_%sd + orders_before_%sd' % (days, days)) }}
            as orders_momentum_{{ days }}d{{ ',' if not loop.last }}
        {%- endfor %}
    from order_sums
)
{%- endmacro -%}
