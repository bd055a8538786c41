{#- Fails with each combination of the columns that stands in more than one row. `units` and `zone` as in a model's meta
    (macros/incremental.sql): in a CHANGE only the rows of changed units are looked at, the others were when they came. -#}
{% test unique_combination(model, columns, units={}, zone=none) %}
select
    {{ columns | join(', ') }},
    count(*) as rows_of_key
from {{ model }}
where {{ is_changed_row(units, zone) }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
