"""Whether the lock files say what pyproject.toml asks for: pinned, hashed, and without the address of any index."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perennial.core.errors import Problem
from perennial.core.settings import REPOSITORY

LOCK = REPOSITORY / "requirements.lock"
TEST_LOCK = REPOSITORY / "requirements-test.lock"
UV_LOCK = REPOSITORY / "requirements-uv.txt"

_COMPILE = "uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q"
_FIXES = {
    LOCK.name: f"{_COMPILE} pyproject.toml -o {LOCK.name}",
    TEST_LOCK.name: f"{_COMPILE} pyproject.toml --group test -o {TEST_LOCK.name}",
    UV_LOCK.name: f"echo uv | {_COMPILE} - -o {UV_LOCK.name}",
}
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)(?P<rest>.*)$")


def digest_of_file(path: Path) -> str:
    """sha256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lock_problems(folder: Path = REPOSITORY) -> list[Problem]:
    """What is wrong with the lock files of a folder, each with the command that makes the file anew."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["dependencies"]
    tested = [*wanted, *project.get("dependency-groups", {}).get("test", [])]
    problems: list[Problem] = []
    pins = {name: dict(_read(folder / name, problems)) for name in _FIXES}
    problems += _unmet(LOCK.name, pins[LOCK.name], wanted)
    problems += _unmet(TEST_LOCK.name, pins[TEST_LOCK.name], tested)
    problems += _unmet(UV_LOCK.name, pins[UV_LOCK.name], ["uv"])
    problems += [
        Problem(TEST_LOCK.name, f"{package} is not pinned as in {LOCK.name}", _FIXES[TEST_LOCK.name])
        for package, versions in pins[LOCK.name].items()
        if pins[TEST_LOCK.name].get(package) != versions
    ]
    return problems


def _read(path: Path, problems: list[Problem]) -> Iterator[tuple[str, set[str]]]:
    """The pinned versions of each package; a package may have one per platform."""
    if not path.exists():
        problems.append(Problem(path.name, "the file is missing", _FIXES[path.name]))
        return
    pins: dict[str, set[str]] = {}
    hashed: dict[str, int] = {}
    current = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        pin = _PIN.match(text)
        if pin:
            current = _normal(pin["name"])
            pins.setdefault(current, set()).add(pin["version"])
            hashed.setdefault(current, 0)
        elif text.startswith("--hash=sha256:") and current:
            hashed[current] += 1
        elif text and not text.startswith("#"):
            message = f"not a pin, a hash or a comment: {text.split()[0]}"
            problems.append(Problem(f"{path.name}:{number}", message, _FIXES[path.name]))
    unhashed = sorted(name for name, count in hashed.items() if not count)
    problems += [Problem(path.name, f"{name} has no hash", _FIXES[path.name]) for name in unhashed]
    yield from pins.items()


def _unmet(name: str, pins: dict[str, set[str]], requirements: list[str]) -> Iterator[Problem]:
    from packaging.requirements import Requirement

    for text in requirements:
        requirement: Any = Requirement(text)
        versions = pins.get(_normal(requirement.name), set())
        if not versions:
            yield Problem(name, f"{requirement.name} is not in it", _FIXES[name])
        elif not all(requirement.specifier.contains(version) for version in versions):
            found = ", ".join(sorted(versions))
            yield Problem(name, f"pins {requirement.name} {found}, pyproject.toml wants {text}", _FIXES[name])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
