-- One row per business day of a line of a changed order, as it was or as it is. Empty in a FULL build.
{{ config(materialized='table') }}
select distinct ordered_on as business_date
from {{ ref('int_order_lines_changed') }}
