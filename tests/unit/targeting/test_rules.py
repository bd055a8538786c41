from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factories.published import AS_OF, MemorySession, client, shop_tables
from perennial.core.errors import ConfigError
from perennial.targeting.catalogue import catalogue_of
from perennial.targeting.rules import compile_rule, conjuncts

SESSION = MemorySession(
    shop_tables(
        [
            client("c1", revenue_365d="300.1000", recency_days=0, kids_count="2", has_phone=False),
            client("c2", revenue_365d="-5.0000", recency_days=None, kids_count=None, main_department_365d="O'DELI"),
        ]
    )
)
_FIFTHS = [(f"rfm_{name}", "BIGINT") for name in ("recency", "frequency", "monetary")]
CATALOGUE = catalogue_of(
    {
        **SESSION.tables(),
        "client_metrics": [*SESSION.tables()["client_metrics"], *_FIFTHS],
        "client_product_matrix": [("client_id", "VARCHAR"), ("product_line", "VARCHAR"), ("orders_180d", "BIGINT")],
        "client_lifecycle_events": [("client_id", "VARCHAR")],
    }
)


def rule(text: str, segments: tuple[str, ...] = ("best", "lost")):
    return compile_rule(text, catalogue=CATALOGUE, segments=segments, where="segments/shop.yml:4:where")


def who(text: str) -> list[str]:
    return who_of(rule(text))


def who_of(compiled) -> list[str]:
    needed = "".join(f", {sql} as {column}" for need in compiled.needs for column, sql in _columns(need).items())
    query = (
        f'select client_id from (select client_id, {compiled.sql} as holds from (select m.*, d.kids_count, d.has_phone, d.has_email, d.is_in_crm, true as "s__best", '
        f'false as "s__lost", 0.4 as churn_risk{needed} from client_metrics as m join dim_clients as d using (client_id)) '
        "as b) where holds order by 1"
    )
    day = {"as_of": AS_OF} if "$as_of" in compiled.sql else {}
    return SESSION.query(query, {**compiled.params, **day}).column("client_id").to_pylist()


def _columns(need):
    """What the scan joins: nobody bought anything, everyone is active since long, nobody was in a segment."""
    if need.kind == "category":
        return {need.column(): "false"}
    if need.kind == "stage":
        day = "date '2017-01-01'"
        return {need.column("now"): "'active'", need.column("before"): "'new'", need.column("since"): day}
    dates = dict.fromkeys((need.column("since"), need.column("left")), "cast(null as date)")
    return {**dates, need.column("in"): "false", need.column("watched"): "true"}


def mistakes(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        rule(text)
    assert all(problem.where == "segments/shop.yml:4:where" for problem in caught.value.problems)
    return [(problem.message, problem.fix) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("revenue_365d > 300.1", []),
        ("revenue_365d >= 300.1", ["c1"]),
        ("revenue_365d between -5 and 300", ["c2"]),
        ("revenue_365d not between -5 and 300", ["c1"]),
        ("recency_days is null", ["c2"]),
        ("recency_days is not null and not has_phone", ["c1"]),
        ("coalesce(recency_days, 999) > 100", ["c2"]),
        ("revenue_365d / recency_days > 0 or best", ["c1", "c2"]),
        ("revenue_365d / recency_days > 0", []),
        ("revenue_365d / 0 > 0", []),
        ("orders_90d / 2 = 2.5", ["c1", "c2"]),
        ("abs(revenue_365d) = 5", ["c2"]),
        ("greatest(revenue_365d, 0) = 0", ["c2"]),
        ("- revenue_365d = 5", ["c2"]),
        ("kids_count = '2'", ["c1"]),
        ("kids_count in ('1', '2')", ["c1"]),
        ("main_department_365d = 'O''DELI'", ["c2"]),
        ("recency_days in (0, -1)", ["c1"]),
        ("signed_up_on < '2016-01-01'", ["c1", "c2"]),
        ("signed_up_on between '2015-03-01' and '2015-03-01'", ["c1", "c2"]),
        ("best", ["c1", "c2"]),
        ("not best", []),
        ("has_phone is true or has_phone = false", ["c1", "c2"]),
        ("RECENCY_DAYS = 0 -- a remark", ["c1"]),
        ("true", ["c1", "c2"]),
        ("1 = 1", ["c1", "c2"]),
        ("client_id = 'c2'", ["c2"]),
        ("days_since(signed_up_on) = 945", ["c1", "c2"]),
        ("days_to_anniversary(signed_up_on) = 151", ["c1", "c2"]),
        ("anniversary(signed_up_on)", []),
        ("percentile(revenue_365d) >= 50", ["c1"]),
        ("quintile(revenue_365d) = 1", ["c2"]),
        ("top(1, revenue_365d)", ["c1"]),
        ("TOP(1, BY => revenue_365d, AMONG => revenue_365d < 0)", ["c2"]),
        ("bottom(5, recency_days)", ["c1"]),
        ("'DAIRY' in categories_180d", []),
        ("'DAIRY' not in (categories_180d)", ["c1", "c2"]),
        ("became('active', 365)", ["c1", "c2"]),
        ("became('active', 365, 'lost')", []),
        ("entered(best, 3)", ["c1", "c2"]),
        ("exited(lost, 3)", []),
        # What is not known is neither below nor above, and its opposite neither: people must say what they want.
        ("recency_days < 5", ["c1"]),
        ("not recency_days < 5", []),
        ("kids_count <> '2'", []),
        ("coalesce(kids_count, '') <> '2'", ["c2"]),
    ],
)
def test_a_rule_selects_the_clients_that_it_says(text, expected):
    assert who(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("revnue_365d > 3", "no metric, score or segment is called 'revnue_365d'", "did you mean revenue_365d"),
        ("bset", "no metric, score or segment is called 'bset'", "did you mean best"),
        ("revenue_365d > '300'", "revenue_365d is a number, but '300' is a text", "without quotes"),
        ("kids_count = 2", "kids_count is a text, but 2 is a number", "in quotes: '2'"),
        ("kids_count > '1'", "kids_count is a text, which has no order", "= or <>"),
        ("has_phone = 1", "has_phone is a boolean, but 1 is a number", "has_phone or not has_phone"),
        ("revenue_365d", "revenue_365d is a number, where a condition is needed", "revenue_365d = 300"),
        ("not recency_days", "recency_days is a number, where a condition is needed", "compare it"),
        ("kids_count + 1 > 2", "kids_count is a text, and cannot be calculated with", "coalesce"),
        ("signed_up_on > 'yesterday'", "'yesterday' is not a date", "YYYY-MM-DD"),
        ("lower(kids_count) = 'a'", "is not allowed in a rule", "coalesce, abs"),
        ("revenue_365d::int > 3", "is not allowed in a rule", "coalesce, abs"),
        ("sum(revenue_365d) > 3", "is not allowed in a rule", "coalesce, abs"),
        ("read_csv('/etc/passwd') is null", "is not allowed in a rule", "coalesce, abs"),
        ("current_date > signed_up_on", "is not allowed in a rule", "coalesce, abs"),
        ("revenue_365d > (select 1)", "a query or statement inside a rule", "one client only"),
        ("client_id in (select client_id from dim_clients)", "a query inside a rule", "list the values"),
        ("exists (select 1)", "a query or statement inside a rule", "one client only"),
        ("drop table dim_clients", "a query or statement inside a rule", "one client only"),
        ("best; drop table dim_clients", "more than one rule in one text", "a rule may use"),
        ("", "the rule is empty", "a rule may use"),
        ("   -- nothing", "the rule is empty", "a rule may use"),
        ("recency_days >", "not a rule", "a rule may use"),
        ("dim_clients.has_phone", "names a table", "write the name alone: has_phone"),
        ("recency_days in ()", "`in` needs a list of values", "in ('A', 'B')"),
        ("recency_days in (orders_90d)", "`in` needs a list of values", "in ('A', 'B')"),
        ("recency_days is 3", "`is` goes with null, true or false", "use ="),
        ("recency_days > 1e300", "the number 1e300 is too large", "below 1e15"),
        ("kids_count = 'a\x07'", "a text holds control characters", "remove"),
        ("(" * 300 + "best" + ")" * 300, "nested too deeply", "split it"),
        ("best and " * 400 + "best", "has more than 600 parts", "split it"),
        ("best" + " " * 5000, "longer than 4000 characters", "split it"),
        ("client_id > 'c1'", "client_id is a text, which has no order", "= or <>"),
        ("percentil(revenue_365d) > 3", "is not allowed in a rule", "did you mean percentile?"),
        ("percentile(kids_count) > 3", "kids_count is a text, and cannot be calculated with", "a rule may use"),
        ("percentile() > 3", "percentile needs value", "percentile(revenue_365d) >= 90"),
        ("percentile(percentile(revenue_365d)) > 3", "inside of another comparison", "a segment of its own"),
        ("top(10)", "top needs count, by", "top(100, by => revenue_365d)"),
        ("top(10, bi => revenue_365d)", "top takes count, by, among", "top(100, by => revenue_365d)"),
        ("top(1.5, revenue_365d)", "the number of top is '1.5'", "a whole number from 1"),
        ("top(revenue_365d, 3)", "the number of top is 'revenue_365d'", "a whole number"),
        ("became('at_rsk', 7)", "no stage is called 'at_rsk'", "did you mean at_risk?"),
        ("became(at_risk, 7)", "no stage is called at_risk", "in quotes"),
        ("became('at_risk', 0)", "the days of became is '0'", "from 1 to 3660"),
        ("entered(bset, 7)", "no segment is called 'bset'", "did you mean best?"),
        ("entered(recency_days, 7)", "no segment is called 'recency_days'", "config/segments"),
        ("days_since(revenue_365d) > 3", "days_since of revenue_365d, which is a number", "give it a date"),
        ("days_since(signed_up_on)", "is a number, where a condition is needed", "compare it"),
        ("'DAIRY' in categories_18d", "no set is called 'categories_18d'", "did you mean categories_180d?"),
        ("'DAIRY' in revenue_365d", "no set is called 'revenue_365d'", "categories_180d"),
        ("kids_count in categories_180d", "kids_count is no category", "a text in quotes"),
        ("categories_180d = 'DAIRY'", "categories_180d is a set of categories", "'GROCERY' in categories_180d"),
        ("rfm_at_least(4, 4, 6)", "the rfm_monetary of rfm_at_least is '6'", "from 1 to 5"),
        ("rfm_at_least(4, 4)", "rfm_at_least needs recency, frequency, monetary", "rfm_at_least(4, 4, 5)"),
    ],
)
def test_a_mistake_in_a_rule_is_told_with_its_fix(text, message, fix):
    [(found, remedy), *others] = mistakes(text)
    assert not others
    assert message in found
    assert fix in remedy


def test_every_mistake_of_a_rule_is_told_at_once():
    told = [message for message, _ in mistakes("revnue_365d > 3 and kids_count = 2 and upper(kids_count) = 'A'")]
    assert len(told) == 3


def test_keys_of_clients_are_no_names():
    assert {"client_id", "client_key", "as_of_date"}.isdisjoint(CATALOGUE)


def test_without_a_catalogue_only_the_language_is_checked():
    compiled = compile_rule("anything > 3 and other = 'x'", catalogue=None, segments=(), where="w")
    assert compiled.metrics == {"anything", "other"}
    with pytest.raises(ConfigError):
        compile_rule("random() > 3", catalogue=None, segments=(), where="w")


def test_a_rule_tells_which_metrics_and_segments_it_stands_on():
    compiled = rule("best and revenue_365d > 3 and not lost")
    assert (compiled.metrics, compiled.segments) == ({"revenue_365d"}, {"best", "lost"})


def test_a_rule_falls_into_the_terms_that_it_joins():
    assert conjuncts("best and (lost or revenue_365d > 3) and not has_phone") == [
        "best",
        "lost OR revenue_365d > 3",
        "NOT has_phone",
    ]


_WORDS = st.sampled_from(
    [
        "revenue_365d", "kids_count", "has_phone", "best", "signed_up_on", "and", "or", "not", "(", ")", "=", "<", ">", "<>", "in",
        "is", "null", "between", "+", "-", "*", "/", "coalesce(", "abs(", "greatest(", ",", "'x'", "'2017-01-01'", "1", "2.5", "--",
        ";", "select", "from", "dim_clients", "union", "drop table", "/*", "*/", "'", '"', "$p_0", "?", "::int", "\\", "\x00", "case",
        "percentile(", "quintile(", "top(", "by =>", "among =>", "became(", "'at_risk'", "entered(", "exited(", "days_since(",
        "days_to_anniversary(", "client_id", "categories_180d", "'O''DELI'", "7", "$as_of", "over", "order by", "filter",
    ]
)  # fmt: skip
_HOSTILE = (
    "'; drop table client_metrics; --",
    "x' or '1'='1",
    "x') or 1=1 --",
    "\\'; select 1; --",
    "$$; drop table x; $$",
    "E'\\x27'",
    "U&'\\0027'",
    "$as_of",
    "$s0_0",
    "cast($p_0 as varchar)",
    "n__0123456789abcdef",
    "\u2019 or 1=1",
    "%s",
    "{0}",
    "/* */",
    "'||(select version())||'",
    "pg_sleep(10)",
    "../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\u202edrop",
)
_SAFE_SQL = re.compile(
    r"^(cast\(\$(p_\d+|as_of) as (bigint|integer|double precision|varchar|date|boolean)\)|as double precision\)|as bigint\)|"
    r"as integer\)|as date\)|"
    r'"[a-z0-9_]+"|cast\(|nullif\(|coalesce\(|abs\(|greatest\(|least\(|floor\(|count\(|rank\(\)|row_number\(\)|extract\(|'
    r"year from|interval '1 year'|over|order by|nulls last|desc|asc|case|when|then|else|end|"
    r"and|or|not|in|is|null|true|false|between|100|20|0|1|[()+\-*/=<>, ])+$"
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_WORDS, max_size=14).map(" ".join) | st.text(max_size=60))
@example("kids_count = 'x'') or 1=1 --'")
@example("\"kids_count') or 1=1 --\" = 'x'")
def test_L23_nothing_that_a_person_wrote_reaches_the_sql(text):
    try:
        compiled = rule(text)
    except ConfigError as error:
        assert all(problem.message and problem.fix for problem in error.problems)  # noqa: PT017
        return
    assert _SAFE_SQL.match(compiled.sql), compiled.sql
    assert len(who(text)) <= 2


@pytest.mark.parametrize(
    "form",
    [
        "kids_count = {0}", "kids_count in ('a', {0})", "coalesce(kids_count, {0}) <> 'a'", "{0} in categories_180d",
        "client_id = {0}", "became({0}, 7)", "entered({0}, 7)", "signed_up_on = {0}", '"{1}" = 1', "{2}", "top({0}, recency_days)",
        "percentile({2}) > 1",
    ],
)  # fmt: skip
def test_L23_hostile_texts_are_values_or_mistakes_wherever_they_stand(form):
    read = 0
    for text in _HOSTILE:
        try:
            compiled = rule(form.format("'" + text.replace("'", "''") + "'", text.replace('"', '""'), text))
        except ConfigError as error:
            assert all(problem.message and problem.fix for problem in error.problems)  # noqa: PT017
            continue
        read += 1
        assert _SAFE_SQL.match(compiled.sql), compiled.sql
        if form.startswith(("kids", "coalesce", "client")):
            assert compiled.sql == rule(form.format("'harmless'")).sql
            assert text in compiled.params.values()
    if read:
        assert set(who_of(compiled)) <= {"c1", "c2"}
    assert SESSION.query("select count(*) as n from client_metrics").column("n")[0].as_py() == 2


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), max_size=20))
def test_L23_a_text_is_a_value_whatever_it_holds(text):
    compiled = rule("kids_count = '" + text.replace("'", "''") + "'")
    assert text in compiled.params.values()
    assert who("kids_count = '" + text.replace("'", "''") + "'") == (["c1"] if text == "2" else [])
