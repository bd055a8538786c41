select
    ordered_on,
    count(*) as lines
from {{ ref('fct_order_lines') }}
where ordered_on > {{ as_of() }}
group by ordered_on
