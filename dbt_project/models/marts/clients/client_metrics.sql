{% set larger = 'order by revenue_total desc, client_id asc rows between unbounded preceding and 1 preceding' %}
with

sums as (
    select
        *,
        {{ as_of() }} as as_of_date
    from {{ ref('int_client_measures') }}
),

{{ client_rates('sums') }},

stages as (
    select * from {{ ref('client_lifecycle_events') }}
    where left_on is null
),

-- Quintiles of the clients who ever ordered; equal values share the lower quintile. Revenue in falling order makes the
-- concentration curve: class A carries the first 80 % of what clients bring, B the next 15 %, C the rest.
compared as (
    select
        client_id,
        floor(5.0 * (rank() over (order by last_order_on) - 1) / count(*) over ()) + 1 as rfm_recency,
        floor(5.0 * (rank() over (order by orders_365d) - 1) / count(*) over ()) + 1 as rfm_frequency,
        floor(5.0 * (rank() over (order by revenue_365d) - 1) / count(*) over ()) + 1 as rfm_monetary,
        {{ ratio('revenue_total', 'sum(revenue_total) over ()') }} as revenue_share_total,
        {{ ratio('sum(greatest(revenue_total, 0)) over (' ~ larger ~ ')', 'sum(greatest(revenue_total, 0)) over ()') }}
            as share_of_larger
    from measures
    where orders_total > 0
),

final as (
    select
        measures.client_id,
        measures.as_of_date,
        measures.signed_up_on,
        measures.first_order_on,
        measures.last_order_on,
        measures.recency_days,
        measures.days_since_first_order,
        measures.tenure_days,
        {%- for days in var('metric_windows') %}
        measures.orders_{{ days }}d,
        {%- endfor %}
        measures.orders_total,
        {%- for days in var('metric_windows') %}
        measures.revenue_{{ days }}d,
        {%- endfor %}
        measures.revenue_total,
        measures.units_90d,
        measures.returned_amount_365d,
        cast(measures.average_order_365d as decimal(18, 4)) as average_order_365d,
        measures.lines_per_order_365d,
        measures.discount_share_365d,
        measures.orders_trend_90d,
        measures.revenue_change_90d,
        measures.order_days_total,
        measures.gap_days_mean,
        measures.gap_days_median,
        measures.gap_days_sd,
        measures.recency_over_gap,
        case
            when measures.order_days_total >= 3
                then cast(ceil(measures.gap_days_median) as bigint) - measures.recency_days
        end as days_until_due,
        measures.departments_180d,
        measures.main_department_365d,
        measures.stores_180d,
        measures.weekend_share_180d,
        measures.campaign_contacts_90d,
        measures.campaign_contacts_total,
        measures.last_campaign_contact_on,
        measures.redemptions_365d,
        measures.redemptions_total,
        measures.last_redemption_on,
        coalesce(compared.revenue_share_total, 0) as revenue_share_total,
        case
            when coalesce(compared.share_of_larger, 0) < 0.8 and measures.revenue_total > 0 then 'A'
            when coalesce(compared.share_of_larger, 0) < 0.95 and measures.revenue_total > 0 then 'B'
            else 'C'
        end as concentration_class,
        cast(compared.rfm_recency as bigint) as rfm_recency,
        cast(compared.rfm_frequency as bigint) as rfm_frequency,
        cast(compared.rfm_monetary as bigint) as rfm_monetary,
        coalesce(stages.stage, 'lead') as lifecycle_stage,
        cast(measures.as_of_date - stages.changed_on as bigint) as days_in_stage,
        {{ currency() }} as currency
    from measures
    left join compared on measures.client_id = compared.client_id
    left join stages on measures.client_id = stages.client_id
)

select * from final
