-- One row per client with an order or a touch: the country of the latest order that has one, and the device that orders
-- and touches most often came from.
{{ config(materialized='table') }}
with

orders as (
    select * from {{ ref('fct_orders') }}
    where client_id is not null
),

touches as (
    select * from {{ ref('fct_touches') }}
    where client_id is not null
),

countries as (
    select
        client_id,
        country,
        row_number() over (partition by client_id order by ordered_at desc, order_key desc, source desc) as country_rank
    from orders
    where country is not null
),

devices as (
    select
        client_id,
        device,
        row_number() over (partition by client_id order by count(*) desc, device asc) as device_rank
    from touches
    where device is not null
    group by client_id, device
),

seen as (
    select
        client_id,
        country,
        null as device
    from countries
    where country_rank = 1
    union all
    select
        client_id,
        null as country,
        device
    from devices
    where device_rank = 1
),

final as (
    select
        client_id,
        max(country) as country,
        max(device) as device
    from seen
    group by client_id
)

select * from final
