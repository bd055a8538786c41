-- One row per client, product department (the level that var product_line_level names), business day and voided_on:
-- orders in which the client bought from it that day, their revenue, and the longest term in days of what was bought.
-- Products without a department are left out.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta=days_of_clients(),
) }}
with

-- An order may have lines of later days than its own.
lines as (
    select * from {{ ref('fct_order_lines') }}
    where client_id is not null and {{ in_changed_days('ordered_on', until=false) }}
),

products as (
    select
        product_key,
        {{ product_line() }} as department,
        term_days
    from {{ ref('dim_products') }}
    where {{ product_line() }} is not null
),

orders as (
    select * from {{ ref('fct_orders') }}
    where
        {{ in_changed_days('ordered_on') }}
        and {{ in_changed('int_clients_changed', {'client_id': 'client_id'}) }}
        and {{ in_changed('int_days_changed', {'business_date': 'ordered_on'}) }}
),

parts as (
    select
        orders.source,
        orders.order_key,
        orders.client_id,
        orders.ordered_on,
        products.department,
        count(*) filter (where lines.line_kind = 'sale') as sale_lines,
        case
            when count(*) filter (where lines.line_kind = 'sale' and not lines.is_cancelled) = 0
                then max(lines.cancelled_on)
        end as voided_on,
        sum(lines.revenue) as revenue,
        max(case when lines.line_kind = 'sale' then products.term_days end) as term_days
    from lines
    inner join orders on lines.source = orders.source and lines.order_key = orders.order_key
    inner join products on lines.product_key = products.product_key
    group by orders.source, orders.order_key, orders.client_id, orders.ordered_on, products.department
),

final as (
    select
        client_id,
        department,
        ordered_on,
        voided_on,
        count(*) filter (where sale_lines > 0) as orders,
        {{ amount_of('sum(revenue)') }} as revenue,
        cast(max(term_days) as bigint) as term_days
    from parts
    group by client_id, department, ordered_on, voided_on
)

select * from final
