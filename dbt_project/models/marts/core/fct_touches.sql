-- A visitor who was only ever one client was that client before she said so too. A visitor who was several is whoever
-- the touch itself names.
{% set whose = 'partition by client_id, case when client_id is null then source || touch_key end' %}
with

-- A click in a message of ours is a touch as any other; one by a program is none.
told as (
    select
        source,
        touch_key,
        client_ref,
        visitor_id,
        touched_at,
        touch_channel,
        touch_kind,
        campaign_key,
        device
    from {{ ref('stg_marketing__touches') }}
    union all
    select
        source,
        event_id as touch_key,
        client_ref,
        null as visitor_id,
        happened_at as touched_at,
        channel as touch_channel,
        'click' as touch_kind,
        campaign_key,
        null as device
    from {{ ref('stg_delivery__feedback') }}
    where event_kind = 'clicked'
),

touches as (
    select
        *,
        {{ business_date('touched_at') }} as touched_on
    from told
),

identified as (
    select * from {{ ref('int_clients_identified') }}
),

named as (
    select
        touches.*,
        coalesce(identified.client_id, touches.client_ref) as named_client
    from touches
    left join identified on touches.client_ref = identified.client_ref
    where touches.touched_on <= {{ as_of() }}
),

visitors as (
    select
        visitor_id,
        min(named_client) as client_id
    from named
    where visitor_id is not null
    group by visitor_id
    having min(named_client) = max(named_client)
),

known as (
    select
        named.*,
        coalesce(named.named_client, visitors.client_id) as client_id
    from named
    left join visitors on named.visitor_id = visitors.visitor_id
),

first_orders as (
    select
        client_id,
        min(ordered_at) as first_ordered_at
    from {{ ref('fct_orders') }}
    where client_id is not null and counts_as_order
    group by client_id
),

-- A touch of nobody's is alone: they would be one large partition.
numbered as (
    select
        *,
        row_number() over ({{ whose }} order by touched_at asc, source asc, touch_key asc) as from_first,
        row_number() over ({{ whose }} order by touched_at desc, source desc, touch_key desc) as from_last
    from known
),

final as (
    select
        numbered.source,
        numbered.touch_key,
        numbered.client_id,
        numbered.visitor_id,
        numbered.touched_at,
        numbered.touched_on,
        numbered.touch_channel,
        numbered.touch_kind,
        numbered.campaign_key,
        numbered.device,
        case when numbered.client_id is not null then cast(numbered.from_first as bigint) end as touch_number,
        numbered.client_id is not null and numbered.from_first = 1 as is_first_touch,
        numbered.client_id is not null and numbered.from_last = 1 as is_last_touch,
        numbered.client_id is not null
        and (first_orders.first_ordered_at is null or numbered.touched_at <= first_orders.first_ordered_at)
            as is_before_first_order
    from numbered
    left join first_orders on numbered.client_id = first_orders.client_id
)

select * from final
