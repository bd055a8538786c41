{#- An aggregate: the distinct texts of a group in their order, with commas between them; null when there is none. -#}
{%- macro joined_texts(text) -%}
    {{ return(adapter.dispatch('joined_texts', 'perennial')(text)) }}
{%- endmacro -%}

{%- macro default__joined_texts(text) -%}
    string_agg(distinct {{ text }}, ', ' order by {{ text }})
{%- endmacro -%}

{%- macro spark__joined_texts(text) -%}
    array_join(array_sort(collect_set({{ text }})), ', ')
{%- endmacro -%}
