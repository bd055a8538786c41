from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perennial.commands.reset import state_of
from perennial.core.errors import PermanentError
from perennial.core.settings import REPOSITORY, load_settings
from perennial.demo.airflow_process import AirflowProcess
from perennial.demo.running import HOME_MARK, demo_processes


@pytest.fixture
def state(settings):
    """A home with state and an environment."""
    for name in ("landing/shop", "airflow", "anything_new", "envs/abc", "journal"):
        (settings.home / name).mkdir(parents=True)
    (settings.home / "ledger.db").touch()
    (settings.home / "env").symlink_to("envs/abc")
    return settings.home


def _names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_reset_removes_all_state_and_keeps_the_environment(perennial, state):
    outcome = perennial("reset", "--yes", "--json")
    assert outcome.code == 0
    assert outcome.json["removed"] == ["airflow", "anything_new", "journal", "landing", "ledger.db"]
    assert _names(state) == {"env", "envs"}
    assert "there was no state" in perennial("reset", "--yes").out


def test_reset_of_a_chosen_folder_is_not_done_when_nobody_can_be_asked(perennial, state):
    before = _names(state)
    outcome = perennial("reset")
    assert outcome.code == 1
    assert "nothing was removed" in outcome.err
    assert _names(state) == before


def test_what_a_link_in_the_home_leads_to_is_left_alone(perennial, state, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (state / "archive").symlink_to(elsewhere)
    assert perennial("reset", "--yes").code == 0
    assert (elsewhere / "precious").exists()
    assert not (state / "archive").is_symlink()


def test_reset_is_refused_while_a_demo_runs_there_unless_forced(perennial, state):
    environment = {**os.environ, HOME_MARK: str(state)}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=-1) as process:
        assert demo_processes(state) == [process.pid]
        outcome = perennial("reset", "--yes")
        assert outcome.code == 1
        assert "a demo is running here" in outcome.err
        assert _names(state) > {"landing"}
        assert perennial("reset", "--yes", "--force").code == 0
        process.communicate(b"\n")
    assert demo_processes(state) == []


def test_the_mark_of_a_running_demo_is_the_one_that_the_demo_sets(settings):
    assert AirflowProcess(settings).environment()[HOME_MARK] == str(settings.home)


@pytest.mark.parametrize("folder", [REPOSITORY, REPOSITORY.parent, Path("/"), Path.home()])
def test_a_folder_that_holds_more_than_our_state_is_never_removed(folder):
    settings = load_settings({"PERENNIAL_HOME": str(folder)})
    assert settings.home == folder.resolve()
    with pytest.raises(PermanentError, match="holds more than"):
        state_of(settings)


def test_a_folder_without_a_sign_of_ours_is_never_removed(perennial, settings):
    settings.home.mkdir()
    (settings.home / "thesis.txt").touch()
    outcome = perennial("reset", "--yes")
    assert outcome.code == 1
    assert "nothing here looks like" in outcome.err
    assert (settings.home / "thesis.txt").exists()
