-- One row per client that several records are joined to. Few are: what must be looked at record by record is only theirs.
with

identified as (
    select * from {{ ref('int_clients_identified') }}
),

final as (
    select distinct client_id from identified
    where client_id <> client_ref
)

select * from final
