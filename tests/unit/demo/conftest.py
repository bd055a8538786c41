from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from perennial.demo.shop import land_day, land_history

UNTIL, NEXT_DAY = date(2017, 10, 1), date(2017, 10, 2)

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class DemoLanding:
    folder: Path

    def rows(self, name: str) -> Rows:
        content = (self.folder / name).read_bytes()
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> DemoLanding:
    folder = tmp_path_factory.mktemp("history")
    land_history(folder, UNTIL)
    return DemoLanding(folder)


@pytest.fixture(scope="session")
def next_day(tmp_path_factory: pytest.TempPathFactory) -> DemoLanding:
    folder = tmp_path_factory.mktemp("next_day")
    land_day(folder, NEXT_DAY)
    return DemoLanding(folder)


@pytest.fixture
def bytes_below() -> Callable[[Path], dict[str, bytes]]:
    return lambda folder: {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
