"""What the house asks of the dbt project, read from its files."""

from __future__ import annotations

import re
import statistics

import pytest
import sqlglot
import yaml

from factories.dbt_warehouse import PROJECT
from perennial.core.settings import REPOSITORY, load_settings
from perennial.pipeline.metric_docs import COMMAND, render
from perennial.scoring.features import SPOKEN

MODELS = sorted(PROJECT.glob("models/**/*.sql"))
MARTS = {
    model["name"]: model
    for path in PROJECT.glob("models/marts/**/*__models.yml")
    for model in yaml.safe_load(path.read_text())["models"]
}


def test_every_mart_has_a_contract_a_grain_a_key_an_owner_and_a_unit_for_every_column():
    assert set(MARTS) == {path.stem for path in MODELS if "marts" in path.parts}
    for name, model in MARTS.items():
        config = model["config"]
        assert config["contract"]["enforced"], name
        assert model["description"].startswith("One row per "), name
        assert config["meta"]["owner"], name
        columns = {column["name"]: column for column in model["columns"]}
        assert set(config["meta"]["key"]) <= set(columns), name
        tests = {next(iter(test)): next(iter(test.values())) for test in model["data_tests"]}
        assert set(tests["valid_rows"]["arguments"]["key"]) <= set(columns), name
        for column in columns.values():
            assert len(column["description"]) > 8, column
            assert column["description"].endswith("."), column
            assert column["config"]["meta"]["unit"], column
            assert column["data_type"], column


def test_at_least_25_metrics_per_client_are_described():
    keys = {"client_id", "as_of_date", "currency"}
    assert len([c for c in MARTS["client_metrics"]["columns"] if c["name"] not in keys]) >= 25


def test_features_are_keys_numbers_and_the_names_that_reasons_say():
    types = {column["name"]: column["data_type"] for column in MARTS["client_features"]["columns"]}
    assert [types.pop(name) for name in SPOKEN] == ["text"]
    assert [types.pop(name) for name in ("client_id", "as_of_date")] == ["text", "date"]
    assert set(types.values()) == {"bigint", "double precision"}


def test_the_contracts_describe_the_windows_of_the_settings():
    windows = load_settings({}).windows
    for model, days in (
        ("client_metrics", windows.metrics),
        ("client_features", (*windows.metrics, *windows.features)),
    ):
        described = {column["name"] for column in MARTS[model]["columns"]}
        assert {f"{measure}_{n}d" for measure in ("orders", "revenue") for n in days} <= described, model


def test_the_metric_dictionary_is_the_one_beside_the_models():
    committed = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert committed == render(PROJECT), f"run: {COMMAND}"


def test_models_are_short_and_macros_too():
    lengths = {path.name: len(path.read_text().splitlines()) for path in MODELS}
    macros = {path.name: len(path.read_text().splitlines()) for path in PROJECT.glob("macros/*.sql")}
    assert statistics.median(lengths.values()) <= 50, lengths
    assert {name: n for name, n in {**lengths, **macros}.items() if n > 150} == {}


@pytest.mark.parametrize(
    "path", [*MODELS, *PROJECT.glob("tests/**/*.sql"), *PROJECT.glob("macros/*.sql")], ids=lambda p: p.stem
)
def test_L2_no_sql_reads_the_clock_or_chance(path):
    text = path.read_text().lower()
    assert not re.search(r"\b(now\s*\(|current_date|current_timestamp|getdate|random\s*\(|gen_random)", text)


def test_compiled_models_are_sql_that_postgres_reads_too(built):
    compiled = [path for path in (built.target / "compiled").rglob("*.sql") if "unit_tests" not in str(path)]
    assert len(compiled) >= 25
    duckdb_only = re.compile(
        r"\b(qualify|exclude|list_(?!price)\w+|struct_pack|arg_max|any_value|group by all|order by all)\b|//"
    )
    for path in compiled:
        sql = re.sub(r"--.*", "", path.read_text().lower())
        assert not duckdb_only.search(sql), path.name
        assert sqlglot.parse_one(sql, read="postgres"), path.name
