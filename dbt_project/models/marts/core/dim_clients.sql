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

countries as (
    select
        client_id,
        country,
        row_number() over (partition by client_id order by ordered_at desc, order_key desc, source desc) as country_rank
    from {{ ref('fct_orders') }}
    where client_id is not null and country is not null
),

final as (
    select
        clients.client_id,
        clients.client_key,
        clients.source,
        clients.is_in_crm,
        clients.signed_up_on,
        first_orders.first_order_on,
        coalesce(clients.country, countries.country) as country,
        clients.age_band,
        clients.income_band,
        clients.home_ownership,
        clients.marital_status,
        clients.household_size,
        clients.household_type,
        clients.kids_count,
        clients.has_email,
        clients.has_phone
    from clients
    left join first_orders on clients.client_id = first_orders.client_id
    left join countries on clients.client_id = countries.client_id and countries.country_rank = 1
)

select * from final
