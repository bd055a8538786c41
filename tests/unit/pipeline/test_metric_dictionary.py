"""The metric dictionary: one file per metric, the same words in the contract, in docs/metrics.md and on the command line."""

from __future__ import annotations

import json
import shutil

import pytest

from perennial.cli import main
from perennial.contracts.metrics import HEADLINES, metric_dictionary
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY, load_settings
from perennial.core.yamlfile import read_yaml
from perennial.pipeline.metric_docs import COMMAND, contract_path, render, with_contract

PROJECT = REPOSITORY / "dbt_project"
KEYS = {"client_id", "as_of_date", "currency"}
DESCRIBED_BY_SQL = {"int_client_days"}  # a model without a contract


@pytest.fixture(scope="module")
def metrics():
    return metric_dictionary(PROJECT)


@pytest.fixture(scope="module")
def contracts():
    """{mart: {column: the column as its contract has it}}."""
    return {
        model["name"]: {column["name"]: column for column in model["columns"]}
        for path in PROJECT.glob("models/marts/**/*__models.yml")
        for model in read_yaml(path).data["models"]
    }


@pytest.fixture
def project(tmp_path):
    """A dbt project with a dictionary of its own that a test may spoil."""
    shutil.copytree(PROJECT / "metrics", tmp_path / "metrics")
    return tmp_path


def test_each_column_of_the_contract_has_one_definition_and_each_definition_a_column(metrics, contracts):
    columns = contracts["client_metrics"]
    assert [metric.name for metric in metrics] == [name for name in columns if name not in KEYS]
    for metric in metrics:
        column = columns[metric.name]
        assert (column["data_type"], column["config"]["meta"]["unit"]) == (metric.type, metric.unit), metric.name
        assert column["description"] == f"{metric.formula} {metric.reading}", metric.name
        assert column["config"]["meta"].get("headline", False) == metric.is_headline, metric.name


def test_at_least_sixty_metrics_of_which_twelve_are_headlines(metrics):
    assert len(metrics) >= 60
    assert len([metric for metric in metrics if metric.is_headline]) == HEADLINES == 12


def test_the_contract_and_the_document_are_those_that_the_dictionary_gives(metrics):
    contract = contract_path(PROJECT).read_text(encoding="utf-8")
    assert contract == with_contract(contract, metrics), f"run: {COMMAND}"
    text = render(PROJECT)
    assert text.index("## The twelve headlines") < text.index("## client_metrics") < text.index("## client_features")
    for metric in metrics:
        assert f"| `{metric.name}` |" in text


def test_windows_are_those_of_the_settings(metrics):
    days = {
        int(name[8:-1]) for name in (m.name for m in metrics) if name.startswith("revenue_") and name[8:-1].isdigit()
    }
    assert days == set(load_settings({}).windows.metrics)


def test_every_source_column_of_a_metric_is_there(metrics, contracts):
    for metric in metrics:
        for source in metric.sources:
            model, _, column = source.partition(".")
            if model in DESCRIBED_BY_SQL:
                (path,) = PROJECT.glob(f"models/**/{model}.sql")
                assert column in path.read_text(encoding="utf-8"), metric.name
            else:
                assert column in contracts[model], f"{metric.name}: {source}"


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("revenue.yml", "unit: currency", "unti: currency", r"revenue\.yml:7:unti: this key is not known -> did you mean unit\?"),
        ("revenue.yml", "topic: money", "topic: gold", r"revenue\.yml:4:topic"),
        ("revenue.yml", "{span}", "{spam}", r"revenue\.yml.*only \{window\}, \{span\} and \{before\}"),
        ("revenue.yml", "windows:", "window: life\nwindows:", r"revenue\.yml.*either window"),
        ("recency_days.yml", "name: recency_days", "name: recency", r"recency_days\.yml:2:name.*recency\.yml"),
        ("recency_days.yml", "headline: true", "headline: false", "11 metrics are headlines"),
        ("margin.yml", "name: 'margin_{window}'", "name: 'margin_{window}", r"margin\.yml:\d+: not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_file_line_and_fix(project, file, old, new, told):
    path = project / "metrics" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        metric_dictionary(project)


def test_a_metric_that_two_files_describe_is_refused(project):
    text = (project / "metrics" / "recency_days.yml").read_text(encoding="utf-8")
    spoiled = text.replace("name: recency_days", "name: tenure_days").replace("headline: true\n", "")
    (project / "metrics" / "tenure_days.yml").write_text(spoiled, encoding="utf-8")
    revenue = (project / "metrics" / "orders.yml").read_text(encoding="utf-8")
    (project / "metrics" / "orders_total.yml").write_text(
        revenue.replace("'orders_{window}'", "orders_total").replace("windows: [30, 90, 180, 365, total]", "window: life")
        .replace("{span}", "of all time").replace("headline: [365]", "headline: true"), encoding="utf-8",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="orders_total is described more than once"):
        metric_dictionary(project)


def test_the_command_shows_a_metric_and_lists_the_headlines_first(capsys):
    assert main(["metrics", "show", "revenue_365d", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["unit"], shown["window"], shown["file"]) == ("currency", "365 days", "revenue.yml")
    assert shown["formula"].startswith("Sales less returns and cancellations of the last 365 days")
    assert main(["metrics", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [metric["is_headline"] for metric in listed].index("no") == HEADLINES
    assert main(["metrics", "show", "revnue_365d"]) == 2
    assert "did you mean revenue_365d" in capsys.readouterr().err
