"""Each ready definition of an API against an example record of its vendor's documentation: what is mapped is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from factories.landing_zone import DAY, Zone
from factories.rest_api import Connections
from perennial.contracts.sources import SourceEntity
from perennial.core.connections import Connection
from perennial.core.settings import REPOSITORY
from perennial.pipeline.ingest import ingest
from perennial.sources.config import load_sources
from perennial.sources.fetching import Request
from perennial.sources.rest.definitions import DEFINITIONS, plan_of, ready_definitions
from perennial.sources.rest.paths import resolve
from perennial.sources.rest.records import split
from perennial.sources.rest.since import mark_of
from perennial.sources.rest.snippets import definition_table, example_source, example_yaml
from perennial.sources.rest.writing import key_of, line_of, tombstone

EXAMPLES = Path(__file__).parent / "api_examples"
NAMES = sorted(path.stem for path in DEFINITIONS.glob("*.yml"))
EXPECTED = ["amocrm", "bitrix24", "bottlecrm", "hubspot", "intercom", "pipedrive", "shopify", "woocommerce"]
WANTED = {
    "woocommerce": {"orders": "order_lines", "customers": "clients", "products": "products"},
    "shopify": {"orders": "order_lines", "customers": "clients", "products": "products"},
    "hubspot": {"contacts": "clients", "companies": "clients", "deals": "deals"},
    "pipedrive": {"persons": "clients", "organizations": "clients", "deals": "deals", "products": "products"},
    "bitrix24": {"contacts": "clients", "companies": "clients", "deals": "deals"},
    "amocrm": {"contacts": "clients", "companies": "clients", "leads": "deals"},
    "intercom": {"contacts": "clients"},
    "bottlecrm": {"contacts": "clients"},
}


def _example(name, resource):
    """The vendor's record, as the reader cuts it out of an answer."""
    example = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))[resource]
    _envelope, [record] = split(json.dumps([example["record"]]).encode(), "")
    return record


def _rows(line, entity):
    """Each row of a landed line, with what is above it under `../`."""
    if entity.format.row is None:
        return [line]
    return [item | {"..": line} for item in resolve(line, entity.format.row)]


def _is_there(row, path):
    above, _, inner = path.rpartition("../")
    value, steps = row[".."] if above or path.startswith("../") else row, inner.split(".")
    for step in steps[:-1]:
        value = value[step]
    return steps[-1] in value


@pytest.fixture(scope="module")
def definitions():
    return ready_definitions()


def test_the_definitions_are_those_that_the_documentation_names(definitions):
    assert list(definitions) == EXPECTED
    assert {name: {e: m.entity for e, m in one.entities.items()} for name, one in definitions.items()} == WANTED
    for one in definitions.values():
        assert one.documentation
        assert one.read_on
        assert one.connection
    assert {name: one.verified for name, one in definitions.items() if one.verified != "not tried"} == {
        "bottlecrm": "real server",
        "intercom": "specification",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_mapped_field_is_in_the_vendors_example(definitions, name):
    entities = {key: SourceEntity.model_validate(one) for key, one in example_source(name)[name]["entities"].items()}
    for key, entity in entities.items():
        endpoint = definitions[name].resources[definitions[name].entities[key].resource]
        record = _example(name, entity.rest.resource)
        assert key_of(record, endpoint)
        assert endpoint.incremental is None or mark_of(record, endpoint.incremental)
        rows = _rows(json.loads(line_of(record, endpoint)), entity)
        missing = [path for path in entity.source_columns for row in rows if not _is_there(row, path)]
        assert not missing, f"{name}.{key}"
        gone = _rows(json.loads(tombstone(key_of(record, endpoint), endpoint, entity)), entity)
        assert not [path for path in entity.source_columns for row in gone if not _is_there(row, path)]


def _land_examples(zone, definitions):
    for name, definition in definitions.items():
        for key, mapping in definition.entities.items():
            entity = load_sources(zone.settings).sources[name].entities[key]
            endpoint = definition.resources[mapping.resource]
            record = _example(name, mapping.resource)
            other = json.dumps([f"9{json.loads(key_of(record, endpoint))[0]}"])
            lines = [line_of(record, endpoint), tombstone(other, endpoint, entity)]
            zone.land(f"{name}/{key}_2026-11-22-00000000-abc.jsonl", "\n".join(lines) + "\n")


@pytest.mark.slow
def test_every_example_and_the_tombstone_of_another_come_through_the_ready_mapping_to_raw(tmp_path, definitions):
    def all_of_them(sources):
        sources.clear()
        for name in definitions:
            sources.update(example_source(name))
            sources[name]["settle_seconds"] = 0

    zone = Zone(tmp_path, all_of_them)
    _land_examples(zone, definitions)
    batches = ingest(zone.settings)
    assert len(batches) == sum(map(len, WANTED.values()))
    assert not [(batch.source, batch.reasons) for batch in batches if batch.state != "committed" or batch.quarantined]
    assert dict(zone.raw("deals", "deal_name, amount::varchar"))["Deal Title"] == "200.0000"
    lines = zone.raw("order_lines", "_source, client_key, amount::varchar, ordered_at::varchar, _deleted")
    assert sorted(line[:4] for line in lines if not line[4]) == [
        ("shopify", "207119551", "199.0000", "2008-01-10 16:00:00"),
        ("shopify", "207119551", "199.0000", "2008-01-10 16:00:00"),
        ("woocommerce", "26", "12.0000", "2017-03-22 19:28:02"),
        ("woocommerce", "26", "6.0000", "2017-03-22 19:28:02"),
    ]
    assert sorted(line[0] for line in lines if line[4]) == ["shopify", "woocommerce"]
    kinds = zone.raw("clients", "_source, client_kind, company_key, signed_up_on::varchar")
    assert ("hubspot", "company", None, "2021-02-01") in kinds
    assert ("bitrix24", None, "company-27", "2026-08-25") in kinds


def test_the_example_source_can_be_pasted_into_sources_yml():
    for name in NAMES:
        pasted = yaml.safe_load(f"version: 1\nsources:\n{example_yaml(name)}")
        assert pasted["sources"] == example_source(name)


def test_the_documentation_holds_the_table_of_definitions(definitions):
    text = (REPOSITORY / "docs/sources.md").read_text(encoding="utf-8")
    assert definition_table(definitions) in text, "put this into docs/sources.md:\n" + definition_table(definitions)


def test_the_api_of_the_cookbook_is_one_that_can_be_used(tmp_path):
    text = (REPOSITORY / "docs/cookbook.md").read_text(encoding="utf-8")
    shown = text.split("## ... API of a CRM or shop")[1].split("```yaml\n")[1].split("```")[0]

    def that_one(sources):
        sources.clear()
        sources.update(yaml.safe_load(f"sources:\n{shown}")["sources"])

    zone = Zone(tmp_path, that_one)
    source = load_sources(zone.settings).sources["desk"]
    store = Connections(Connection("desk", "http", host="desk.example.com", password="x"))
    request = Request("desk", source, "tickets", source.entities["tickets"], {}, tmp_path, tmp_path, DAY, store)
    plan = plan_of(request)
    assert plan.base_url == "https://desk.example.com/api/v2"
    assert plan.endpoint.key == ("id",)
