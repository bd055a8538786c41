"""Past one machine: every model and test is rendered as for Spark, and is Spark SQL to sqlglot.

dbt-spark is not installed: dbt compiles with the adapter of the embedded engine, and `adapter.dispatch` of our macros is led
to `spark__`, else `default__`. So what is proven is that nothing but dispatched macros stands between a model and Spark.
"""

from __future__ import annotations

import re
import shutil

import pytest
import sqlglot
from sqlglot import exp

from factories.dbt_warehouse import PROJECT, Warehouse
from perennial.core.settings import REPOSITORY

AS_OF = "2017-10-01"
# Functions that sqlglot leaves as they are, and that Spark 3.5 has by that name.
SPARK_KNOWS = {"div", "make_date", "named_struct", "struct", "width_bucket", "xxhash64"}
# dbt-spark calls these types by another name; what our own SQL casts to has to be Spark's, or standard.
TYPES = {
    "BIGINT",
    "BOOLEAN",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "INT",
    "STRING",
    "TEXT",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "VARCHAR",
}


@pytest.fixture(scope="module")
def rendered(parsed, tmp_path_factory):
    """The SQL of every model and test, by name, as Spark would get it."""
    from dbt.context.providers import BaseDatabaseWrapper

    dispatch = BaseDatabaseWrapper.dispatch

    def for_spark(self, name, macro_namespace=None, packages=None):
        if macro_namespace != "perennial":
            return dispatch(self, name, macro_namespace, packages)
        own = (self._namespace.get_from_package("perennial", f"{engine}__{name}") for engine in ("spark", "default"))
        return next(macro for macro in own if macro is not None)

    folder = tmp_path_factory.mktemp("spark")
    if (parsed / "partial_parse.msgpack").exists():
        shutil.copy(parsed / "partial_parse.msgpack", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "dispatch", for_spark)
        statuses = Warehouse(folder / "build.duckdb", folder).dbt("compile", AS_OF)
    assert set(statuses.values()) == {"success"}
    return {
        path.stem: path.read_text() for path in (folder / "compiled").rglob("*.sql") if "unit_tests" not in path.parts
    }


def test_every_model_is_spark_sql(rendered):
    models = {path.stem for path in PROJECT.glob("models/**/*.sql")} - {"client_labels"}
    assert models <= set(rendered)
    for name, sql in rendered.items():
        tree = sqlglot.parse_one(sql, read="spark")
        called = {call.name.lower() for call in tree.find_all(exp.Anonymous)} - SPARK_KNOWS
        assert not called, (
            f"{name}: Spark has no function {called}; put it into a dispatched macro (macros/engines.sql)"
        )
        cast = {call.to.this.name for call in tree.find_all(exp.Cast) if isinstance(call.to.this, exp.DataType.Type)}
        assert cast <= TYPES, f"{name}: Spark has no type {cast - TYPES}; use dbt.type_... or a dispatched macro"


def test_nothing_that_one_engine_alone_has_is_left_in_what_spark_gets(rendered):
    only = re.compile(r"\b(qualify|group by all|lateral join|strptime|at time zone)\b|::")
    for name, sql in rendered.items():
        found = only.search(re.sub(r"'[^']*'|--[^\n]*", "", sql.lower()))
        assert not found, (
            f"{name}: {found.group() if found else ''}: put it into a dispatched macro (macros/engines.sql)"
        )


def dispatched():
    """Every dispatched macro and the engines that have one of their own."""
    text = "\n".join(path.read_text() for path in PROJECT.glob("macros/*.sql"))
    names = set(re.findall(r"adapter\.dispatch\('(\w+)', 'perennial'\)", text))
    engines = {name: sorted(re.findall(rf"macro (\w+?)__{name}\(", text)) for name in names}
    return {name: ", ".join(found) for name, found in engines.items()}


def test_the_documentation_lists_what_differs_between_engines():
    text = (REPOSITORY / "docs/warehouse.md").read_text(encoding="utf-8")
    section = text.split("## Past one machine", 1)[1].split("\n## ", 1)[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \|", section, flags=re.MULTILINE))
    assert listed == dispatched(), (
        "write each dispatched macro and its engines into docs/warehouse.md, Past one machine"
    )
