{#- How clients compare with each other on one date, defined once for client_metrics and client_metrics_history (L3). -#}

{#- The fifth of the rows in which the value lies, 1 the lowest; equal values share the lower fifth. `per` compares
    within each value of a column. -#}
{%- macro fifth(column, per=none) -%}
    {%- set part = 'partition by %s' % per if per else '' -%}
    cast(floor(5.0 * (rank() over ({{ part }} order by {{ column }}) - 1) / count(*) over ({{ part }})) + 1 as bigint)
{%- endmacro -%}

{#- What the clients with more revenue bring together; of equals the smaller client_id comes first. -#}
{%- macro revenue_of_larger(per=none) -%}
    sum(greatest(revenue_total, 0)) over (
        {{ 'partition by %s' % per if per else '' }}
        order by revenue_total desc, client_id asc rows between unbounded preceding and 1 preceding
    )
{%- endmacro -%}

{#- The class on the concentration curve: A carries the first 80 % of what clients bring, B the next 15 %, C the rest. -#}
{%- macro concentration_class(of_larger, of_all) -%}
    case
        when revenue_total > 0 and 100 * coalesce({{ of_larger }}, 0) < 80 * {{ of_all }} then 'A'
        when revenue_total > 0 and 100 * coalesce({{ of_larger }}, 0) < 95 * {{ of_all }} then 'B'
        else 'C'
    end
{%- endmacro -%}
