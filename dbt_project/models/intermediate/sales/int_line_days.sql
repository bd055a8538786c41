-- One row per product line (the level that var product_line_level names; '(none)' for products without one) and
-- business day: what was sold and came back, guests included.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_days_changed': {'business_date': 'business_date'}}},
) }}
with

lines as (
    select * from {{ ref('fct_order_lines') }}
    where
        {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_days_changed', {'business_date': 'ordered_on'}) }}
),

products as (
    select
        product_key,
        {{ product_line() }} as product_line
    from {{ ref('dim_products') }}
),

final as (
    select
        coalesce(products.product_line, {{ no_line() }}) as product_line,
        lines.ordered_on as business_date,
        {{ amount_of('sum(lines.revenue)') }} as revenue,
        {{ amount_of('sum(case when lines.client_id is null then lines.revenue else 0 end)') }} as guest_revenue,
        {{ amount_of('sum(lines.units)') }} as units,
        {{ amount_of('coalesce(sum(lines.margin), 0)') }} as margin,
        {{ amount_of('sum(case when lines.margin is null then 0 else lines.revenue end)') }} as margin_revenue
    from lines
    left join products on lines.product_key = products.product_key
    group by coalesce(products.product_line, {{ no_line() }}), lines.ordered_on
)

select * from final
