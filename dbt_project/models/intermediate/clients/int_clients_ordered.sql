-- One row per client with an order: the country of the latest order that has one, and the sales channel and the device
-- that most orders came by, the first in the alphabet of several.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_units',
    meta={'units': {'int_clients_changed': {'client_id': 'client_id'}}},
) }}
with

orders as (
    select * from {{ ref('fct_orders') }}
    where client_id is not null and {{ in_changed('int_clients_changed', {'client_id': 'client_id'}) }}
),

countries as (
    select
        client_id,
        country,
        row_number() over (partition by client_id order by ordered_at desc, order_key desc, source desc) as place
    from orders
    where country is not null
),

channels as (
    select
        client_id,
        sales_channel,
        row_number() over (partition by client_id order by count(*) desc, sales_channel asc) as place
    from orders
    where sales_channel is not null
    group by client_id, sales_channel
),

devices as (
    select
        client_id,
        device,
        row_number() over (partition by client_id order by count(*) desc, device asc) as place
    from orders
    where device is not null
    group by client_id, device
),

said as (
    select
        client_id,
        country,
        null as sales_channel,
        null as device
    from countries
    where place = 1
    union all
    select
        client_id,
        null as country,
        sales_channel,
        null as device
    from channels
    where place = 1
    union all
    select
        client_id,
        null as country,
        null as sales_channel,
        device
    from devices
    where place = 1
),

final as (
    select
        client_id,
        max(country) as country,
        max(sales_channel) as sales_channel,
        max(device) as device
    from said
    group by client_id
)

select * from final
