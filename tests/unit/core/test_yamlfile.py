from __future__ import annotations

import pytest

from perennial.contracts.targeting import PolicyFile
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
