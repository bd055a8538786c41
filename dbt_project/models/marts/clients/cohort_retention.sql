with

client_days as (
    select * from {{ ref('int_client_days') }}
    where ordered_on <= {{ as_of() }}
),

-- Of a client whose orders were all cancelled, or who only brought back: the first of those days.
members as (
    select
        client_id,
        {{ month_of('coalesce(min(case when orders > 0 and voided_on is null then ordered_on end), min(ordered_on))') }}
            as cohort_month
    from client_days
    group by client_id
),

months as (
    select
        members.cohort_month,
        members.client_id,
        greatest({{ months_between('members.cohort_month', 'client_days.ordered_on') }}, 0) as month_number,
        sum(case when client_days.voided_on is null then client_days.orders else 0 end) as orders,
        sum(client_days.revenue) as revenue
    from client_days
    inner join members on client_days.client_id = members.client_id
    group by
        members.cohort_month,
        members.client_id,
        greatest({{ months_between('members.cohort_month', 'client_days.ordered_on') }}, 0)
),

active as (
    select
        cohort_month,
        month_number,
        count(*) filter (where orders > 0) as buyers,
        sum(orders) as orders,
        sum(revenue) as revenue
    from months
    group by cohort_month, month_number
),

cohorts as (
    select
        cohort_month,
        count(*) as clients,
        {{ months_between('cohort_month', as_of()) }} as last_month_number
    from members
    group by cohort_month
),

cells as (
    select
        cohorts.cohort_month,
        cohorts.clients,
        cast(series.month_number as integer) as month_number
    from cohorts
    cross join generate_series(0, cohorts.last_month_number) as series (month_number)
),

final as (
    select
        cells.cohort_month,
        cast(cells.month_number as bigint) as month_number,
        cast(cells.clients as bigint) as clients,
        cast(coalesce(active.buyers, 0) as bigint) as buyers,
        cast(coalesce(active.orders, 0) as bigint) as orders,
        {{ amount_of('coalesce(active.revenue, 0)') }} as revenue,
        {{ ratio('coalesce(active.buyers, 0)', 'cells.clients') }} as retention_share,
        {{ amount_of('sum(coalesce(active.revenue, 0)) over so_far') }} as cumulative_revenue,
        {{ average_of('sum(coalesce(active.revenue, 0)) over so_far', 'cells.clients') }}
            as cumulative_revenue_per_client,
        {{ currency() }} as currency
    from cells
    left join active on cells.cohort_month = active.cohort_month and cells.month_number = active.month_number
    window so_far as (partition by cells.cohort_month order by cells.month_number)
)

select * from final
