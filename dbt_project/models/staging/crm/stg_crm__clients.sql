-- One row per client record of the CRM, as last known on the business date, without personal columns.
with

clients as ({{ resolved(source('raw', 'clients'), ['client_ref'], keep='last') }}),

final as (
    select
        _source as source,
        client_ref,
        client_key,
        signed_up_on,
        country,
        case lower(client_kind) when 'household' then 'household' when 'company' then 'company' else 'person' end
            as client_kind,
        company_name,
        region,
        sex,
        {{ possible_age(full_years('birth_date', as_of())) }} as age,
        birth_date is not null as has_birth_date,
        case
            when {{ possible_age(full_years('birth_date', as_of())) }} is not null
                then {{ birthday_near('birth_date', as_of()) }}
        end as birthday_on,
        line_of_business,
        revenue_band,
        employees,
        email is not null as has_email,
        phone is not null as has_phone,
        _precedence as precedence,
        _business_date as known_on
    from clients
    where version_rank = 1 and client_ref is not null
)

select * from final
