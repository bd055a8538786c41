-- L1, batch by batch: the rows that the ledger loaded for this run = lines in the facts + lines of deliveries that a
-- later one replaced + tombstones + lines dated after the business date, which this run must not see. In a CHANGE the
-- batches that changed are counted; what became of the others was seen when they came.
{% set lines = source('raw', 'order_lines_changed' if is_change() else 'order_lines') %}
{% set changed_batches = source('raw', 'batches_changed') %}
{% set in_changed_batch = 'batch_id in (select batch_id from ' ~ changed_batches ~ ')' if is_change() else 'true' %}
with

-- The copy of the ledger holds this run's batches and no others.
batches as (
    select
        batch_id,
        loaded
    from {{ source('raw', 'ledger_batches') }}
    where entity = 'order_lines' and state = 'committed' and {{ in_changed_batch }}
),

lines as (
    select
        _source as source,
        order_key,
        _batch_id as batch_id,
        _file as file_name,
        count(*) filter (where _business_date <= {{ as_of() }} and not coalesce(_deleted, false)) as seen,
        count(*) filter (where _business_date <= {{ as_of() }} and _deleted) as tombstones,
        count(distinct coalesce(_version, '')) filter (where _business_date <= {{ as_of() }}) as versions,
        count(*) filter (where _business_date > {{ as_of() }}) as unseen
    from {{ lines }}
    group by _source, order_key, _batch_id, _file
),

facts as (
    select
        source,
        order_key,
        batch_id,
        file_name,
        count(*) as kept
    from {{ ref('fct_order_lines') }}
    where {{ is_changed_row({'int_orders_changed': {'source': 'source', 'order_key': 'order_key'}}, 'ordered_on') }}
    group by source, order_key, batch_id, file_name
),

-- A delivery is replaced whole, and only where the facts hold another delivery of the same order, or it was deleted.
orders as (
    select
        source,
        order_key
    from facts
    union
    select
        _source as source,
        order_key
    from {{ source('raw', 'order_lines') }}
    where _deleted and _business_date <= {{ as_of() }}
),

counted as (
    select * from facts
    where {{ in_changed_batch }}
),

accounted as (
    select
        coalesce(lines.batch_id, facts.batch_id) as batch_id,
        sum(coalesce(facts.kept, 0)) as kept,
        sum(
            case
                when facts.kept is null and orders.order_key is not null then lines.seen
                when lines.versions > 1 then lines.seen - facts.kept
                else 0
            end
        ) as replaced,
        sum(coalesce(lines.tombstones, 0)) as tombstones,
        sum(coalesce(lines.unseen, 0)) as unseen
    from lines
    full outer join counted as facts
        on
            lines.source = facts.source
            and lines.order_key = facts.order_key
            and lines.batch_id = facts.batch_id
            and lines.file_name = facts.file_name
    left join orders on lines.source = orders.source and lines.order_key = orders.order_key
    group by coalesce(lines.batch_id, facts.batch_id)
)

select
    coalesce(batches.batch_id, accounted.batch_id) as batch_id,
    batches.loaded,
    accounted.kept,
    accounted.replaced,
    accounted.tombstones,
    accounted.unseen
from batches
full outer join accounted on batches.batch_id = accounted.batch_id
where
    coalesce(batches.loaded, 0)
    <> coalesce(accounted.kept + accounted.replaced + accounted.tombstones + accounted.unseen, 0)
