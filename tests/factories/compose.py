"""docker-compose.yml as `docker compose` reads it: anchors, merged keys, and variables by the Compose specification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from perennial.core.settings import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
_START = re.compile(r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*))")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


class NotSet(Exception):  # noqa: N818 - the specification's word
    """A variable that must be set is not; the message is the file's own."""


@dataclass
class Variables:
    """Interpolation; `asked` collects every variable with its operators."""

    values: Mapping[str, str]
    asked: dict[str, set[str]]

    def fill(self, text: str) -> str:
        """The text with its variables' values. Raises NotSet, or ValueError for what the specification has not."""
        done, rest = "", text
        while "$" in rest:
            before, rest = rest[: rest.index("$")], rest[rest.index("$") :]
            match = _START.match(rest)
            if match is None:
                raise ValueError(f"not a variable of the Compose specification: {rest}")
            rest = rest[match.end() :]
            if match["braced"]:
                value, rest = self._braced(match["braced"], rest)
            else:
                value = "$" if match["escaped"] else self._plain(match["bare"])
            done += before + value
        return done + rest

    def _plain(self, name: str) -> str:
        self.asked.setdefault(name, set()).add("")
        if name not in self.values:  # Compose warns and goes on; a file of ours has no such variable
            raise NotSet(f"{name} is not set")
        return self.values[name]

    def _braced(self, name: str, rest: str) -> tuple[str, str]:
        """The value of `${name...}`, and what follows the closing brace (an inner variable has braces of its own)."""
        depth, end = 1, 0
        while depth:
            depth += {"{": 1, "}": -1}.get(rest[end], 0)
            end += 1
        inside, rest = rest[: end - 1], rest[end:]
        if not inside:
            return self._plain(name), rest
        operator = next((o for o in _OPERATORS if inside.startswith(o)), None)
        if operator is None:
            raise ValueError(f"no operator of the Compose specification: ${{{name}{inside}}}")
        self.asked.setdefault(name, set()).add(operator)
        return self._by_operator(name, operator, inside[len(operator) :]), rest

    def _by_operator(self, name: str, operator: str, word: str) -> str:
        value = self.values.get(name)
        is_given = value is not None and (value != "" or not operator.startswith(":"))
        if operator.endswith("+"):
            return self.fill(word) if is_given else ""
        if is_given:
            return str(value)
        if operator.endswith("?"):
            raise NotSet(f"{name}: {word}")
        return self.fill(word)


def raw_file() -> dict[str, Any]:
    """The file with anchors and merges resolved, variables as they stand."""
    return yaml.safe_load(FILE.read_text())


def resolved(values: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """The file with its variables filled in, and the variables that it asked for, each with its operators."""
    variables = Variables(values, {})
    return _walk(raw_file(), variables), variables.asked


def _walk(value: Any, variables: Variables) -> Any:
    if isinstance(value, dict):
        return {key: _walk(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, variables) for item in value]
    return variables.fill(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Instruction:
    """One instruction of the Dockerfile, its lines joined; `stage` counts from 0."""

    stage: int
    name: str
    text: str


def dockerfile(path: Path = REPOSITORY / "Dockerfile") -> list[Instruction]:
    """The instructions in order."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found, stage = [], -1
    for line in joined.splitlines():
        name, text = line.split(maxsplit=1)
        stage += name == "FROM"
        found.append(Instruction(stage, name, text))
    return found


def image_environment() -> dict[str, str]:
    """What the image's last stage sets by ENV."""
    steps = dockerfile()
    texts = [step.text for step in steps if step.name == "ENV" and step.stage == steps[-1].stage]
    return dict(pair.split("=", 1) for text in texts for pair in text.split())
