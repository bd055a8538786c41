-- The nearest in list price, five on either side: a group of many products has not all pairs of them.
with

products as (
    select
        product_key,
        substitute_group,
        row_number() over (partition by substitute_group order by list_price asc nulls last, product_key asc) as place
    from {{ ref('dim_products') }}
    where substitute_group is not null
),

-- Pairs are found by equality.
steps as (
    {%- for step in [-1, 1, -2, 2, -3, 3, -4, 4, -5, 5] %}
    select
        {{ step }} as step,
        {{ loop.index }} as nearness
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

pairs as (
    select
        products.product_key,
        others.product_key as substitute_key,
        products.substitute_group,
        row_number() over (partition by products.product_key order by steps.nearness) as substitute_rank
    from products
    cross join steps
    inner join products as others
        on products.substitute_group = others.substitute_group and products.place + steps.step = others.place
),

final as (
    select
        product_key,
        substitute_key,
        substitute_group,
        cast(substitute_rank as bigint) as substitute_rank
    from pairs
)

select * from final
