-- Products that only sales know take the name they were last sold under, and only their lines are looked at.
with

catalogue as (
    select * from {{ ref('stg_sales__products') }}
),

lines as (
    select sold_lines.* from {{ ref('stg_sales__order_lines') }} as sold_lines
    left join catalogue on sold_lines.product_key = catalogue.product_key and catalogue.product_name is not null
    where catalogue.product_key is null
),

sold as (
    select
        product_key,
        product_name,
        max(ordered_at) as last_sold_at
    from lines
    group by product_key, product_name
),

named as (
    select
        product_key,
        product_name,
        row_number() over (
            partition by product_key
            order by case when product_name is null then 1 else 0 end asc, last_sold_at desc, product_name asc
        ) as name_rank
    from sold
),

last_names as (
    select * from named
    where name_rank = 1
),

final as (
    select
        coalesce(catalogue.product_key, last_names.product_key) as product_key,
        coalesce(catalogue.product_name, last_names.product_name) as product_name,
        catalogue.department,
        catalogue.category,
        catalogue.brand,
        catalogue.manufacturer_key,
        catalogue.package_size,
        catalogue.product_line,
        catalogue.unit_cost,
        catalogue.list_price,
        catalogue.substitute_group,
        catalogue.term_days,
        catalogue.product_key is not null as is_in_catalogue
    from catalogue
    full outer join last_names on catalogue.product_key = last_names.product_key
)

select * from final
