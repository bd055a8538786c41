{#- What client_metrics_history is made of. A client's figures change on few days: when she orders, when an order leaves a
    window or is cancelled, when her stage changes. `history_states` gives one row per client and such day, whose values
    stand until her next one; month ends are looked up in it, and the days between are its rows themselves. A CHANGE
    begins with the rows of the last month end before the first month that is due, and reads no more of the facts than
    what came, left or was cancelled since. -#}

{#- Sums of int_client_days that are kept over 90 days, 365 days and life, beside the orders. -#}
{%- macro history_sums() -%}
    {{ return(['revenue', 'margin']) }}
{%- endmacro -%}

{#- The columns that hold them, orders first. -#}
{%- macro history_counters() -%}
    {%- set counters = [] -%}
    {%- for name in ['orders'] + history_sums() -%}
        {%- for span in ['90d', '365d', 'total'] %}{% do counters.append(name ~ '_' ~ span) %}{% endfor -%}
    {%- endfor -%}
    {{ return(counters) }}
{%- endmacro -%}

{#- The first day of a day's month. -#}
{%- macro month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro -%}

{#- How many months later than the first day's month the second day's is. -#}
{%- macro months_between(first, second) -%}
    cast(
        12 * (extract(year from {{ second }}) - extract(year from {{ first }}))
        + extract(month from {{ second }}) - extract(month from {{ first }})
        as integer
    )
{%- endmacro -%}

{#- The first day of the first month that is kept. -#}
{%- macro history_starts() -%}
    cast({{ month_of(as_of()) }} - interval '{{ var('history_months') | int }} months' as date)
{%- endmacro -%}

{#- The history as the last complete build left it: the model itself, for models that come before it. -#}
{%- macro last_history() -%}
    {{ return(api.Relation.create(
        database=target.database, schema=generate_schema_name('marts', model), identifier='client_metrics_history'
    )) }}
{%- endmacro -%}

{#- SQL of the last month end before the first month that is due, if a CHANGE can begin with its rows; else none. -#}
{%- macro history_base() -%}
    {%- set due = ref('int_months_changed') -%}
    {%- if is_change() and execute -%}
        {%- set query -%}
            select max(as_of_date) from {{ this }}
            where row_kind = 'month_end' and as_of_date = (select min(month) from {{ due }} where month >= {{ history_starts() }}) - 1
        {%- endset -%}
        {%- set found = run_query(query).rows[0][0] -%}
        {{ return(date_literal((found | string)[:10]) if found else none) }}
    {%- endif -%}
    {{ return(none) }}
{%- endmacro -%}

{#- CTE `base`: the rows of that month end; last_order, packed, says until when the latest order stands. -#}
{%- macro history_base_rows(base_on) -%}
base_cancelled as (
    select
        client_id,
        ordered_on,
        max(coalesce(voided_on, {{ far_day() }})) as stands_until
    from {{ ref('int_client_days') }}
    where ordered_on <= {{ base_on }} and orders > 0 and (voided_on is null or voided_on > ordered_on)
    group by client_id, ordered_on
    having max(coalesce(voided_on, {{ far_day() }})) < {{ far_day() }}
),

base as (
    select
        history.*,
        {{ packed(day_number('history.last_order_on'), day_number('coalesce(cancelled.stands_until, ' ~ far_day() ~ ')'), 10000000) }}
            as last_order
    from {{ this }} as history
    left join base_cancelled as cancelled
        on history.client_id = cancelled.client_id and history.last_order_on = cancelled.ordered_on
    where history.row_kind = 'month_end' and history.as_of_date = {{ base_on }}
)
{%- endmacro -%}

{#- (month, ends_on) of every month that is over, from the one before the first that is kept on: the days that follow are
    compared with its boundaries. -#}
{%- macro history_month_ends() -%}
    select
        cast(series.day as date) as month,
        cast(cast(series.day as date) + interval '1 month' as date) - 1 as ends_on
    from (
        select cast(greatest(min({{ month_of('state_on') }}), cast({{ history_starts() }} - interval '1 month' as date)) as timestamp) as first_day
        from states
    ) as bounds
    cross join generate_series(
        bounds.first_day, cast({{ as_of() }} - 27 as timestamp), interval '1 month'
    ) as series (day)
    where cast(cast(series.day as date) + interval '1 month' as date) - 1 <= {{ as_of() }}
{%- endmacro -%}

{#- The columns of client_metrics_history from a relation of them. -#}
{%- macro history_rows(relation, row_kind) -%}
    select
        client_id,
        as_of_date,
        month,
        cast('{{ row_kind }}' as {{ dbt.type_string() }}) as row_kind,
        known_since,
        lifecycle_stage,
        stage_entered_on,
        cast(as_of_date - stage_entered_on as bigint) as days_in_stage,
        concentration_class,
        cast(rfm_recency as bigint) as rfm_recency,
        cast(rfm_frequency as bigint) as rfm_frequency,
        cast(rfm_monetary as bigint) as rfm_monetary,
        last_order_on,
        cast(as_of_date - last_order_on as bigint) as recency_days,
        {{ history_counters() | join(',\n        ') }},
        {{ currency() }} as currency
    from {{ relation }}
{%- endmacro -%}
