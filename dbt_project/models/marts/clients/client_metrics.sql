with

known as (
    select
        *,
        {{ as_of() }} as as_of_date
    from {{ ref('int_client_measures') }}
),

clients as (
    select * from {{ ref('dim_clients') }}
),

stages as (
    select * from {{ ref('client_lifecycle_events') }}
    where left_on is null
),

deals as (
    select
        client_id,
        {{ average_of("sum(case when outcome = 'won' then amount else 0 end)",
                      "count(case when outcome = 'won' then amount end)") }} as average_won_amount,
        {{ amount_of("coalesce(sum(case when outcome = 'open' then amount end), 0)") }} as open_pipeline
    from {{ ref('fct_deals') }}
    where client_id is not null
    group by client_id
),

{{ services_ending(ref('client_product_matrix')) }},

offered as (
    select count(distinct {{ product_line() }}) as lines_offered from {{ ref('dim_products') }}
),

{{ client_ages('known') }},

peers as (
    select
        clients.line_of_business,
        {{ average_of('sum(measures.revenue_365d)', 'count(*)') }} as peer_revenue_365d
    from measures
    inner join clients on measures.client_id = clients.client_id
    where measures.orders_total > 0 and clients.line_of_business is not null
    group by clients.line_of_business
),

-- Fifths of the clients who ever ordered, and their place on the concentration curve.
compared as (
    select
        client_id,
        {{ fifth('last_order_on') }} as rfm_recency,
        {{ fifth('orders_365d') }} as rfm_frequency,
        {{ fifth('revenue_365d') }} as rfm_monetary,
        {{ ratio('revenue_total', 'sum(revenue_total) over ()') }} as revenue_share_total,
        {{ revenue_of_larger() }} as of_larger,
        sum(greatest(revenue_total, 0)) over () as of_all
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
        {{ cohort_month('measures.first_order_on') }} as cohort_month,
        measures.recency_days,
        measures.days_since_first_order,
        measures.tenure_days,
        {%- for column in money_columns() %}
        measures.{{ column }},
        {%- endfor %}
        measures.order_days_total,
        measures.gap_days_mean,
        measures.gap_days_median,
        measures.gap_days_sd,
        measures.gap_days_trend,
        measures.recency_over_gap,
        {{ cyclicality('measures.order_days_total', 'measures.gap_days_mean', 'measures.gap_days_sd') }}
            as cyclicality_class,
        case when measures.order_days_total >= 3 then {{ next_due_on('measures') }} end as next_due_on,
        case
            when measures.order_days_total >= 3 then cast({{ next_due_on('measures') }} - measures.as_of_date as bigint)
        end as days_until_due,
        services.service_ends_on,
        measures.lines_bought_365d,
        {{ ratio('measures.lines_bought_365d', 'offered.lines_offered') }} as lines_share_365d,
        measures.departments_180d,
        measures.main_department_365d,
        measures.stores_180d,
        measures.usual_buying_hour,
        measures.usual_reading_hour,
        measures.first_touch_on,
        measures.touches_before_first_order,
        cast(measures.first_order_on - measures.first_touch_on as bigint) as decision_days,
        case
            when measures.first_order_on - measures.first_touch_on <= {{ days_var('impulse_days') }} then 'impulse'
            when measures.first_order_on > measures.first_touch_on then 'considered'
        end as decision_kind,
        measures.campaign_contacts_90d,
        measures.campaign_contacts_total,
        measures.last_campaign_contact_on,
        measures.redemptions_365d,
        measures.redemptions_total,
        measures.last_redemption_on,
        measures.messages_received_90d,
        measures.messages_opened_90d,
        measures.messages_clicked_90d,
        {{ ratio('measures.messages_opened_90d', 'measures.messages_received_90d') }} as open_share_90d,
        {{ ratio('measures.messages_clicked_90d', 'measures.messages_received_90d') }} as click_share_90d,
        measures.nps_score,
        {{ nps_class('measures.nps_score') }} as nps_class,
        measures.complaints_90d,
        measures.complaints_total,
        measures.complaints_open,
        coalesce(deals.average_won_amount, measures.average_order_total) as average_project_value,
        coalesce(deals.open_pipeline, 0) as open_pipeline,
        peers.peer_revenue_365d,
        {{ ratio('measures.revenue_365d', 'peers.peer_revenue_365d') }} as revenue_over_peers_365d,
        clients.sex,
        clients.age_band,
        clients.income_band,
        clients.region,
        clients.device,
        coalesce(compared.revenue_share_total, 0) as revenue_share_total,
        {{ concentration_class('compared.of_larger', 'compared.of_all') }} as concentration_class,
        compared.rfm_recency,
        compared.rfm_frequency,
        compared.rfm_monetary,
        coalesce(stages.stage, 'lead') as lifecycle_stage,
        cast(measures.as_of_date - stages.changed_on as bigint) as days_in_stage,
        {{ currency() }} as currency
    from measures
    cross join offered
    left join clients on measures.client_id = clients.client_id
    left join compared on measures.client_id = compared.client_id
    left join stages on measures.client_id = stages.client_id
    left join deals on measures.client_id = deals.client_id
    left join services on measures.client_id = services.client_id
    left join peers on clients.line_of_business = peers.line_of_business
)

select * from final
