{#- The amounts of an order line in company currency, from the columns of int_order_lines_netted. Only money received is
    counted with or without tax; prices, discounts and costs are as the source has them. -#}
{%- macro line_money(amount) -%}
    {{ in_company_currency(amount, 'original_currency', 'rate') }}
{%- endmacro -%}

{#- The tax that is in what is counted. -#}
{%- macro counted_tax() -%}
    {{ 'coalesce(tax_amount, 0)' if var('revenue_includes_tax') | as_bool else '0' }}
{%- endmacro -%}
