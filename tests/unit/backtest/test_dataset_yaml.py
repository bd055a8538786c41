"""The YAML of a data set: its short forms, and its mistakes with file, line, field and fix."""

from __future__ import annotations

from datetime import date

import pytest
import yaml

from perennial.contracts.backtests import dataset_schema, read_dataset
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY
from perennial.scoring.protocols import protocol_of

EXAMPLES = sorted((REPOSITORY / "config" / "backtests").glob("*.yml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_task_of_the_examples_has_a_protocol(path):
    dataset = read_dataset(path)
    assert dataset.name == path.stem
    assert all(protocol_of(dataset, task) for task in dataset.wanted_tasks)


def test_the_sets_of_the_goals_have_examples():
    names = {"online_retail_ii", "cdnow_sample", "complete_journey", "hillstrom", "bank_marketing"}
    assert names <= {path.stem for path in EXAMPLES}


def test_short_forms_and_other_words_are_understood(tmp_path):
    path = tmp_path / "set.yml"
    path.write_text(
        "name: mine\nkind: transactions\nfile: a.csv\nformat: csv\ndelimiter: ';'\nhorizons: 60\n"
        "columns: {customer_id: c, date: d, revenue: r}\nfilters: r > 0\ncuts: 2020-05-01\n"
        "tasks: [churn_risk, ltv]\ntime_unit: days\n"
    )
    dataset = read_dataset(path)
    assert [file.path for file in dataset.files] == ["a.csv"]
    assert (dataset.format.type, dataset.format.delimiter) == ("csv", ";")
    assert (dataset.columns.client, dataset.columns.time, dataset.columns.amount) == ("c", "d", "r")
    assert dataset.wanted_tasks == ("churn", "value")
    assert dataset.horizons_of("value") == (60,)
    assert (dataset.filters, dataset.cuts, dataset.time_unit) == (("r > 0",), (date(2020, 5, 1),), "day")


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"kind": "transaction"}, ":2:kind", "did you mean transactions?"),
        ({"filtrs": ["x > 0"]}, ":5:filtrs", "did you mean filters?"),
        ({"columns": {"client": "c"}}, "", "columns has no time"),
        ({"zone": "Europe/Lundon"}, ":5:zone", "no time zone is called"),
        ({"horizons": [0]}, ":5:horizons", "write 1 or more"),
        ({"format": {"delimiter": "ab"}}, ":5:format", "one character"),
        ({"tasks": ["response"]}, "", "response is no task of transactions data"),
        ({"kind": "labelled"}, "", "columns has no label"),
        ({"cuts": ["soon"]}, ":5:cuts", "soon"),
    ],
)
def test_a_mistake_is_told_with_file_line_field_and_fix(tmp_path, change, place, words):
    path = tmp_path / "set.yml"
    good = {"name": "mine", "kind": "transactions", "file": "a.csv", "columns": {"client": "c", "time": "t"}}
    path.write_text(yaml.safe_dump({**good, **change}, sort_keys=False, default_flow_style=None))
    with pytest.raises(ConfigError) as error:
        read_dataset(path)
    assert f"set.yml{place}" in str(error.value)
    assert words in str(error.value)


def test_a_file_that_is_no_mapping_is_told(tmp_path):
    (tmp_path / "set.yml").write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="no data set"):
        read_dataset(tmp_path / "set.yml")


def test_the_schema_names_every_key_of_the_examples():
    known = set(dataset_schema()["properties"]) | {"file"}  # short for `files`
    for path in EXAMPLES:
        assert set(yaml.safe_load(path.read_text())) <= known, path.name
