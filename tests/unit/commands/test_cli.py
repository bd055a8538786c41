from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from perennial.cli import COMMANDS
from perennial.core.settings import REPOSITORY

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins")}


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command_and_every_command_has_a_module_with_help():
    shown = _python("-m", "perennial", "--help").stdout
    for name, command in COMMANDS.items():
        assert f"  {name} " in shown
        assert command.help in shown
        module = importlib.import_module(f"perennial.commands.{command.module}")
        assert callable(module.configure)
        assert callable(module.run)
        assert module.__doc__


def test_help_imports_no_command_and_nothing_heavy():
    code = (
        "import contextlib, sys; from perennial.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = set(_python("-c", code).stderr.split())
    assert "perennial.cli" in loaded
    heavy = {"airflow", "duckdb", "numpy", "pandas", "pyarrow", "pydantic", "rich", "sqlalchemy", "yaml"}
    assert not heavy & loaded
    assert not [name for name in loaded if name.startswith("perennial.commands")]


def test_G23_help_needs_at_most_three_tenths_of_a_cpu_second():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(3):
        _python("-m", "perennial", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 3 <= 0.3


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"demo", "test"}])
def test_every_command_tells_its_options_and_speaks_json(name):
    shown = _python("-m", "perennial", name, "--help")
    assert shown.returncode == 0
    assert "--json" in shown.stdout


def test_an_unknown_command_is_told_with_the_nearest_one(perennial):
    outcome = perennial("lsts")
    assert outcome.code == 2
    assert "there is no command 'lsts', did you mean 'lists'?" in outcome.err


def test_no_command_shows_the_help_and_fails_and_the_version_is_the_packages(perennial):
    assert perennial().code == 2
    from perennial import __version__

    assert perennial("--version").out == f"perennial {__version__}\n"


def test_a_wrong_date_is_told_with_the_right_form(perennial):
    outcome = perennial("land", "--day", "02.10.2017")
    assert outcome.code == 2
    assert "write it as 2017-10-01" in outcome.err


def test_expected_errors_are_plain_lines_with_place_and_fix_and_an_exit_code_of_their_kind(perennial, settings):
    file = settings.config_dir / "perennial.yml"
    file.write_text(file.read_text().replace("training_cuts:", "trainingcuts:"))
    outcome = perennial("status")
    assert outcome.code == 2
    line = 1 + file.read_text().splitlines().index("  trainingcuts: 6")
    assert f"{file}:{line}:scoring.trainingcuts" in outcome.err
    assert "did you mean training_cuts?" in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_a_reader_that_has_seen_enough_is_no_error():
    code = (
        "from perennial import cli; import types\n"
        "def run(args):\n    for _ in range(100000): print('a line')\n    return 0\n"
        "raise SystemExit(cli._run(run, None))"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141


def test_the_module_is_started_as_a_program(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-m", "perennial", "status", "--json"],
        env={**ENVIRONMENT, "PERENNIAL_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["home"] == str(Path(tmp_path).resolve())
