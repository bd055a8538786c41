-- One row per product of the catalogue, as last described on the business date.
with

products as ({{ resolved(source('raw', 'products'), ['product_key'], keep='last') }}),

final as (
    select
        product_key,
        product_name,
        department,
        category,
        brand,
        manufacturer_key,
        package_size,
        product_line,
        unit_cost,
        list_price,
        substitute_group,
        term_days
    from products
    where version_rank = 1
)

select * from final
