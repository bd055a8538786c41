"""What dbt says to BI tools speaks of tables and columns that there are."""

from __future__ import annotations

import re

import yaml

from factories.dbt_warehouse import PROJECT

REF = re.compile(r"ref\('(\w+)'\)")


def _read(name):
    return yaml.safe_load((PROJECT / "models" / "semantic" / name).read_text(encoding="utf-8"))


def _marts():
    files = PROJECT.glob("models/marts/**/*__models.yml")
    models = [model for path in files for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]]
    return {model["name"]: {column["name"] for column in model["columns"]} for model in models}


def test_exposures_stand_on_marts_and_have_an_owner():
    exposures = _read("_exposures.yml")["exposures"]
    assert len(exposures) >= 4
    for exposure in exposures:
        assert exposure["owner"]["name"], exposure["name"]
        assert exposure["description"].endswith("."), exposure["name"]
        named = [REF.fullmatch(reference) for reference in exposure["depends_on"]]
        assert all(named), exposure["name"]
        assert {found[1] for found in named if found} <= set(_marts()), exposure["name"]


def test_every_column_of_a_semantic_model_is_one_of_its_mart():
    marts = _marts()
    for model in _read("_semantic_models.yml")["semantic_models"]:
        columns = marts[REF.fullmatch(model["model"])[1]]
        asked = [
            part.get("expr", part["name"])
            for kind in ("entities", "dimensions", "measures")
            for part in model.get(kind, [])
        ]
        assert {column for column in asked if column != "1"} <= columns, model["name"]
        assert model.get("defaults", {}).get("agg_time_dimension", next(iter(columns))) in columns, model["name"]


def test_saved_queries_ask_for_metrics_and_dimensions_that_are_defined():
    said = _read("_semantic_models.yml")
    metrics = {metric["name"] for metric in said["metrics"]}
    measures = {m["name"] for model in said["semantic_models"] for m in model.get("measures", [])}
    dimensions = {"metric_time"}
    for model in said["semantic_models"]:
        keys = [model.get("primary_entity"), *(e["name"] for e in model.get("entities", []) if e["type"] == "primary")]
        dimensions |= {f"{key}__{d['name']}" for key in keys for d in model["dimensions"]}
    for metric in said["metrics"]:
        given = metric["type_params"]
        assert set(given.values()) <= (measures if metric["type"] == "simple" else metrics), metric["name"]
    for query in said["saved_queries"]:
        asked = query["query_params"]
        assert set(asked["metrics"]) <= metrics, query["name"]
        texts = [*asked["group_by"], *asked.get("where", [])]
        named = [found for text in texts for found in re.findall(r"Dimension\('(\w+)'", text)]
        assert len(named) == len(texts), query["name"]
        assert set(named) <= dimensions, query["name"]
