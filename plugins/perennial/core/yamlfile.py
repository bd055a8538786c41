"""YAML with the line of every value, so that a mistake is told as file, line, field and fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perennial.core.errors import ConfigError, Problem
from perennial.core.yamlwords import in_words

Key = str | int
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class YamlDocument:
    """A parsed file: its data, and the line (from 1) on which each value stands, by its path."""

    path: Path
    data: Any
    lines: dict[tuple[Key, ...], int]

    def line_of(self, location: tuple[Key, ...]) -> int:
        """The line of the value at `location`, or of the nearest enclosing value that the file has."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read_yaml(path: Path) -> YamlDocument:
    """Parse one YAML file. Raises ConfigError for an unreadable file, wrong syntax or a key given twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(Problem(str(path), "the file does not exist", "create it, or name another folder")) from None
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(path), f"not UTF-8 text ({error.reason})", "save it as UTF-8")) from None
    try:
        root = _composed(text)
        lines = dict(_walk(root, (), path)) if root is not None else {}
        data = yaml.SafeLoader("").construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        tab = "'\\t'" in str(error.problem)
        fix = "indent with spaces, YAML knows no tabs" if tab else "mend the indentation, quoting or brackets"
        raise ConfigError(Problem(f"{path}:{line}", f"not YAML: {error.problem}", fix)) from None
    except ValueError as error:  # what looks like a date and is none: 2017-02-30
        problem, fix = f"not YAML: {error}", "look for a date that does not exist, or put the value in quotes"
        raise ConfigError(Problem(str(path), problem, fix)) from None
    return YamlDocument(path=path, data=data, lines=lines)


def _composed(text: str) -> yaml.Node | None:
    """The tree of the text: by libyaml, which is ten times as fast; what it refuses is told by the other parser."""
    try:
        return yaml.compose(text, Loader=_FAST)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=yaml.SafeLoader)


def _walk(node: yaml.Node, location: tuple[Key, ...], path: Path) -> Iterator[tuple[tuple[Key, ...], int]]:
    yield location, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise ConfigError(Problem(f"{path}:{line}:{key}", "this key is given twice", "keep one of the two"))
            seen.add(key)
            for found, found_line in _walk(value_node, (*location, key), path):
                yield found, line if found == (*location, key) else found_line
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*location, index), path)


def validate(document: YamlDocument, model: type[Model]) -> Model:
    """The document as `model`. Raises ConfigError with one problem per mistake: file, line, field, fix."""
    try:
        made = model.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError([_as_problem(document, model, detail) for detail in error.errors()]) from None
    # YAML reads yes, no, on and off as true and false, which pydantic would take for 1 and 0.
    truths = list(_truths_as_numbers(document.data, made, ()))
    if truths:
        fix = "write a number, or the word in quotes"
        raise ConfigError([Problem(_place(document, at), "YAML reads this as true or false", fix) for at in truths])
    return made


def _truths_as_numbers(data: Any, made: Any, at: tuple[Key, ...]) -> Iterator[tuple[Key, ...]]:
    if isinstance(data, bool):
        if isinstance(made, int | float) and not isinstance(made, bool):
            yield at
    elif isinstance(data, dict):
        for key, value in data.items():
            inner = made.get(key) if isinstance(made, dict) else getattr(made, str(key), None)
            yield from _truths_as_numbers(value, inner, (*at, key))
    elif isinstance(data, list) and isinstance(made, list | tuple):
        for index, (value, inner) in enumerate(zip(data, made, strict=True)):
            yield from _truths_as_numbers(value, inner, (*at, index))


def _place(document: YamlDocument, loc: tuple[Key, ...]) -> str:
    """file:line:field of a value, or file:line where the whole file is meant."""
    known = _path_keys(document)
    place = _without_tags(document.data, loc)
    location = tuple(key for key in place if key in known or isinstance(key, int))
    field = ".".join(str(key) for key in place)
    return f"{document.path}:{document.line_of(location)}" + (f":{field}" if field else "")


def _without_tags(data: Any, loc: tuple[Key, ...]) -> tuple[Key, ...]:
    """Pydantic names the kind of a union's member within the path: what stands in no file is left out."""
    found: list[Key] = []
    for index, key in enumerate(loc):
        if isinstance(data, dict) and key not in data and index < len(loc) - 1:
            continue
        found.append(key)
        inside = isinstance(data, dict) or (isinstance(data, list) and isinstance(key, int) and key < len(data))
        data = (data.get(key) if isinstance(data, dict) else data[int(key)]) if inside else None
    return tuple(found)


def _as_problem(document: YamlDocument, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    loc = tuple(detail["loc"])
    if detail["type"].startswith("union_tag_"):
        loc = (*loc, "kind")
    place = _place(document, loc)
    if detail["type"] == "extra_forbidden":
        known = sorted(_field_names(model))
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.6)
        return Problem(place, "this key is not known", f"did you mean {near[0]}?" if near else "remove it")
    if detail["type"] == "missing":
        return Problem(place, "this key is missing", f"add `{detail['loc'][-1]}:`")
    return Problem(place, *in_words(detail))


def _path_keys(document: YamlDocument) -> set[Key]:
    return {key for location in document.lines for key in location}


def _field_names(model: type[BaseModel], seen: set[type] | None = None) -> set[str]:
    """The names of all fields of the model and of the models inside it."""
    seen = seen if seen is not None else set()
    if model in seen:
        return set()
    seen.add(model)
    names: set[str] = set()
    for name, field in model.model_fields.items():
        names.add(field.alias or name)
        for inner in _models_in(field.annotation):
            names |= _field_names(inner, seen)
    return names


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)
