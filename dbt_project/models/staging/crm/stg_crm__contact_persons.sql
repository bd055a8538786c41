-- One row per person who speaks for a company, as last described on the business date, without personal columns.
with

persons as ({{ resolved(source('raw', 'contact_persons'), ['_source', 'contact_key'], keep='last') }}),

final as (
    select
        _source as source,
        contact_key,
        client_ref,
        role,
        email is not null as has_email,
        phone is not null as has_phone
    from persons
    where version_rank = 1
)

select * from final
