{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_clients_due': {'client_id': 'client_id'}}},
) }}
with

days as (
    select
        *,
        {{ as_of() }} - ordered_on as age_days,
        case when voided_on is null then orders else 0 end as standing_orders
    from {{ ref('int_client_department_days') }}
    where ordered_on <= {{ as_of() }} and {{ in_changed('int_clients_due', {'client_id': 'client_id'}) }}
),

sums as (
    select
        client_id,
        department as product_line,
        {%- for window in line_windows() %}
        {{ trailing('standing_orders', window) }} as orders_{{ window }}d,
        {{ trailing('revenue', window) }} as revenue_{{ window }}d,
        {%- endfor %}
        sum(standing_orders) as orders_total,
        sum(revenue) as revenue_total
    from days
    group by client_id, department
    having sum(standing_orders) > 0
),

order_days as (
    select
        client_id,
        department as product_line,
        ordered_on,
        max(case when term_days between 0 and {{ longest_term_days() }} then term_days end) as term_days,
        cast(
            ordered_on - lag(ordered_on) over (partition by client_id, department order by ordered_on) as bigint
        ) as gap_days
    from days
    where standing_orders > 0
    group by client_id, department, ordered_on
),

rhythm as (
    select
        client_id,
        product_line,
        count(*) as order_days,
        count(gap_days) as gaps,
        min(ordered_on) as first_bought_on,
        max(ordered_on) as last_bought_on,
        cast(sum(gap_days) as double precision) as gap_sum,
        cast(sum(gap_days * gap_days) as double precision) as gap_squares,
        percentile_cont(0.5) within group (order by gap_days) as usual_gap_days,
        max(ordered_on + cast(term_days as integer)) as term_ends_on
    from order_days
    group by client_id, product_line
),

spread as (
    select
        *,
        gap_sum / nullif(gaps, 0) as gap_mean,
        case
            when gaps >= 2 then sqrt(greatest(gap_squares - gap_sum * gap_sum / gaps, 0) / (gaps - 1))
        end as gap_sd
    from rhythm
),

final as (
    select
        sums.client_id,
        sums.product_line,
        {%- for window in line_windows() %}
        cast(sums.orders_{{ window }}d as bigint) as orders_{{ window }}d,
        {%- endfor %}
        cast(sums.orders_total as bigint) as orders_total,
        {%- for window in line_windows() %}
        {{ amount_of('sums.revenue_%sd' % window) }} as revenue_{{ window }}d,
        {%- endfor %}
        {{ amount_of('sums.revenue_total') }} as revenue_total,
        {{ ratio(
            'greatest(sums.revenue_365d, 0)',
            'sum(greatest(sums.revenue_365d, 0)) over (partition by sums.client_id)'
        ) }} as share_of_client_365d,
        spread.first_bought_on,
        spread.last_bought_on,
        cast(spread.order_days as bigint) as order_days_total,
        spread.usual_gap_days,
        spread.gap_sd as gap_days_sd,
        {{ cyclicality('spread.order_days', 'spread.gap_mean', 'spread.gap_sd') }} as cyclicality_class,
        case
            when spread.term_ends_on is not null then spread.term_ends_on
            when spread.order_days >= 3 then spread.last_bought_on + cast(ceil(spread.usual_gap_days) as integer)
        end as next_due_on,
        case
            when spread.term_ends_on is not null then 'term'
            when spread.order_days >= 3 then 'usual_gap'
        end as due_by,
        {{ currency() }} as currency
    from sums
    inner join spread on sums.client_id = spread.client_id and sums.product_line = spread.product_line
)

select * from final
