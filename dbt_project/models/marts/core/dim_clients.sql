with

identified as (
    select * from {{ ref('int_clients_identified') }}
),

crm as (
    select * from {{ ref('stg_crm__clients') }}
),

demographics as (
    select * from {{ ref('stg_crm__demographics') }}
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
        identified.client_id,
        identified.client_key,
        identified.source,
        identified.is_in_crm,
        crm.signed_up_on,
        first_orders.first_order_on,
        coalesce(crm.country, countries.country) as country,
        demographics.age_band,
        demographics.income_band,
        demographics.home_ownership,
        demographics.marital_status,
        demographics.household_size,
        demographics.household_type,
        demographics.kids_count,
        coalesce(crm.has_email, false) as has_email,
        coalesce(crm.has_phone, false) as has_phone
    from identified
    left join crm on identified.client_ref = crm.client_ref
    left join demographics on identified.client_ref = demographics.client_ref
    left join first_orders on identified.client_id = first_orders.client_id
    left join countries on identified.client_id = countries.client_id and countries.country_rank = 1
)

select * from final
