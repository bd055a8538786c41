from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perennial.cli import main
from perennial.core.settings import REPOSITORY, Settings, load_settings


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """A home and a config folder of the test's own, which the CLI then uses."""
    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config, ignore=shutil.ignore_patterns("examples"))
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(config))
    monkeypatch.setenv("COLUMNS", "200")
    return load_settings()


@pytest.fixture
def perennial(settings, capfd):
    """Runs a command in this process; gives its exit code and what it printed."""

    def run(*arguments: str | Path) -> Outcome:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run
