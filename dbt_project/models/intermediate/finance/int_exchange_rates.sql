-- One row per currency and day from its first rate to the business date, with the latest rate on or before the day.
-- What changed in it is found before it is replaced.
-- depends_on: {{ ref('int_rates_changed') }}
{{ config(materialized='table') }}
select * from {{ ref('int_rates_of_days') }}
