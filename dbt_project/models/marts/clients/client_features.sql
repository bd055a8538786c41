with

{{ client_measures(feature_dates()) }},

final as (
    select
        client_id,
        as_of_date,
        recency_days,
        days_since_first_order,
        tenure_days,
        {%- for days in measure_windows() %}
        orders_{{ days }}d,
        {%- endfor %}
        orders_total,
        {%- for days in measure_windows() %}
        cast(revenue_{{ days }}d as double precision) as revenue_{{ days }}d,
        {%- endfor %}
        cast(revenue_total as double precision) as revenue_total,
        cast(units_90d as double precision) as units_90d,
        cast(returned_amount_365d as double precision) as returned_amount_365d,
        average_order_365d,
        lines_per_order_365d,
        discount_share_365d,
        returned_share_365d,
        weekend_share_180d,
        orders_trend_90d,
        revenue_change_90d,
        orders_momentum_28d,
        orders_momentum_91d,
        order_days_total,
        gap_days_mean,
        gap_days_median,
        gap_days_sd,
        recency_over_gap,
        departments_180d,
        top_department_share_180d,
        stores_180d,
        campaign_contacts_90d,
        campaign_contacts_total,
        cast(as_of_date - last_campaign_contact_on as bigint) as days_since_campaign_contact,
        redemptions_365d,
        redemptions_total
    from measures
    where orders_total > 0
)

select * from final
