-- What a client leaves is what the next row came from, on the day on which it begins; the last stage is not left, and
-- no client is in two stages on a day.
with

chained as (
    select
        *,
        lead(changed_on) over (partition by client_id order by changed_on) as next_changed_on,
        lag(stage) over (partition by client_id order by changed_on) as last_stage,
        changed_on - lag(changed_on) over (partition by client_id order by changed_on) as days_before
    from {{ ref('client_lifecycle_events') }}
    where {{ in_changed('int_clients_due', {'client_id': 'client_id'}) }}
)

select *
from chained
where
    left_on is distinct from next_changed_on
    or stage_before is distinct from last_stage
    or days_in_stage_before is distinct from days_before
    or changed_on > {{ as_of() }}
