"""Pairs of records that share a value, and the first rule that makes them one client.

Rules, in order; a pair is joined by the first that holds, none holds where birth dates contradict. First names agree
where they are equal, nearly equal, a short form, or an initial that is nobody else's; one may be missing where the
birth date is equal and nobody else is known by the value:

| rule | the two share | and |
|---|---|---|
| tax_number | tax number | first names do not contradict, or the birth date is equal |
| card_number | loyalty card | first names agree |
| email_name | e-mail | first and last name agree |
| email_birth | e-mail | birth date, and first names do not contradict |
| company | tax number, e-mail or phone of companies | the company's name (not for the tax number) |
| two_keys | two of e-mail, phone, card | first names agree, or one is missing and nobody else is known by them |
| phone_name | phone | first and last name are the same, but for a typing error in one |
| phone_birth | phone | birth date, and first names agree, or one is missing and nobody else is known by the phone |
| name_birth_postcode | birth date, postcode | first and last name are the same |
| email_alone | e-mail | one has no name, and nobody else is known by the address |

The first five are proof: by them one source's own two ids may be one client. Role addresses join nobody; neither does a
value that more than `max_shared` records have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perennial.identity.scratch import Rules

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

RULES = (
    "decision",
    "tax_number",
    "card_number",
    "email_name",
    "email_birth",
    "company",
    "two_keys",
    "phone_name",
    "phone_birth",
    "name_birth_postcode",
    "email_alone",
)
PROOF = frozenset(RULES[:6])

FIRST_SQL = """
case
    when a.f_fold is null or b.f_fold is null then 'missing'
    when a.f_fold = b.f_fold or a.f_canon = b.f_canon then 'same'
    when a.f_fold = b.l_fold and a.l_fold = b.f_fold then 'same'
    when least(length(a.f_plain), length(b.f_plain)) = 1 then
        case when left(a.f_plain, 1) = left(b.f_plain, 1) then 'initial' else 'other' end
    when least(length(a.f_plain), length(b.f_plain)) >= 3
        and left(a.f_plain, 1) = left(b.f_plain, 1) and right(a.f_plain, 1) = right(b.f_plain, 1)
        and damerau_levenshtein(a.f_plain, b.f_plain) <= 1 then 'near'
    else 'other'
end
"""
LAST_SQL = """
case
    when a.l_fold is null or b.l_fold is null then 'missing'
    when a.l_fold = b.l_fold or (a.f_fold = b.l_fold and a.l_fold = b.f_fold) then 'same'
    when list_contains(string_split(a.l_plain, ' '), b.l_plain)
        or list_contains(string_split(b.l_plain, ' '), a.l_plain) then 'part'
    when least(length(a.l_plain), length(b.l_plain)) >= 5
        and a.l_stem <> b.l_stem and damerau_levenshtein(a.l_plain, b.l_plain) <= 1 then 'near'
    when a.l_stem = b.l_stem then 'family'
    else 'other'
end
"""
BIRTH_SQL = """
case
    when a.birth is null or b.birth is null then 'missing'
    when a.birth = b.birth then 'same'
    when damerau_levenshtein(cast(a.birth as varchar), cast(b.birth as varchar)) <= 1
        or (year(a.birth) = year(b.birth) and month(a.birth) = day(b.birth) and day(a.birth) = month(b.birth))
        or (month(a.birth) = month(b.birth) and day(a.birth) = day(b.birth)) then 'near'
    else 'other'
end
"""
# `is_alone`: at most one person is known by the value, so that a missing first name or an initial is hers.
_RULE_SQL = """
case
    when birth_is = 'other' then null
    when is_company then
        case
            when what = 'tax' then 1
            when what in ('email', 'phone') and same_company then 5
        end
    when what = 'tax' and (first_is <> 'other' or birth_is = 'same') then 1
    when what = 'card' and agrees and (first_is <> 'missing' or birth_is = 'same') then 2
    when what = 'email' and agrees and last_is in ('same', 'near', 'part', 'missing')
        and (first_is <> 'missing' or birth_is = 'same') then 3
    when what = 'email' and agrees and birth_is = 'same' then 4
    when agrees and keys >= 2 then 6
    when what = 'phone' and ((first_is = 'same' and last_is in ('same', 'near', 'part'))
        or (first_is = 'near' and last_is = 'same')) then 7
    when what = 'phone' and birth_is = 'same' and agrees then 8
    when what = 'born_at' and first_is = 'same' and last_is in ('same', 'near') then 9
    when what = 'email' and first_is = 'missing' and last_is in ('missing', 'same') and is_alone then 10
end
"""


def make_pairs(connection: Connection, rules: Rules) -> None:
    """Make `shared` (what, v, n records, known first names), `pairs` (all of one kind that share a value) and `e`.

    `e`: one row per joined pair (a < b) with the number of its rule in `RULES` and the value (what, v).
    """
    connection.execute(f"""
create temp table shared as
select k.what, k.v, count(distinct k.id) as n, bool_or(k.is_role) as is_role,
    count(distinct left(r.f_canon, 1) || right(r.f_canon, 1)) filter (where length(r.f_plain) > 1) as known_names
from k inner join r on r.id = k.id
group by k.what, k.v
having count(distinct k.id) > 1;
create temp table usable as select * from shared where n <= {int(rules.max_shared)};
create temp table pairs as
select x.id as a, y.id as b, s.what, s.v, s.known_names, s.is_role
from usable as s
inner join k as x on x.what = s.what and x.v = s.v
inner join k as y on y.what = s.what and y.v = s.v and y.id > x.id;
""")
    connection.execute(f"""
create temp table e as
with compared as (
    select p.a, p.b, p.what, p.v, p.known_names <= 1 as is_alone, a.origin = b.origin as same_origin,
        a.kind = 'company' as is_company,
        coalesce(a.company, a.l_fold) = coalesce(b.company, b.l_fold) as same_company,
        {FIRST_SQL} as first_is, {LAST_SQL} as last_is, {BIRTH_SQL} as birth_is
    from pairs as p
    inner join r as a on a.id = p.a
    inner join r as b on b.id = p.b
    where a.kind = b.kind and (not p.is_role or a.kind = 'company')
),
counted as (
    select *,
        first_is in ('same', 'near') or (first_is in ('initial', 'missing') and is_alone) as agrees,
        count(distinct what) filter (where what in ('email', 'phone', 'card')) over (partition by a, b) as keys
    from compared
),
ruled as (select a, b, what, v, same_origin, {_RULE_SQL} as rule from counted)
select a, b, cast(min(rule) as tinyint) as rule, arg_min(what, rule) as what, arg_min(v, rule) as v
from ruled
where rule is not null and (not same_origin or rule <= {len(PROOF) - 1})
group by a, b
""")
