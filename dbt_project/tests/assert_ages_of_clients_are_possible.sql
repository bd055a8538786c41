-- Who would be older than 120 years on the business date, or not born yet: the age is left out, and told here.
{{ config(severity='warn') }}
select
    client_ref,
    known_on
from {{ ref('stg_crm__clients') }}
where has_birth_date and age is null
