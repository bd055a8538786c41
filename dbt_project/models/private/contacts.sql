-- One row per client of the CRM with what a message needs. Never published: only delivery opens it (L22). Of a client's
-- several records each value is that of the most believed one that has it (int_clients_described).
{% set said = ['first_name', 'last_name', 'email', 'phone', 'birth_date'] %}
with

clients as ({{ resolved(source('raw', 'clients'), ['client_ref'], keep='last') }}),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

joined as (
    select * from {{ ref('int_clients_joined') }}
),

records as (
    select
        clients.*,
        identified.client_id,
        clients._precedence as precedence,
        clients._business_date as known_on,
        joined.client_id is not null as is_joined
    from clients
    inner join identified on clients.client_ref = identified.client_ref
    left join joined on identified.client_id = joined.client_id
    where clients.version_rank = 1
),

final as (
    select
        {%- for column in said %}
        {{ column }},
        {%- endfor %}
        client_id
    from records
    where not is_joined
    union all
    select
        {%- for column in said %}
        {{ first_said(column) }} as {{ column }},
        {%- endfor %}
        client_id
    from records
    where is_joined
    group by client_id
)

select * from final
