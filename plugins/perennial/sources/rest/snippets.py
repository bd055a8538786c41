"""A ready definition as a source of config/sources.yml: its connection and its entities, ready to be pasted."""

from __future__ import annotations

from typing import Any

import yaml

from perennial.sources.rest.definitions import ready_definition
from perennial.sources.rest.model import Definition, Mapping


def example_source(name: str) -> dict[str, Any]:
    """The source of a ready definition, by its name. Raises ConfigError for an unknown one."""
    definition = ready_definition(name)
    sales = any(mapping.entity == "order_lines" for mapping in definition.entities.values())
    return {
        name: {
            "description": definition.title,
            "owner": "data-engineering",
            "dag": "ingest_sales" if sales else "ingest_crm",
            "namespace": name,
            "connection": {"kind": "rest", "id": name, "definition": name, "every_minutes": 60},
            "entities": {entity: _entity(name, entity, mapping) for entity, mapping in definition.entities.items()},
        }
    }


def example_yaml(name: str) -> str:
    """The same as text, to stand below `sources:`."""
    text = yaml.safe_dump(example_source(name), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return "".join(f"  {line}\n" for line in text.splitlines())


def definition_table(definitions: dict[str, Definition]) -> str:
    """The table of docs/sources.md: what is ready, and how far it was tried."""
    rows = ["| definition | resources | sign-in | verified | read on |", "|---|---|---|---|---|"]
    for name, one in definitions.items():
        resources = ", ".join(f"{key} ({mapping.entity})" for key, mapping in one.entities.items())
        links = ", ".join(f"[{number}]({link})" for number, link in enumerate(one.documentation, start=1))
        kind = one.auth.kind.replace("_", " ")
        rows.append(f"| `{name}` {one.title} {links} | {resources} | {kind} | {one.verified} | {one.read_on} |")
    return "\n".join(rows) + "\n"


def _entity(source: str, name: str, mapping: Mapping) -> dict[str, Any]:
    entity: dict[str, Any] = {
        "entity": mapping.entity,
        "path": f"{source}/{name}_{{date}}*.jsonl",
        "business_date": mapping.business_date,
        "cadence": "on_change",
        "format": {"type": "jsonl", **mapping.format},
        "rest": {"resource": mapping.resource},
        "columns": dict(mapping.columns),
    }
    optional = {
        "version": mapping.version,
        "deleted": mapping.deleted,
        "default_line_kind": mapping.default_line_kind,
        "constants": mapping.constants or None,
    }
    return entity | {key: value for key, value in optional.items() if value is not None}
