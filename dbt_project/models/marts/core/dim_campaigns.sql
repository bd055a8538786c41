-- Every campaign that something is reported of: what the source says of it, else the days of its first and last trace.
{% set counted = ['contacts', 'messages', 'redemptions', 'touches', 'impressions', 'clicks', 'spend'] %}
{% set parts = [
    ('fct_campaign_contacts', 'reported_by', 'contacted_on', {'contacts': 1}),
    ('fct_communications', 'source', 'sent_on', {'messages': 1}),
    ('fct_redemptions', 'source', 'redeemed_on', {'redemptions': 1}),
    ('fct_touches', 'source', 'touched_on', {'touches': 1}),
    ('fct_spend', 'source', 'spent_on', {
        'impressions': 'coalesce(impressions, 0)', 'clicks': 'coalesce(clicks, 0)', 'spend': 'amount',
    }),
] %}
with

campaigns as (
    select * from {{ ref('stg_marketing__campaigns') }}
),

traces as (
    {%- for table, source, day, measures in parts %}
    select
        {{ source }} as source,
        campaign_key,
        {%- for measure in counted %}
        {{ measures.get(measure, 0) }} as {{ measure }},
        {%- endfor %}
        {{ day }} as happened_on
    from {{ ref(table) }}
    where campaign_key is not null
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

traced as (
    select
        source,
        campaign_key,
        {%- for measure in counted %}
        sum({{ measure }}) as {{ measure }},
        {%- endfor %}
        min(happened_on) as first_on,
        max(happened_on) as last_on
    from traces
    group by source, campaign_key
),

final as (
    select
        coalesce(campaigns.source, traced.source) as source,
        coalesce(campaigns.campaign_key, traced.campaign_key) as campaign_key,
        campaigns.campaign_key is not null as is_described,
        campaigns.campaign_type,
        coalesce(campaigns.starts_on, traced.first_on) as starts_on,
        case when campaigns.campaign_key is null then traced.last_on else campaigns.ends_on end as ends_on,
        {%- for measure in counted[:-1] %}
        cast(coalesce(traced.{{ measure }}, 0) as bigint) as {{ measure }},
        {%- endfor %}
        {{ amount_of('coalesce(traced.spend, 0)') }} as spend,
        {{ currency() }} as currency
    from campaigns
    full outer join traced on campaigns.source = traced.source and campaigns.campaign_key = traced.campaign_key
)

select * from final
