{#- The other parts of client_measures: rhythm, variety, and what marketing did. Keyed (client_id, as_of_date). -#}

{#- CTE `gaps`: days between consecutive order days. Mean, deviation and trend are made of exact sums, for an average
    that adds doubles in the order of threads differs in its last digit from run to run (L2). The trend is the slope of
    the line through the gaps in their order: the sum of each gap times its number, which it needs, is
    gaps * last day - sum of all days but the last, so it needs no numbering. -#}
{%- macro gap_measures() -%}
order_days as (
    select
        client_id,
        as_of_date,
        ordered_on - cast('1970-01-01' as date) as day,
        cast(
            ordered_on - lag(ordered_on) over (partition by client_id, as_of_date order by ordered_on) as bigint
        ) as gap_days
    from client_days
    where standing_orders > 0
    group by client_id, as_of_date, ordered_on
),

gap_sums as (
    select
        client_id,
        as_of_date,
        count(*) as order_days_total,
        count(gap_days) as gaps,
        max(day) as last_day,
        cast(sum(day) as bigint) as days_sum,
        cast(max(day) - min(day) as double precision) as gap_days_sum,
        cast(sum(gap_days * gap_days) as double precision) as gap_days_squares,
        percentile_cont(0.5) within group (order by gap_days) as gap_days_median,
        mod(max(cast(day as bigint) * 100000 + gap_days), 100000) as last_gap_days
    from order_days
    group by client_id, as_of_date
),

gaps as (
    select
        *,
        gap_days_sum / nullif(gaps, 0) as gap_days_mean,
        case
            when gaps >= 2
                then sqrt(greatest(gap_days_squares - gap_days_sum * gap_days_sum / gaps, 0) / (gaps - 1))
        end as gap_days_sd,
        case
            when gaps >= 3
                then
                    (12 * cast((gaps + 1) * last_day - days_sum as double precision) - 6 * (gaps + 1) * gap_days_sum)
                    / cast(gaps * (gaps * gaps - 1) as double precision)
        end as gap_days_trend
    from gap_sums
)
{%- endmacro -%}

{#- CTEs `departments` and `stores`: how many the client bought from or in, and which department weighs the most. -#}
{%- macro variety_measures() -%}
client_departments_365d as (
    select
        facts.client_id,
        dates.as_of_date,
        facts.department,
        sum(facts.revenue) as revenue_365d,
        max(case when facts.orders > 0 and {{ stands_on_date('facts') }} then 1 else 0 end) as is_bought_365d,
        sum(
            case when facts.ordered_on > dates.as_of_date - 180 and facts.orders > 0 and {{ stands_on_date('facts') }}
                then facts.revenue
            end
        ) as bought_180d,
        min(case when facts.orders > 0 and {{ stands_on_date('facts') }} then facts.ordered_on end) as first_on,
        max(case when facts.orders > 0 and {{ stands_on_date('facts') }} then facts.ordered_on end) as last_on,
        sum(case when {{ stands_on_date('facts') }} then facts.orders else 0 end) as purchases
    from {{ client_facts('int_client_department_days') }} as facts
    inner join dates on facts.ordered_on <= dates.as_of_date and facts.ordered_on > dates.as_of_date - 365
    group by facts.client_id, dates.as_of_date, facts.department
),

-- Left: bought from in three orders or more, on several days, and since the last of them the client has been ordering
-- elsewhere for four weeks at least and for more than twice the mean time between them. Orders are counted and not their
-- days: that would cost as much again as all the rest of this statement.
client_departments_left as (
    select
        bought.*,
        coalesce(
            bought.purchases >= 3
            and bought.last_on > bought.first_on
            and orders.last_order_on - bought.last_on >= 28
            and (orders.last_order_on - bought.last_on) * (bought.purchases - 1)
            > 2 * (bought.last_on - bought.first_on),
            false
        ) as is_left
    from client_departments_365d as bought
    inner join orders on bought.client_id = orders.client_id and bought.as_of_date = orders.as_of_date
),

departments as (
    select
        client_id,
        as_of_date,
        cast(sum(is_bought_365d) as bigint) as lines_bought_365d,
        count(bought_180d) as departments_180d,
        {{ ratio('max(greatest(bought_180d, 0))', 'sum(greatest(bought_180d, 0))') }} as top_department_share_180d,
        {{ largest('department', 'revenue_365d', 'revenue_365d > 0') }} as main_department_365d,
        count(case when is_left then 1 end) as left_departments_365d,
        {{ ratio('sum(case when is_left then greatest(revenue_365d, 0) else 0 end)',
                 'sum(greatest(revenue_365d, 0))') }} as left_department_share_365d,
        {{ largest('department', 'revenue_365d', 'is_left and revenue_365d > 0') }} as left_department_365d
    from client_departments_left
    group by client_id, as_of_date
),

stores as (
    select
        facts.client_id,
        dates.as_of_date,
        count(distinct facts.store_key) as stores_180d
    from {{ client_facts('int_client_store_days') }} as facts
    inner join dates on facts.ordered_on <= dates.as_of_date and facts.ordered_on > dates.as_of_date - 180
    where {{ stands_on_date('facts') }}
    group by facts.client_id, dates.as_of_date
)
{%- endmacro -%}

{#- CTEs `contacts` and `redemptions`: what marketing did before, and what the client made of it. -#}
{%- macro contact_measures() -%}
contacts as (
    select
        facts.client_id,
        dates.as_of_date,
        count(*) as campaign_contacts_total,
        count(*) filter (where facts.contacted_on > dates.as_of_date - 90) as campaign_contacts_90d,
        max(facts.contacted_on) as last_campaign_contact_on
    from {{ client_facts('fct_campaign_contacts') }} as facts
    inner join dates on facts.contacted_on <= dates.as_of_date
    group by facts.client_id, dates.as_of_date
),

redemptions as (
    select
        facts.client_id,
        dates.as_of_date,
        count(*) as redemptions_total,
        count(*) filter (where facts.redeemed_on > dates.as_of_date - 365) as redemptions_365d,
        max(facts.redeemed_on) as last_redemption_on
    from {{ client_facts('fct_redemptions') }} as facts
    inner join dates on facts.redeemed_on <= dates.as_of_date
    group by facts.client_id, dates.as_of_date
)
{%- endmacro -%}
