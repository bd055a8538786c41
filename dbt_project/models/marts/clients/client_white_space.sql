-- Persons are many and their gaps are most of the shop: they are shown the few lines that most others buy. A company's
-- account manager wants to see every line that could be offered.
with

offered as (
    select
        product_line,
        buyers_365d,
        penetration_365d,
        revenue_per_buyer_365d,
        row_number() over (order by buyers_365d desc, product_line asc) as line_rank
    from {{ ref('category_metrics') }}
    where buyers_365d > 0 and product_line <> {{ no_line() }}
),

clients as (
    select
        metrics.client_id,
        clients.client_kind = 'company' as is_company
    from {{ ref('client_metrics') }} as metrics
    inner join {{ ref('dim_clients') }} as clients on metrics.client_id = clients.client_id
    where clients.client_kind = 'company' or metrics.orders_365d > 0
),

missing as (
    select
        clients.client_id,
        clients.is_company,
        offered.*,
        row_number() over (partition by clients.client_id order by offered.line_rank) as white_space_rank
    from clients
    inner join offered on clients.is_company or offered.line_rank <= {{ var('white_space_lines') | int }}
    left join {{ ref('client_product_matrix') }} as bought
        on clients.client_id = bought.client_id and offered.product_line = bought.product_line
    where bought.client_id is null
),

final as (
    select
        client_id,
        product_line,
        cast(white_space_rank as bigint) as white_space_rank,
        buyers_365d,
        penetration_365d,
        revenue_per_buyer_365d,
        {{ currency() }} as currency
    from missing
    where is_company or white_space_rank <= {{ var('white_space_rows') | int }}
)

select * from final
