-- Rows of lists that a destination did not take, or of which nobody knows, before the business date (L2, L15). Who it
-- is stands in no column but the client's id and key: the sheet of `perennial deliveries rejects` masks the address.
with

rejected as (
    select
        *,
        replace(
            coalesce(
                reason, 'the tool may have taken the row, and cannot be asked; look in the tool; waits for a person'
            ),
            '; ', chr(31)
        ) as parts
    from {{ source('raw', 'ledger_deliveries') }}
    where as_of < {{ as_of() }} and state in ('rejected', 'unknown')
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

clients as (
    select * from {{ ref('dim_clients') }}
),

final as (
    select
        rejected.campaign_id,
        rejected.channel,
        rejected.destination,
        rejected.as_of as listed_on,
        rejected.action,
        rejected.client_id as listed_client_id,
        coalesce(identified.client_id, rejected.client_id) as client_id,
        clients.client_key,
        rejected.state,
        split_part(rejected.parts, chr(31), 1) as why,
        split_part(rejected.parts, chr(31), 2) as what_to_do,
        split_part(rejected.parts, chr(31), 3) as tried_again
    from rejected
    left join identified on rejected.client_id = identified.client_ref
    left join clients on coalesce(identified.client_id, rejected.client_id) = clients.client_id
)

select * from final
