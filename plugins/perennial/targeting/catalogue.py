"""The names that a rule may use: published metrics of clients, and their scores."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perennial.core.yamlfile import read_yaml

Kind = Literal["number", "text", "date", "boolean"]

METRICS, CLIENTS, SCORES_TABLE = "client_metrics", "dim_clients", "client_scores"
SCORES = ("churn_risk", "value_90d")
_KEYS = frozenset({"client_id", "as_of_date", "namespace", "currency"})
_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (
        "number",
        ("decimal", "numeric", "double", "double precision", "float", "real", "bigint", "integer", "int", "smallint"),
    ),
    ("text", ("varchar", "text", "character varying")),
    ("date", ("date",)),
    ("boolean", ("boolean", "bool")),
)


@dataclass(frozen=True)
class Name:
    """A column that rules may use: what kind of value it holds and which published table has it."""

    kind: Kind
    table: str


Catalogue = Mapping[str, Name]


def catalogue_of(tables: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, Name]:
    """The names of the published tables (name -> columns with SQL types); a metric hides a client's column of its name.

    Keys are left out. Scores are names even on a day that has none: plan then refuses by `score_missing`.
    """
    names: dict[str, Name] = {score: Name("number", SCORES_TABLE) for score in SCORES}
    for table in (METRICS, CLIENTS):
        for column, sql_type in tables.get(table, ()):
            kind = kind_of(sql_type)
            if kind and column not in names and column not in _KEYS and not column.endswith("_key"):
                names[column] = Name(kind, table)
    return names


def contracted_tables(dbt_project_dir: Path) -> dict[str, list[tuple[str, str]]]:
    """The tables that rules read, as the dbt project contracts them: for checks before anything is published.

    Raises ConfigError when a file of the project is no YAML.
    """
    tables: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(dbt_project_dir.glob("models/marts/**/*.yml")):
        for model in (read_yaml(path).data or {}).get("models", ()):
            if model["name"] in (METRICS, CLIENTS):
                columns = model.get("columns", ())
                tables[model["name"]] = [(column["name"], str(column.get("data_type", ""))) for column in columns]
    return tables


def kind_of(sql_type: str) -> Kind | None:
    """What kind of value an SQL type holds; None for one that rules cannot use (timestamps, lists)."""
    base = sql_type.lower().partition("(")[0].strip()
    return next((kind for kind, types in _KINDS if base in types), None)


def nearest(word: str, words: Iterable[str]) -> str:
    """`did you mean a, b or c?` for a word that is not known, or an empty text."""
    near = difflib.get_close_matches(word, sorted(words), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""
