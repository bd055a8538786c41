"""The rules of the house for the shape of the dbt project, as errors that say what to do.

They are those of dbt-project-evaluator that hold here, in our own words, read from dbt's own manifest. Who stands on a list
of exceptions has a reason beside it, and goes from the list when the reason is gone.
"""

from __future__ import annotations

import re

import pytest

from factories.dbt_warehouse import _manifest

LAYERS = ("staging", "intermediate", "marts", "private")
# Models beside staging that read `raw` themselves: what they read is our own record (the ledger, the map of identity,
# what changed), which has no source's spelling to be cleaned of; contacts alone may see addresses.
READS_RAW = {
    "client_aliases", "client_groups", "contacts", "fct_campaign_contacts", "fct_communications",
    "fct_delivery_rejects", "int_clients_identified",
}  # fmt: skip
OWN_RECORDS = re.compile(r"ledger_\w+|identity_map(_built)?|\w+_changed")
# Sources that two models read in different ways: every version of a deal beside the last one; addresses apart.
READ_TWICE = {"clients", "deals"}
NAMES = {
    "staging": re.compile(r"stg_(?P<area>[a-z]+)__[a-z_]+"),
    "intermediate": re.compile(r"int_[a-z]+_[a-z_]+"),
    "marts": re.compile(r"(dim|fct)_[a-z_]+|client_[a-z_]+|(kpi|category|cohort)_[a-z_]+|concentration"),
    "private": re.compile(r"[a-z_]+"),
}
MOST_VIEWS = 4  # in a row: a reader of the last one computes all of them
MOST_LEAVES = 8


@pytest.fixture(scope="module")
def manifest(parsed, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_BUILD_DB", str(tmp_path_factory.mktemp("house") / "build.duckdb"))
        return _manifest(parsed, training=False)


@pytest.fixture(scope="module")
def models(manifest):
    return {key: node for key, node in manifest.nodes.items() if str(node.resource_type) == "model"}


def layer(node):
    return node.fqn[1]


def parents(models, node):
    return [models[key] for key in node.depends_on.nodes if key in models]


def sources(manifest, node):
    return [manifest.sources[key].name for key in node.depends_on.nodes if key in manifest.sources]


def children(models):
    read = {}
    for node in models.values():
        for key in node.depends_on.nodes:
            read.setdefault(key, []).append(node)
    return read


def own_records(manifest, node):
    """Whether all that the model reads of `raw` is what changed in this build, which only such models read."""
    return all(name.endswith("_changed") for name in sources(manifest, node))


def test_every_model_stands_in_a_layer_and_is_called_as_its_folder_says(models):
    for node in models.values():
        assert layer(node) in LAYERS, f"{node.original_file_path}: move it below models/{{{','.join(LAYERS)}}}/"
        named = NAMES[layer(node)].fullmatch(node.name)
        assert named, f"{node.original_file_path}: rename it, in {layer(node)} names are {NAMES[layer(node)].pattern}"
        area = named.groupdict().get("area")
        assert area in {None, node.fqn[2]}, f"{node.original_file_path}: move it to staging/{area}/ or rename it"
        assert node.name == node.alias, f"{node.name}: drop its alias, a model and its table are called alike"


def test_staging_reads_sources_alone_and_only_staging_reads_what_a_source_delivered(manifest, models):
    strangers = set()
    for node in models.values():
        if layer(node) == "staging":
            read = [parent.name for parent in parents(models, node)]
            assert not read, f"{node.name}: staging cleans one source; join {read} in an intermediate model"
            assert len(sources(manifest, node)) == 1, f"{node.name}: read one source, and join in an intermediate model"
        elif sources(manifest, node) and not own_records(manifest, node):
            strangers.add(node.name)
            said = f"{node.name}: read the staging model of {sources(manifest, node)}, not the source itself"
            assert node.name in READS_RAW, said
    assert strangers == READS_RAW, "take from READS_RAW who no longer reads a source"


def test_no_model_joins_what_a_source_delivered_with_a_model(manifest, models):
    for node in models.values():
        delivered = [name for name in sources(manifest, node) if not OWN_RECORDS.fullmatch(name)]
        both = delivered and parents(models, node)
        said = f"{node.name}: make a staging model of {delivered} and join that; a source is cleaned in one place"
        assert not both or layer(node) == "private", said


def test_every_source_is_described_read_in_one_place_and_declared_once(manifest, models):
    read = children(models)
    relations = [(source.schema, source.identifier) for source in manifest.sources.values()]
    assert len(relations) == len(set(relations)), "two sources are the same table: declare it once"
    for key, source in manifest.sources.items():
        assert source.description, f"source {source.name}: say in sources.yml what a row is"
        if OWN_RECORDS.fullmatch(source.name):
            continue
        names = sorted(node.name for node in read.get(key, []))
        assert names, f"source {source.name}: nobody reads it; make a staging model, or take it out of sources.yml"
        said = f"source {source.name}: {names} read it; let one staging model read it and the others that model"
        assert len(names) == 1 or source.name in READ_TWICE, said


def test_layers_are_read_downwards(models):
    for node in models.values():
        for parent in parents(models, node):
            where = f"{node.name} reads {parent.name}"
            said = f"{where}: a client's table is the end of the line; put what both need into an intermediate model"
            # Lists of what changed follow what was built, whatever that is; they hold keys and dates alone.
            is_core = parent.name.startswith(("dim_", "fct_")) or node.name.endswith(("_changed", "_due"))
            assert layer(node) != "intermediate" or layer(parent) != "marts" or is_core, said
            said = f"{where}: what holds addresses is read by delivery alone (L22)"
            assert layer(parent) != "private" or layer(node) == "private", said


def test_nothing_but_a_list_of_dates_or_of_changes_comes_from_nowhere(manifest, models):
    for node in models.values():
        said = f"{node.name}: it reads no ref and no source; name what it is made from, or where dates come from"
        assert node.depends_on.nodes or node.name == "dim_dates" or "is_change" in node.raw_code, said


HARD = re.compile(r"\b(?:from|join)\s+(\"?[a-z_][a-z0-9_]*\"?\s*\.\s*\"?[a-z_][a-z0-9_]*\"?)(?!\s*\()", re.IGNORECASE)


def hard_references(sql):
    bare = re.sub(r"{#.*?#}|--[^\n]*|extract\s*\([^()]*\)|distinct\s+from", " ", sql, flags=re.DOTALL)
    return HARD.findall(re.sub(r"{{.*?}}|{%.*?%}", " x ", bare, flags=re.DOTALL))


def test_no_sql_names_a_table_by_hand(manifest, models):
    singular = [n for n in manifest.nodes.values() if str(n.resource_type) == "test" and n.raw_code]
    for node in [*models.values(), *singular]:
        found = hard_references(node.raw_code)
        assert not found, f"{node.name}: write ref() or source() for {found}, else dbt neither orders nor renames it"
    assert hard_references('select 1 from raw.lines join "marts"."x"') == ["raw.lines", '"marts"."x"']
    assert hard_references("select extract(day from a.b) from {{ ref('x') }} as y -- from raw.z") == []


def views_in_a_row(models, node):
    if node.config.materialized != "view":
        return 0
    return 1 + max((views_in_a_row(models, parent) for parent in parents(models, node)), default=0)


def test_views_do_not_stand_on_views_on_views(models):
    for node in models.values():
        depth = views_in_a_row(models, node)
        assert depth <= MOST_VIEWS, f"{node.name}: {depth} views in a row; make one of them a table or ephemeral"


def test_no_model_is_rejoined_with_what_only_it_was_made_from(models):
    read = children(models)
    for key, first in models.items():
        below = {node.unique_id for node in read.get(key, [])}
        for middle in read.get(key, []):
            only = read.get(middle.unique_id, [])
            loops = len(only) == 1 and parents(models, middle) == [first] and only[0].unique_id in below
            said = (
                f"{only[0].name if only else ''}: joins {first.name} with {middle.name}, made from it alone: one query"
            )
            assert not loops or middle.config.materialized != "view", said


def test_no_table_is_fanned_out_into_marts_that_nobody_reads_on(models):
    read = children(models)
    for key, node in models.items():
        leaves = sorted(child.name for child in read.get(key, []) if not read.get(child.unique_id))
        said = f"{node.name}: {leaves} stand on it side by side; could a dashboard compute some of them from one?"
        assert len(leaves) <= MOST_LEAVES, said


def test_what_staging_and_intermediate_make_is_read(models):
    read = children(models)
    for key, node in models.items():
        said = f"{node.name}: nobody reads it; remove it, or make a mart of it"
        assert layer(node) in {"marts", "private"} or read.get(key), said


def test_every_model_says_what_a_row_is(models):
    for node in models.values():
        told = node.description or node.raw_code.lstrip()
        comment = re.sub(r"{{.*?}}|{#-?|-- ?", "", told, flags=re.DOTALL).lstrip()
        assert comment, node.name
        is_mart = layer(node) in {"marts", "private"}
        said = f"{node.name}: begin its description with 'One row per ...'"
        assert not is_mart or node.description.startswith("One row per "), said


def test_exposures_stand_on_marts_that_are_published(manifest, models):
    for exposure in manifest.exposures.values():
        for key in exposure.depends_on.nodes:
            said = f"exposure {exposure.name}: {key} is no mart; what people read is published from marts"
            assert key in models, said
            assert layer(models[key]) == "marts", said
        assert exposure.owner.name or exposure.owner.email, f"exposure {exposure.name}: name its owner"
        assert exposure.description, f"exposure {exposure.name}: say what it is for"


def test_a_mart_that_is_published_by_months_names_days_that_the_build_writes(manifest, models):
    names = {node.name for node in models.values() if layer(node) == "intermediate"}
    for node in models.values():
        days = node.config.meta.get("changed_days")
        assert days is None or days in names, f"{node.name}: changed_days names {days}, which is no intermediate model"
        assert days is None or node.config.meta["published_by"] == "month", f"{node.name}: changed_days is for months"


def test_singular_tests_are_sentences(manifest):
    for node in manifest.nodes.values():
        if str(node.resource_type) == "test" and node.original_file_path.startswith("tests/"):
            said = f"{node.name}: name it by the sentence that must hold, assert_..._is_..."
            assert re.fullmatch(r"assert(_[a-z0-9]+){3,}", node.name), said
