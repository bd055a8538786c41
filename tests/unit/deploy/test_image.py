"""The Dockerfile, by the rules of hadolint that matter here, and what it copies."""

from __future__ import annotations

import fnmatch
import re
import subprocess

import pytest

from factories.compose import dockerfile, image_environment
from perennial.core.settings import REPOSITORY

STEPS = dockerfile()
LAST = [step for step in STEPS if step.stage == STEPS[-1].stage]


def _texts(name, steps=STEPS):
    return [step.text for step in steps if step.name == name]


def test_every_stage_starts_from_the_same_slim_python_by_its_exact_tag():
    images = {text.split()[0] for text in _texts("FROM")}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", images.pop())


def test_it_ends_as_another_user_than_root_given_by_number():
    assert _texts("USER", LAST) == ["50000:0"]
    assert [step.name for step in LAST].index("USER") > max(i for i, s in enumerate(LAST) if s.name in {"RUN", "COPY"})


def test_nothing_is_fetched_but_what_the_lock_files_name_with_their_hashes():
    assert not _texts("ADD")
    for text in _texts("RUN"):
        assert not re.search(r"\b(curl|wget|git|sudo|ssh)\b", text)
        assert "apt-get" not in text, (
            "the wheels bring their libraries; if not: pin, and remove the lists in the same step"
        )
        for command in text.split("&&"):
            if " install " in command and "pip" in command:
                assert "--require-hashes" in command
                assert re.search(r"-r /tmp/requirements(-uv\.txt|\.lock)$", command.strip())
    assert any("--compile-bytecode" in text and "--only-binary :all:" in text for text in _texts("RUN"))


def test_what_installs_is_not_in_the_last_stage():
    assert "python -m venv --without-pip /opt/env" in _texts("RUN")[0]
    assert [text for text in _texts("COPY", LAST) if text.startswith("--from=")] == [
        "--from=packages /opt/env /opt/env"
    ]


def test_L22_no_secret_is_built_in_and_the_context_holds_none():
    for name in ("ARG", "ENV"):
        for text in _texts(name):
            assert not re.search(r"(?i)(password|secret|token|fernet)", text)
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in ignored, "everything is left out that is not named"
    named = {line[1:] for line in ignored if line.startswith("!")}
    assert not {name for name in named if fnmatch.fnmatch(".env", name) or name in {".perennial", "data", "tests"}}


def test_everything_that_is_copied_is_in_the_context_and_in_the_repository():
    named = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for text in _texts("COPY") if not text.startswith("--from=") for name in text.split()[:-1]}
    assert copied == named
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in copied:
        assert re.search(rf"(?m)^{re.escape(name)}(/|$)", tracked), name


@pytest.mark.parametrize("name", ["AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER", "PERENNIAL_CONFIG"])
def test_the_folders_that_it_names_are_those_of_the_repository(name):
    folder = image_environment()[name].removeprefix("/opt/perennial/")
    assert (REPOSITORY / folder).is_dir()
