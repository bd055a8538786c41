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

bought_365d as (
    select
        matrix.client_id,
        matrix.product_line,
        greatest(matrix.revenue_365d, 0) as revenue_365d,
        count(*) over (partition by matrix.product_line) as companies
    from {{ ref('client_product_matrix') }} as matrix
    inner join clients on matrix.client_id = clients.client_id
    where clients.is_company and matrix.orders_365d > 0
),

-- What companies that buy from one line spend on another, those counted with nothing who do not buy from it.
spent_beside as (
    select
        own.product_line as own_line,
        other.product_line,
        {{ average_of('sum(other.revenue_365d)', 'max(own.companies)') }} as spend_365d
    from bought_365d as own
    inner join bought_365d as other on own.client_id = other.client_id and own.product_line <> other.product_line
    group by own.product_line, other.product_line
),

potentials as (
    select
        missing.client_id,
        missing.product_line,
        {{ average_of('sum(coalesce(spent_beside.spend_365d, 0))', 'count(*)') }} as potential_365d
    from missing
    inner join bought_365d on missing.client_id = bought_365d.client_id
    left join spent_beside
        on bought_365d.product_line = spent_beside.own_line and missing.product_line = spent_beside.product_line
    where missing.is_company
    group by missing.client_id, missing.product_line
),

final as (
    select
        missing.client_id,
        missing.product_line,
        cast(missing.white_space_rank as bigint) as white_space_rank,
        missing.buyers_365d,
        missing.penetration_365d,
        missing.revenue_per_buyer_365d,
        potentials.potential_365d,
        {{ currency() }} as currency
    from missing
    left join potentials
        on missing.client_id = potentials.client_id and missing.product_line = potentials.product_line
    where missing.is_company or missing.white_space_rank <= {{ var('white_space_rows') | int }}
)

select * from final
