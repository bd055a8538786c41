from __future__ import annotations

import os
import subprocess
import sys

import pytest

from perennial.commands.test import pytest_arguments
from perennial.core.settings import REPOSITORY


def _test(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins")}
    command = [sys.executable, "-m", "perennial", "test", *arguments]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False)


def test_arguments_go_to_pytest_as_they_stand_and_so_does_its_exit_code():
    done = _test("-q", "--collect-only", "-p", "no:cacheprovider", "tests/unit/commands/test_test.py")
    assert done.returncode == 0
    assert "test_arguments_go_to_pytest" in done.stdout
    assert _test("-q", "-p", "no:cacheprovider", "tests/no_such_folder").returncode == 4


@pytest.mark.parametrize(("marks", "counted"), [([], "1 deselected"), (["-m", "slow"], "selected")])
def test_slow_tests_are_left_out_unless_they_are_asked_for(marks, counted, tmp_path):
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n\n@pytest.mark.slow\ndef test_a(): ...\n\ndef test_b(): ...\n")
    done = _test("-q", "--collect-only", "-p", "no:cacheprovider", "--noconftest", *marks, str(file))
    assert done.returncode == 0
    assert ("test_a" in done.stdout) == bool(marks)
    assert ("test_b" in done.stdout) == (not marks)
    assert counted in done.stdout


def test_help_is_ours():
    assert "-m slow" in _test("--help").stdout


def test_the_whole_suite_runs_in_several_processes_and_a_named_file_in_one():
    assert "loadgroup" in pytest_arguments([])
    assert "loadgroup" in pytest_arguments(["-m", "slow"])
    assert "loadgroup" not in pytest_arguments(["tests/unit/test_docs.py", "-q"])
    assert "loadgroup" not in pytest_arguments(["-n", "0"])


def test_in_several_processes_a_file_stays_in_one(request):
    several = request.config.getoption("loadgroup", default=False)
    assert request.node.nodeid.endswith("@tests/unit/commands/test_test.py") == several
