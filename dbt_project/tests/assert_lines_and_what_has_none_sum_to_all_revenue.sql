-- To the cent: revenue of all product lines and of products without one = revenue of the facts, guests included.
with

lines as (
    select sum(revenue_total) as revenue from {{ ref('category_metrics') }}
),

facts as (
    select sum(revenue) as revenue from {{ ref('fct_order_lines') }}
)

select
    lines.revenue as revenue_of_lines,
    facts.revenue as revenue_of_facts
from lines
cross join facts
where lines.revenue is distinct from facts.revenue
