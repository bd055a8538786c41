-- One row per client with demographic bands, as last known on the business date.
with

demographics as ({{ resolved(source('raw', 'demographics'), ['client_ref'], keep='last') }}),

final as (
    select
        client_ref,
        age_band,
        income_band,
        home_ownership,
        marital_status,
        household_size,
        household_type,
        kids_count
    from demographics
    where version_rank = 1 and client_ref is not null
)

select * from final
