{% set bases = ['365d', 'total'] %}
with

{% for basis in bases %}
ranked_{{ basis }} as (
    select
        greatest(revenue_{{ basis }}, 0) as revenue,
        row_number() over (order by revenue_{{ basis }} desc, client_id asc) as client_rank,
        count(*) over () as clients
    from {{ ref('client_metrics') }}
    where orders_{{ basis }} > 0
),
{% endfor %}
-- The percent into which a client falls: the first at which so many clients are reached.
placed as (
    {%- for basis in bases %}
    select
        '{{ basis }}' as basis,
        cast(ceil(cast(100 * client_rank as double precision) / clients) as integer) as percent_of_clients,
        count(*) as clients,
        sum(revenue) as revenue,
        min(revenue) as least_revenue
    from ranked_{{ basis }}
    group by cast(ceil(cast(100 * client_rank as double precision) / clients) as integer)
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

percents as (
    {%- for basis in bases %}
    select
        '{{ basis }}' as basis,
        cast(series.percent as integer) as percent_of_clients
    from generate_series(1, 100) as series (percent)
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

summed as (
    select
        percents.basis,
        percents.percent_of_clients,
        sum(coalesce(placed.clients, 0)) over up_to as clients,
        sum(coalesce(placed.revenue, 0)) over up_to as cumulative_revenue,
        sum(coalesce(placed.revenue, 0)) over (partition by percents.basis) as revenue_of_all,
        coalesce(placed.revenue, 0) as revenue,
        placed.least_revenue
    from percents
    left join placed
        on percents.basis = placed.basis and percents.percent_of_clients = placed.percent_of_clients
    window up_to as (partition by percents.basis order by percents.percent_of_clients)
),

final as (
    select
        cast(basis as text) as basis,
        cast(percent_of_clients as bigint) as percent_of_clients,
        {{ as_of() }} as as_of_date,
        cast(clients as bigint) as clients,
        {{ amount_of('revenue') }} as revenue,
        {{ amount_of('cumulative_revenue') }} as cumulative_revenue,
        {{ ratio('cumulative_revenue', 'revenue_of_all') }} as cumulative_revenue_share,
        least_revenue,
        {{ currency() }} as currency
    from summed
)

select * from final
