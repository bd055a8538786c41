-- Over every window and life, to the cent: what clients and guests brought together is what the days brought.
{% set measured = ['revenue', 'margin', 'discount', 'units', 'orders'] %}
{% set spans = {} %}
{% for days in metric_windows() %}{% do spans.update({days ~ 'd': days}) %}{% endfor %}
with

guests as (
    select
        ordered_on,
        revenue,
        coalesce(margin, 0) as margin,
        discount,
        units,
        case when counts_as_order then 1 else 0 end as orders
    from {{ ref('fct_orders') }}
    where client_id is null
),

days as (
    select * from {{ ref('kpi_daily') }}
),

figures as (
    {%- for span, days in spans.items() | list + [('total', 200000)] %}
    {%- set outer_loop = loop %}
    {%- for name in measured %}
    select
        '{{ name }}_{{ span }}' as figure,
        (select coalesce(sum({{ name }}_{{ span }}), 0) from {{ ref('client_metrics') }}) as of_clients,
        (
            select coalesce(sum({{ name }}), 0) from guests
            where ordered_on > {{ as_of() }} - {{ days }}
        ) as of_guests,
        (
            select coalesce(sum({{ name }}), 0) from days
            where business_date > {{ as_of() }} - {{ days }}
        ) as of_days
    {{- ' union all' if not (loop.last and outer_loop.last) }}
    {%- endfor %}
    {%- endfor %}
)

select * from figures
where of_clients + of_guests <> of_days
