{#- CTEs that end in `boundaries`: one row per month end of `placed` (those with an order) with the least value of each
    fifth and the last client of the classes A and B. The same as `fifth` and `concentration_class` of client_ranks.sql
    for each client, but of counted values instead of all clients in order: few values stand between a million clients. -#}
{%- macro history_boundaries(bands) -%}
{%- for band, column in bands.items() %}
{{ band }}_values as (
    select
        as_of_date,
        {{ column }} as band_value,
        count(*) as clients
    from placed
    group by as_of_date, {{ column }}
),

{{ band }}_fifths as (
    select
        as_of_date,
        band_value,
        floor(
            5.0 * (sum(clients) over (partition by as_of_date order by band_value) - clients)
            / sum(clients) over (partition by as_of_date)
        ) + 1 as fifth
    from {{ band }}_values
),

{{ band }}_boundaries as (
    select
        as_of_date,
        {%- for number in [2, 3, 4, 5] %}
        min(case when fifth >= {{ number }} then band_value end) as {{ band }}_{{ number }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ band }}_fifths
    group by as_of_date
),

{% endfor -%}
{{ history_classes() }},

boundaries as (
    select
        rfm_recency_boundaries.as_of_date as drawn_on,
        {%- for band in bands %}
        {%- for number in [2, 3, 4, 5] %}
        {{ band }}_boundaries.{{ band }}_{{ number }},
        {%- endfor %}
        {%- endfor %}
        class_boundaries.class_a,
        class_boundaries.class_a_client,
        class_boundaries.class_b,
        class_boundaries.class_b_client
    from rfm_recency_boundaries
    inner join rfm_frequency_boundaries on rfm_recency_boundaries.as_of_date = rfm_frequency_boundaries.as_of_date
    inner join rfm_monetary_boundaries on rfm_recency_boundaries.as_of_date = rfm_monetary_boundaries.as_of_date
    left join class_boundaries on rfm_recency_boundaries.as_of_date = class_boundaries.as_of_date
)
{%- endmacro -%}

{#- CTEs that end in `class_boundaries`. Whole units of money are summed first; only the clients of the unit in which
    80 or 95 % are passed have to be put in order. -#}
{%- macro history_classes() -%}
revenue_units as (
    select
        as_of_date,
        floor(revenue_total) as whole_units,
        sum(revenue_total) as revenue
    from placed
    where revenue_total > 0
    group by as_of_date, floor(revenue_total)
),

revenue_curve as (
    select
        *,
        sum(revenue) over (partition by as_of_date order by whole_units desc) - revenue as of_larger,
        sum(revenue) over (partition by as_of_date) as of_all
    from revenue_units
),

shares (class_name, percent) as (
    values
    ('A', 80), ('B', 95)
),

passed as (
    select
        revenue_curve.*,
        shares.class_name,
        shares.percent
    from revenue_curve
    cross join shares
    where
        100 * revenue_curve.of_larger < shares.percent * revenue_curve.of_all
        and 100 * (revenue_curve.of_larger + revenue_curve.revenue) >= shares.percent * revenue_curve.of_all
),

near_boundaries as (
    select
        passed.as_of_date,
        passed.class_name,
        placed.client_id,
        placed.revenue_total,
        passed.percent * passed.of_all - 100 * (
            passed.of_larger
            + coalesce(sum(placed.revenue_total) over (
                partition by passed.as_of_date, passed.class_name
                order by placed.revenue_total desc, placed.client_id asc rows between unbounded preceding and 1 preceding
            ), 0)
        ) as is_left
    from passed
    inner join placed on passed.as_of_date = placed.as_of_date and passed.whole_units = floor(placed.revenue_total)
),

last_of_classes as (
    select
        *,
        row_number() over (partition by as_of_date, class_name order by revenue_total asc, client_id desc) as place
    from near_boundaries
    where is_left > 0
),

class_boundaries as (
    select
        as_of_date,
        {%- for name in ['A', 'B'] %}
        max(case when class_name = '{{ name }}' then revenue_total end) as class_{{ name | lower }},
        max(case when class_name = '{{ name }}' then client_id end) as class_{{ name | lower }}_client{{ ',' if not loop.last }}
        {%- endfor %}
    from last_of_classes
    where place = 1
    group by as_of_date
)
{%- endmacro -%}
