-- The newest description of a product wins. Told: sources that put a product into different categories, and on its day
-- a description that puts it into another one than before.
{{ config(severity='warn') }}
with

versions as (
    select
        *,
        row_number() over (
            partition by product_key, _source
            order by {{ in_order(['_business_date', '_version', '_batch_seq', '_file', '_line'], 'desc') }}
        ) as rank_in_source
    from {{ source('raw', 'products') }}
    where _business_date <= {{ as_of() }} and not coalesce(_deleted, false) and category is not null
),

new_today as (
    select product_key from versions
    where rank_in_source = 1 and _business_date = {{ as_of() }}
),

told as (
    select
        product_key,
        category
    from versions
    where rank_in_source = 1 or (rank_in_source = 2 and product_key in (select product_key from new_today))
)

select
    product_key,
    min(category) as category,
    max(category) as other_category
from told
group by product_key
having min(category) <> max(category)
