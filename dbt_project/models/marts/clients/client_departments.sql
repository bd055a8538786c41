with

days as (
    select * from {{ ref('int_client_department_days') }}
),

aged as (
    select
        *,
        {{ as_of() }} - ordered_on as age_days,
        case when voided_on is null then orders else 0 end as standing_orders
    from days
    where ordered_on <= {{ as_of() }}
),

final as (
    select
        client_id,
        department,
        {{ as_of() }} as as_of_date,
        cast({{ trailing('standing_orders', 180) }} as bigint) as orders_180d,
        cast({{ trailing('revenue', 180) }} as decimal(18, 4)) as revenue_180d,
        cast({{ trailing('revenue', 365) }} as decimal(18, 4)) as revenue_365d,
        min(ordered_on) as first_bought_on,
        max(ordered_on) as last_bought_on,
        {{ currency() }} as currency
    from aged
    where client_id is not null
    group by client_id, department
    having sum(standing_orders) > 0
)

select * from final
