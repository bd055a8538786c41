with

persons as (
    select * from {{ ref('stg_crm__contact_persons') }}
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select
        persons.source,
        persons.contact_key,
        coalesce(identified.client_id, persons.client_ref) as client_id,
        persons.role,
        persons.has_email,
        persons.has_phone
    from persons
    left join identified on persons.client_ref = identified.client_ref
)

select * from final
