{# The business date's sums stand in int_client_measures; those of past dates are made here, by the same macros. #}
{% set is_daily = not var('training', false) and feature_dates() == [var('as_of')] %}
{% if not execute %}{% do client_measures(feature_dates()) %}{% do ref('int_client_measures') %}{% endif %}
with

{% if is_daily %}
dates as ({{ date_rows(feature_dates()) }}
),

rated as (
    select
        known.*,
        dates.as_of_date
    from {{ ref('int_client_measures') }} as known
    cross join dates
),
{% else %}
{{ client_measures(feature_dates()) }},

{{ client_rates() }},
{% endif %}
{{ client_ages('rated') }},

{{ recent_measures() }},

sent_back as (
    select
        measures.client_id,
        measures.as_of_date,
        count(distinct days.ordered_on > measures.last_order_on) as order_days
    from {{ ref('int_client_days') }} as days
    inner join measures
        on
            days.client_id = measures.client_id
            and days.ordered_on <= measures.as_of_date
            and days.ordered_on > measures.last_order_on - cast(coalesce(measures.last_gap_days, 0) as integer)
    where days.returned_amount > 0
    group by measures.client_id, measures.as_of_date
),

final as (
    select
        measures.client_id,
        measures.as_of_date,
        measures.recency_days,
        measures.days_since_first_order,
        measures.tenure_days,
        {%- for days in metric_windows() %}
        measures.orders_{{ days }}d,
        cast(measures.revenue_{{ days }}d as double precision) as revenue_{{ days }}d,
        {%- endfor %}
        {%- for days in further_windows() %}
        coalesce(recent.orders_{{ days }}d, 0) as orders_{{ days }}d,
        coalesce(cast(recent.revenue_{{ days }}d as double precision), 0) as revenue_{{ days }}d,
        {%- endfor %}
        measures.orders_total,
        cast(measures.revenue_total as double precision) as revenue_total,
        cast(measures.units_90d as double precision) as units_90d,
        cast(measures.returned_amount_365d as double precision) as returned_amount_365d,
        cast(measures.average_order_365d as double precision) as average_order_365d,
        measures.lines_per_order_365d,
        measures.discount_share_365d,
        measures.returned_share_365d,
        measures.weekend_share_180d,
        measures.orders_trend_90d,
        measures.revenue_change_90d,
        {%- for days in [28, 91] %}
        {%- set now, before = 'recent.momentum_orders_%sd' % days, 'recent.momentum_before_%sd' % days %}
        coalesce({{ ratio(now ~ ' - ' ~ before, now ~ ' + ' ~ before) }}, 0) as orders_momentum_{{ days }}d,
        {%- endfor %}
        measures.order_days_total,
        measures.gap_days_mean,
        measures.gap_days_median,
        measures.gap_days_sd,
        measures.recency_over_gap,
        coalesce(sent_back.order_days, 0) as returns_after_last_2_orders,
        measures.departments_180d,
        measures.top_department_share_180d,
        measures.left_departments_365d,
        measures.left_department_share_365d,
        measures.left_department_365d,
        measures.stores_180d,
        measures.campaign_contacts_90d,
        measures.campaign_contacts_total,
        cast(measures.as_of_date - measures.last_campaign_contact_on as bigint) as days_since_campaign_contact,
        measures.redemptions_365d,
        measures.redemptions_total
    from measures
    left join recent on measures.client_id = recent.client_id and measures.as_of_date = recent.as_of_date
    left join sent_back on measures.client_id = sent_back.client_id and measures.as_of_date = sent_back.as_of_date
    where measures.orders_total > 0
)

select * from final
