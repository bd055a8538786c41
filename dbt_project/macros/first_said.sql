{#- Of a client's records the value that the most believed one gives: the smaller precedence, then the later known. -#}
{%- macro first_said(column) -%}
    (array_agg({{ column }} order by precedence asc nulls last, known_on desc nulls last, client_ref asc)
    filter (where {{ column }} is not null))[1]
{%- endmacro -%}
