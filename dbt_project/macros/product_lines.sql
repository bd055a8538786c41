{#- The lines in which products are looked at: the column of dim_products that var product_line_level names. Everything
    that speaks of departments or lines per client means this one. -#}
{%- macro product_line() -%}
    {%- if var('product_line_level') not in ['department', 'category', 'product_line'] -%}
        {{ exceptions.raise_compiler_error("product_line_level is department, category or product_line") }}
    {%- endif -%}
    {{ return(var('product_line_level')) }}
{%- endmacro -%}

{#- What stands for the line of products that have none, so that lines add up to the whole. -#}
{%- macro no_line() -%}
    cast('(none)' as {{ dbt.type_string() }})
{%- endmacro -%}

{#- Windows of client_product_matrix, all of them edges of int_clients_due. -#}
{%- macro line_windows() -%}
    {{ return([90, 180, 365]) }}
{%- endmacro -%}

{#- A term of more than a hundred years is a mistake of its source: nothing falls due by it. -#}
{%- macro longest_term_days() -%}
    36525
{%- endmacro -%}

{#- CTE `services`: by client the earliest end, on the date or later, of a term that was bought. -#}
{%- macro services_ending(matrix) -%}
services as (
    select
        client_id,
        min(next_due_on) as service_ends_on
    from {{ matrix }}
    where due_by = 'term' and next_due_on >= {{ as_of() }}
    group by client_id
)
{%- endmacro -%}
