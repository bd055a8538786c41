-- One row per client, business day and voided_on: what the client ordered and brought back that day. voided_on is the
-- day on which the last line of those orders was cancelled (null for orders that stand): they counted until then.
{{ config(materialized='table') }}
with

orders as (
    select * from {{ ref('fct_orders') }}
    where client_id is not null
),

final as (
    select
        client_id,
        ordered_on,
        voided_on,
        count(*) filter (where sale_lines > 0) as orders,
        cast(sum(sale_lines) as bigint) as sale_lines,
        cast(sum(revenue) as decimal(18, 4)) as revenue,
        cast(sum(sold_amount) as decimal(18, 4)) as sold_amount,
        cast(sum(returned_amount) as decimal(18, 4)) as returned_amount,
        cast(sum(discount) as decimal(18, 4)) as discount,
        cast(sum(units) as decimal(18, 4)) as units
    from orders
    group by client_id, ordered_on, voided_on
)

select * from final
