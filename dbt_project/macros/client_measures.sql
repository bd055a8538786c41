{#- What is measured per client as of a date, defined once for client_metrics (the business date) and client_features
    (any past date), so that people, segments, training and scoring read the same numbers (L3). A window of N days is
    (as_of_date - N, as_of_date]. Nothing after as_of_date is read; an order that was cancelled later still counts on
    the dates before its cancellation. -#}

{#- All trailing windows in days, of people's metrics and of features. -#}
{%- macro measure_windows() -%}
    {{ return((var('metric_windows') + var('feature_windows')) | map('int') | unique | sort) }}
{%- endmacro -%}

{#- CTEs that end in `measures`: one row per client of dim_clients and date of the list. -#}
{%- macro client_measures(dates) -%}
dates as ({{ date_rows(dates) }}
),

known as (
    select
        clients.client_id,
        dates.as_of_date,
        case when clients.signed_up_on <= dates.as_of_date then clients.signed_up_on end as signed_up_on
    from {{ ref('dim_clients') }} as clients
    cross join dates
),

{{ order_measures() }},

{{ gap_measures() }},

{{ variety_measures() }},

{{ contact_measures() }},

measures as (
    select
        known.client_id,
        known.as_of_date,
        known.signed_up_on,
        orders.first_order_on,
        orders.last_order_on,
        cast(known.as_of_date - orders.last_order_on as bigint) as recency_days,
        cast(known.as_of_date - orders.first_order_on as bigint) as days_since_first_order,
        cast(known.as_of_date - least(known.signed_up_on, orders.first_order_on) as bigint) as tenure_days,
        {%- for days in measure_windows() %}
        coalesce(orders.orders_{{ days }}d, 0) as orders_{{ days }}d,
        coalesce(orders.revenue_{{ days }}d, 0) as revenue_{{ days }}d,
        {%- endfor %}
        coalesce(orders.orders_total, 0) as orders_total,
        coalesce(orders.revenue_total, 0) as revenue_total,
        coalesce(orders.units_90d, 0) as units_90d,
        coalesce(orders.returned_amount_365d, 0) as returned_amount_365d,
        orders.average_order_365d,
        orders.lines_per_order_365d,
        orders.discount_share_365d,
        orders.returned_share_365d,
        orders.weekend_share_180d,
        orders.orders_trend_90d,
        orders.revenue_change_90d,
        coalesce(orders.orders_momentum_28d, 0) as orders_momentum_28d,
        coalesce(orders.orders_momentum_91d, 0) as orders_momentum_91d,
        coalesce(gaps.order_days_total, 0) as order_days_total,
        gaps.gap_days_mean,
        gaps.gap_days_median,
        gaps.gap_days_sd,
        {{ ratio('known.as_of_date - orders.last_order_on', 'gaps.gap_days_median') }} as recency_over_gap,
        coalesce(departments.departments_180d, 0) as departments_180d,
        departments.top_department_share_180d,
        coalesce(stores.stores_180d, 0) as stores_180d,
        coalesce(contacts.campaign_contacts_90d, 0) as campaign_contacts_90d,
        coalesce(contacts.campaign_contacts_total, 0) as campaign_contacts_total,
        contacts.last_campaign_contact_on,
        coalesce(redemptions.redemptions_365d, 0) as redemptions_365d,
        coalesce(redemptions.redemptions_total, 0) as redemptions_total,
        redemptions.last_redemption_on
    from known
    {%- for part in ['orders', 'gaps', 'departments', 'stores', 'contacts', 'redemptions'] %}
    left join {{ part }} on known.client_id = {{ part }}.client_id and known.as_of_date = {{ part }}.as_of_date
    {%- endfor %}
)
{%- endmacro -%}
