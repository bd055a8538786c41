-- One row per client who has to be measured again: something of hers changed, or left or entered a window between the
-- last complete build and the business date. Empty in a full build, which measures everyone.
{{ config(materialized='table') }}
with

final as (
    {{ clients_moved() }}
)

select * from final
