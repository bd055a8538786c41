from __future__ import annotations

import pytest

from perennial.contracts.policy import PolicyFile
from perennial.core.errors import ConfigError
from perennial.core.settings import SettingsFile
from perennial.core.yamlfile import read_yaml, validate

GOOD = """version: 1
company: {name: Shop, zone: Europe/London, currency: GBP}
assignment_salt: eight-or-more
"""


def _problems(tmp_path, text, model=SettingsFile):
    path = tmp_path / "perennial.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        validate(read_yaml(path), model)
    return [str(problem).replace(str(tmp_path), "") for problem in caught.value.problems]


def test_a_right_file_is_read(tmp_path):
    path = tmp_path / "perennial.yml"
    path.write_text(GOOD)
    assert validate(read_yaml(path), SettingsFile).company.currency == "GBP"


def test_a_misspelled_key_is_told_with_line_and_the_nearest_known_key(tmp_path):
    (problem,) = _problems(tmp_path, GOOD + "scoring:\n  seed: 1\n  churn_horizon_dys: 28\n")
    assert problem.startswith("/perennial.yml:6:scoring.churn_horizon_dys")
    assert "did you mean churn_horizon_days?" in problem


def test_every_mistake_is_told_at_once(tmp_path):
    text = (
        GOOD.replace("Europe/London", "Europe/Londn")
        .replace("GBP", "pounds")
        .replace("assignment_salt", "asignment_salt")
    )
    problems = _problems(tmp_path, text)
    assert any("no time zone is called 'Europe/Londn'" in problem for problem in problems)
    assert any("company.currency" in problem for problem in problems)
    assert any("did you mean assignment_salt?" in problem for problem in problems)
    assert any("assignment_salt: this key is missing" in problem for problem in problems)


def test_a_key_given_twice_is_refused_with_its_line(tmp_path):
    (problem,) = _problems(tmp_path, GOOD + "assignment_salt: another-salt\n")
    assert problem.startswith("/perennial.yml:4:assignment_salt")


def test_wrong_yaml_is_told_with_its_line(tmp_path):
    (problem,) = _problems(tmp_path, GOOD + "scoring: [1, 2\n")
    assert problem.startswith("/perennial.yml:5")


def test_a_file_in_another_encoding_is_told(tmp_path):
    path = tmp_path / "perennial.yml"
    path.write_bytes("company: Магазин".encode("cp1251"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(path)


def test_a_mistake_deep_in_a_list_has_its_own_line(tmp_path):
    text = "version: 1\nchannels: {}\ncaps:\n  - {contacts: 1, days: 3}\n  - {contacts: -1, days: 14}\n"
    (problem,) = _problems(tmp_path, text, PolicyFile)
    assert problem.startswith("/perennial.yml:5:caps.1.contacts")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version: 1", "version: 2", "1:version: 2 is not 1 -> write 1"),
        (
            "GBP",
            "gbp",
            "2:company.currency: 'gbp' does not have the form that is needed -> write three capital letters",
        ),
        ("Shop", "", "2:company.name: the value is missing -> write text"),
        ("Shop", "7", "2:company.name: 7 is not text -> write text, in quotes if it looks like a number or a date"),
        ("Europe/London", "Mars", "2:company.zone: no time zone is called 'Mars' -> use a name such as Europe/London"),
        ("eight-or-more", "[a, b]", "3:assignment_salt: a list is not text -> write text"),
        (
            "version: 1",
            "version: 1\nkeep_versions: six",
            "2:keep_versions: 'six' is not a whole number -> write a number",
        ),
        ("version: 1", "version: 1\nkeep_versions: 1", "2:keep_versions: 1 is less than 2 -> write 2 or more"),
        ("version: 1", "version: 1\nscoring: 5", "2:scoring: 5 is not keys with values -> write `key: value` lines"),
        ("version: 1", "version: 1\nwindows: {metrics: 30}", "2:windows.metrics: 30 is not a list -> write a list"),
        ("version: 1", "version: 1\nwindows: {metrics: [on]}", "2:windows.metrics.0: YAML reads this as true or false"),
        ("version: 1", "version: 1\n\tscoring: {}", "2: not YAML: found character '\\t'"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words_with_what_to_write(tmp_path, old, new, told):
    (problem,) = _problems(tmp_path, GOOD.replace(old, new, 1))
    assert problem.startswith(f"/perennial.yml:{told}")
    assert " -> " in problem


def test_L23_yes_and_no_are_never_taken_for_numbers(tmp_path):
    text = "version: 1\nchannels: {email: {cost: yes, address: email}}\ncaps:\n  - {contacts: on, days: 3}\n"
    problems = _problems(tmp_path, text, PolicyFile)
    assert [problem.split(": ")[0] for problem in problems] == [
        "/perennial.yml:2:channels.email.cost",
        "/perennial.yml:4:caps.0.contacts",
    ]


def test_an_empty_file_and_a_choice_misspelled_are_told(tmp_path):
    assert _problems(tmp_path, "") == [
        "/perennial.yml:1: the value is missing -> write `key: value` lines, indented below it"
    ]
    text = "version: 1\nchannels: {emial: {cost: 1, address: emial}}\ncaps: []\n"
    assert any(
        problem.endswith("'emial' is not one of email, phone, none -> did you mean email?")
        for problem in _problems(tmp_path, text, PolicyFile)
    )


def test_a_date_that_does_not_exist_is_told_and_not_raised(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("starts_on: 2017-02-30\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="date that does not exist"):
        read_yaml(path)


def test_a_list_as_a_key_is_told_and_not_raised(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("? [a, b]\n: c\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        read_yaml(path)
