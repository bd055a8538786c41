-- One row per client: what its records say of it. Of several records the one of the source with the smaller precedence
-- is believed, then the one known later; what it does not say is taken from the next. The key is that of the client's
-- own record, the earliest.
{% set said = [
    'signed_up_on', 'country', 'age_band', 'income_band', 'home_ownership', 'marital_status', 'household_size',
    'household_type', 'kids_count', 'client_kind', 'company_name', 'region', 'sex', 'age', 'birthday_on', 'line_of_business',
    'revenue_band', 'employees',
] %}
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

joined as (
    select * from {{ ref('int_clients_joined') }}
),

records as (
    select
        identified.*,
        joined.client_id is not null as is_joined,
        crm.precedence,
        crm.known_on,
        crm.signed_up_on,
        crm.country,
        crm.client_kind,
        crm.company_name,
        crm.region,
        crm.sex,
        crm.age,
        crm.birthday_on,
        crm.line_of_business,
        crm.revenue_band,
        crm.employees,
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
    left join joined on identified.client_id = joined.client_id
    left join crm on identified.client_ref = crm.client_ref
    left join demographics on identified.client_ref = demographics.client_ref
),

final as (
    select
        client_id,
        client_key,
        source,
        is_in_crm,
        {%- for column in said %}
        {{ column }},
        {%- endfor %}
        has_email,
        has_phone
    from records
    where not is_joined
    union all
    select
        client_id,
        coalesce(max(case when client_ref = client_id then client_key end), min(client_key)) as client_key,
        coalesce(max(case when client_ref = client_id then source end), min(source)) as source,
        bool_or(is_in_crm) as is_in_crm,
        {%- for column in said %}
        {{ first_said(column) }} as {{ column }},
        {%- endfor %}
        bool_or(has_email) as has_email,
        bool_or(has_phone) as has_phone
    from records
    where is_joined
    group by client_id
)

select * from final
