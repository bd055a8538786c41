-- One row per client, product department, business day and voided_on: orders in which the client bought from the
-- department that day, and the revenue of it. Products without a department are left out.
{{ config(materialized='table') }}
with

lines as (
    select * from {{ ref('fct_order_lines') }}
    where client_id is not null
),

products as (
    select * from {{ ref('dim_products') }}
    where department is not null
),

orders as (
    select * from {{ ref('fct_orders') }}
),

parts as (
    select
        lines.source,
        lines.order_key,
        products.department,
        count(*) filter (where lines.line_kind = 'sale') as sale_lines,
        case
            when count(*) filter (where lines.line_kind = 'sale' and not lines.is_cancelled) = 0
                then max(lines.cancelled_on)
        end as voided_on,
        sum(lines.revenue) as revenue
    from lines
    inner join products on lines.product_key = products.product_key
    group by lines.source, lines.order_key, products.department
),

final as (
    select
        orders.client_id,
        parts.department,
        orders.ordered_on,
        parts.voided_on,
        count(*) filter (where parts.sale_lines > 0) as orders,
        cast(sum(parts.revenue) as decimal(18, 4)) as revenue
    from parts
    inner join orders on parts.source = orders.source and parts.order_key = orders.order_key
    group by orders.client_id, parts.department, orders.ordered_on, parts.voided_on
)

select * from final
