-- One row per client of the CRM with what a message needs. Never published: only delivery opens it (L22).
with

clients as ({{ resolved(source('raw', 'clients'), ['client_ref'], keep='last') }}),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select
        identified.client_id,
        clients.first_name,
        clients.last_name,
        clients.email,
        clients.phone,
        clients.birth_date
    from clients
    inner join identified on clients.client_ref = identified.client_ref
    where clients.version_rank = 1
)

select * from final
