-- A company is an account of its own, with whoever belongs to it; a household is the group of its members, or the one
-- record by which the source knows all of it.
with

clients as (
    select * from {{ ref('dim_clients') }}
),

client_groups as (
    select * from {{ ref('client_groups') }}
),

members_of_households as (
    select client_id from client_groups
    where household_id is not null
),

belongings as (
    select
        company_id as account_id,
        'company' as account_kind,
        client_id
    from client_groups
    where company_id is not null and company_id <> client_id
    union all
    select
        household_id as account_id,
        'household' as account_kind,
        client_id
    from client_groups
    where household_id is not null
    union all
    select
        client_id as account_id,
        client_kind as account_kind,
        null as client_id
    from clients
    where
        client_kind = 'company'
        or (
            client_kind = 'household'
            and client_id not in (select client_id from members_of_households)
        )
),

accounts as (
    select
        account_id,
        min(account_kind) as account_kind,
        count(client_id) as members
    from belongings
    group by account_id
),

committees as (
    select
        client_id,
        count(*) as contact_persons,
        count(distinct lower(role)) as roles_covered,
        {{ joined_texts('lower(role)') }} as roles
    from {{ ref('dim_contact_persons') }}
    group by client_id
),

pipelines as (
    select
        client_id,
        count(*) filter (where outcome = 'open') as open_deals,
        sum(amount) filter (where outcome = 'open') as open_amount,
        count(*) filter (where outcome = 'won') as won_deals,
        sum(amount) filter (where outcome = 'won') as won_amount
    from {{ ref('fct_deals') }}
    group by client_id
),

final as (
    select
        accounts.account_id,
        accounts.account_kind,
        clients.client_id,
        clients.company_name,
        clients.line_of_business,
        clients.employees,
        clients.revenue_band,
        clients.country,
        clients.region,
        cast(accounts.members as bigint) as members,
        cast(coalesce(committees.contact_persons, 0) as bigint) as contact_persons,
        cast(coalesce(committees.roles_covered, 0) as bigint) as roles_covered,
        committees.roles,
        cast(coalesce(pipelines.open_deals, 0) as bigint) as open_deals,
        {{ amount_of('coalesce(pipelines.open_amount, 0)') }} as open_amount,
        cast(coalesce(pipelines.won_deals, 0) as bigint) as won_deals,
        {{ amount_of('coalesce(pipelines.won_amount, 0)') }} as won_amount,
        {{ currency() }} as currency
    from accounts
    left join clients on accounts.account_id = clients.client_id
    left join committees on accounts.account_id = committees.client_id
    left join pipelines on accounts.account_id = pipelines.client_id
)

select * from final
