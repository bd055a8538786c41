"""The names that a rule may use: published metrics of clients, their scores, and what they bought as sets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from perennial.contracts.scores import DECLARED_SCORES, REASONS_OF, RESPONSE_PREFIX
from perennial.core.yamlfile import read_yaml

Kind = Literal["number", "text", "date", "boolean"]
Tables = Mapping[str, Sequence[tuple[str, str]]]

METRICS, CLIENTS, SCORES_TABLE = "client_metrics", "dim_clients", "client_scores"
LINES, STAGES, ALIASES = "client_product_matrix", "client_lifecycle_events", "client_aliases"
SCORES = ("churn_risk", "value_90d")  # what planning itself reads; rules may name every score of the catalogue
LIFECYCLE_STAGES = ("lead", "new", "active", "growing", "cooling", "at_risk", "lost", "won_back")
_ORDERS = re.compile(r"orders_(\d+d|total)")
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


@dataclass(frozen=True)
class Catalogue(Mapping[str, Name]):
    """The names by themselves, and what stands beside them.

    `sets`: names of sets of categories (`categories_180d`) with the column of client_product_matrix that is above zero
    for what is in the set. `has_stages`: whether changes of lifecycle stage are published.
    """

    names: Mapping[str, Name]
    sets: Mapping[str, str] = field(default_factory=dict)
    has_stages: bool = False

    def __getitem__(self, name: str) -> Name:
        return self.names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def scores(self) -> tuple[str, ...]:
        """The names that are scores, in order."""
        found = (name for name, known in self.names.items() if known.table == SCORES_TABLE and name not in REASONS_OF)
        return tuple(sorted(found))

    def with_responses(self, campaigns: Iterable[str]) -> Catalogue:
        """With the score of each campaign's response, which is there once it has been learned."""
        more = {RESPONSE_PREFIX + campaign: Name("number", SCORES_TABLE) for campaign in campaigns}
        return replace(self, names={**more, **self.names})


def catalogue_of(tables: Tables, scores: Iterable[str] = DECLARED_SCORES) -> Catalogue:
    """The names of the published tables (name -> columns with SQL types); a metric hides a client's column of its name.

    Keys are left out. `scores` are names even on a day that has none: plan then refuses by `score_missing`.
    """
    names: dict[str, Name] = {score: Name("number", SCORES_TABLE) for score in scores}
    names |= {reason: Name("text", SCORES_TABLE) for reason, score in REASONS_OF.items() if score in names}
    for table in (METRICS, CLIENTS):
        for column, sql_type in tables.get(table, ()):
            kind = kind_of(sql_type)
            if kind and column not in names and column not in _KEYS and not column.endswith("_key"):
                names[column] = Name(kind, table)
    orders = (_ORDERS.fullmatch(column) for column, _ in tables.get(LINES, ()))
    sets = {f"categories_{found.group(1)}": found.group(0) for found in orders if found}
    return Catalogue(names, sets, STAGES in tables)


def contracted_tables(dbt_project_dir: Path) -> dict[str, list[tuple[str, str]]]:
    """The tables that rules read, as the dbt project contracts them: for checks before anything is published.

    Raises ConfigError when a file of the project is no YAML.
    """
    tables: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(dbt_project_dir.glob("models/marts/**/*.yml")):
        for model in (read_yaml(path).data or {}).get("models", ()):
            if model["name"] in (METRICS, CLIENTS, LINES, STAGES):
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
