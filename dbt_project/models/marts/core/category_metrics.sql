{% set windows = [90, 365] %}
with

days as (
    select
        *,
        {{ as_of() }} - business_date as age_days
    from {{ ref('int_line_days') }}
    where business_date <= {{ as_of() }}
),

sums as (
    select
        product_line,
        {%- for window in windows %}
        {{ trailing('revenue', window) }} as revenue_{{ window }}d,
        {{ trailing('revenue', window, skip=window) }} as revenue_before_{{ window }}d,
        {%- endfor %}
        {{ trailing('guest_revenue', 365) }} as guest_revenue_365d,
        {{ trailing('units', 365) }} as units_365d,
        {{ trailing('margin', 365) }} as margin_365d,
        {{ trailing('margin_revenue', 365) }} as margin_revenue_365d,
        sum(revenue) as revenue_total,
        max(business_date) as last_sold_on
    from days
    group by product_line
),

buyers as (
    select
        product_line,
        count(*) as buyers_total,
        count(*) filter (where orders_90d > 0) as buyers_90d,
        count(*) filter (where orders_365d > 0) as buyers_365d,
        count(*) filter (where orders_365d > 1) as repeat_buyers_365d,
        sum(case when orders_365d > 0 then revenue_365d else 0 end) as buyers_revenue_365d
    from {{ ref('client_product_matrix') }}
    group by product_line
),

everyone as (
    select count(*) as buyers from {{ ref('client_metrics') }}
    where orders_365d > 0
),

final as (
    select
        sums.product_line,
        {{ as_of() }} as as_of_date,
        {%- for window in windows %}
        {{ amount_of('sums.revenue_%sd' % window) }} as revenue_{{ window }}d,
        {{ amount_of('sums.revenue_before_%sd' % window) }} as revenue_before_{{ window }}d,
        {{ change('sums.revenue_%sd' % window, 'sums.revenue_before_%sd' % window) }} as growth_{{ window }}d,
        {%- endfor %}
        {{ amount_of('sums.revenue_total') }} as revenue_total,
        {{ amount_of('sums.guest_revenue_365d') }} as guest_revenue_365d,
        {{ ratio('sums.revenue_365d', 'sum(sums.revenue_365d) over ()') }} as revenue_share_365d,
        {{ amount_of('sums.units_365d') }} as units_365d,
        case when sums.margin_revenue_365d <> 0 then {{ amount_of('sums.margin_365d') }} end as margin_365d,
        {{ ratio('sums.margin_365d', 'sums.margin_revenue_365d') }} as margin_share_365d,
        cast(coalesce(buyers.buyers_90d, 0) as bigint) as buyers_90d,
        cast(coalesce(buyers.buyers_365d, 0) as bigint) as buyers_365d,
        cast(coalesce(buyers.buyers_total, 0) as bigint) as buyers_total,
        coalesce({{ ratio('buyers.buyers_365d', 'everyone.buyers') }}, 0) as penetration_365d,
        {{ average_of('buyers.buyers_revenue_365d', 'buyers.buyers_365d') }} as revenue_per_buyer_365d,
        {{ ratio('buyers.repeat_buyers_365d', 'buyers.buyers_365d') }} as repeat_share_365d,
        sums.last_sold_on,
        {{ currency() }} as currency
    from sums
    left join buyers on sums.product_line = buyers.product_line
    cross join everyone
)

select * from final
