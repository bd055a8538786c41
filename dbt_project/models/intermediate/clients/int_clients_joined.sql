-- One row per client that several records are joined to. Few are: only theirs are looked at record by record.
with

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select distinct client_id from identified
    where client_id <> client_ref
)

select * from final
