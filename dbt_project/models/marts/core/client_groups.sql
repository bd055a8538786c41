with

joined as (
    select * from {{ source('raw', 'identity_map') }}
),

final as (
    select
        client_id,
        min(household_id) as household_id,
        min(company_id) as company_id
    from joined
    where household_id is not null or company_id is not null
    group by client_id
)

select * from final
