with

clients as (
    select * from {{ ref('int_clients_described') }}
),

first_orders as (
    select
        client_id,
        min(ordered_on) as first_order_on
    from {{ ref('int_client_days') }}
    where orders > 0 and voided_on is null
    group by client_id
),

ordered as (
    select * from {{ ref('int_clients_ordered') }}
),

devices as (
    select
        client_id,
        device,
        row_number() over (partition by client_id order by count(*) desc, device asc) as place
    from {{ ref('fct_touches') }}
    where client_id is not null and device is not null
    group by client_id, device
),

final as (
    select
        clients.client_id,
        clients.client_key,
        clients.source,
        clients.is_in_crm,
        clients.signed_up_on,
        first_orders.first_order_on,
        coalesce(clients.client_kind, 'person') as client_kind,
        clients.company_name,
        coalesce(clients.country, ordered.country) as country,
        clients.region,
        clients.sex,
        clients.age,
        clients.birthday_on,
        clients.age_band,
        clients.income_band,
        clients.home_ownership,
        clients.marital_status,
        clients.household_size,
        clients.household_type,
        clients.kids_count,
        clients.line_of_business,
        clients.revenue_band,
        clients.employees,
        coalesce(ordered.device, devices.device) as device,
        ordered.sales_channel,
        clients.has_email,
        clients.has_phone
    from clients
    left join first_orders on clients.client_id = first_orders.client_id
    left join ordered on clients.client_id = ordered.client_id
    left join devices on clients.client_id = devices.client_id and devices.place = 1
)

select * from final
