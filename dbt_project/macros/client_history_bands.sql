{#- Where a client stands by the boundaries of a month end. -#}

{#- Fifths of a row by the boundaries. -#}
{%- macro history_bands(rows, bands) -%}
    {%- for band, column in bands.items() %}
        case
            when {{ rows }}.orders_total = 0 or boundaries.drawn_on is null then null
            {%- for number in [5, 4, 3, 2] %}
            when {{ rows }}.{{ column }} >= boundaries.{{ band }}_{{ number }} then {{ number }}
            {%- endfor %}
            else 1
        end as {{ band }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro -%}

{#- Class of a row by the boundaries. Of those whose revenue is the boundary itself the smaller client_id comes first,
    as in `revenue_of_larger`; with equals='all' all of them do. -#}
{%- macro history_class(rows, equals='by client_id') -%}
        case
            when {{ rows }}.orders_total = 0 then 'C'
            when boundaries.drawn_on is null then {{ 'null' if equals == 'all' else "'C'" }}
            {%- for name in ['a', 'b'] %}
            when
                {{ rows }}.revenue_total > 0 and
                {%- if equals == 'all' %} {{ rows }}.revenue_total >= boundaries.class_{{ name }}
                {%- else %} (
                    {{ rows }}.revenue_total > boundaries.class_{{ name }}
                    or ({{ rows }}.revenue_total = boundaries.class_{{ name }} and {{ rows }}.client_id <= boundaries.class_{{ name }}_client)
                )
                {%- endif %}
                then '{{ name | upper }}'
            {%- endfor %}
            else 'C'
        end
{%- endmacro -%}

{#- Stage, class and fifths of a row as one number, null where there is no row: whatever changes, it does. -#}
{%- macro history_watched(rows, bands) -%}
        case
            when {{ rows }}.client_id is not null
                then 10000 * coalesce({{ stage_code(rows ~ '.lifecycle_stage') }}, 0)
                    + 1000 * case {{ rows }}.concentration_class when 'A' then 1 when 'B' then 2 when 'C' then 3 else 0 end
                {%- for band in bands %}
                    + {{ 10 ** loop.revindex0 }} * coalesce({{ rows }}.{{ band }}, 0)
                {%- endfor %}
        end
{%- endmacro -%}
