"""Definitions of APIs: the ready ones beside this room, and what sources.yml says over or instead of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perennial.contracts.connections import RestConnection, RestRead
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem
from perennial.core.yamlfile import read_yaml, validate
from perennial.core.yamlwords import in_words
from perennial.sources.fetching import Request
from perennial.sources.rest.model import ClientCredentials, Definition, Endpoint, Paginator, RefreshToken
from perennial.sources.rest.templates import fill_connection

DEFINITIONS = Path(__file__).resolve().parents[1] / "definitions"
Model = TypeVar("Model", bound=BaseModel)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Plan:
    """What is read for one source entity, and from where."""

    definition: Definition
    endpoint: Endpoint
    parents: tuple[Endpoint, ...]  # the endpoint's parent, its parent, ...
    connection: Connection
    base_url: str
    token_url: str
    where: str

    def paginator_of(self, endpoint: Endpoint) -> Paginator:
        """The endpoint's own way of paging, or the definition's."""
        return endpoint.paginator or self.definition.paginator


def ready_definitions() -> dict[str, Definition]:
    """All ready definitions by name. Raises ConfigError with file and line of a mistake."""
    return {name: ready_definition(name) for name in definition_names()}


def definition_names() -> list[str]:
    """The names of the ready definitions."""
    return sorted(path.stem for path in DEFINITIONS.glob("*.yml"))


def definition_text(name: str) -> str:
    """A ready definition as it is shipped, YAML. Raises ConfigError for an unknown name, with those that there are."""
    return _file_of(name).read_text(encoding="utf-8")


def ready_definition(name: str) -> Definition:
    """A ready definition. Raises ConfigError for an unknown name, with those that there are."""
    return validate(read_yaml(_file_of(name)), Definition)


def _file_of(name: str) -> Path:
    known = definition_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(Problem("sources.yml: connection.definition", f"there is no definition {name!r}", fix))
    return DEFINITIONS / f"{name}.yml"


def plan_of(request: Request) -> Plan:
    """Definition, endpoint and connection of a source entity. Raises ConfigError with the place in sources.yml."""
    rest, read = request.source.connection, request.entity.rest
    where = f"sources.yml: {request.source_name}"
    if not isinstance(rest, RestConnection) or read is None:
        raise ConfigError(Problem(where, "is no source of kind rest", "give it connection.kind: rest"))
    data = _merged(read_yaml(_file_of(rest.definition)).data if rest.definition else {}, rest.api)
    definition = _definition(data, rest, f"{where}.connection.api")
    endpoint = _endpoint(definition, read, f"{where}.entities.{request.entity_name}.rest")
    connection = request.connections.get(rest.id)
    base_url = fill_connection(definition.base_url, connection, where=f"{where}.connection")
    _check_scheme(base_url, definition, f"{where}.connection")
    headers = {n: fill_connection(v, connection, where=f"{where}.connection") for n, v in definition.headers.items()}
    return Plan(
        definition=definition.model_copy(update={"headers": headers}),
        endpoint=endpoint,
        parents=tuple(_parents(definition, endpoint)),
        connection=connection,
        base_url=base_url,
        token_url=_token_url(definition, connection, where),
        where=f"{request.source_name}.{request.entity_name}",
    )


def _definition(data: dict[str, Any], rest: RestConnection, where: str) -> Definition:
    if not rest.definition:
        data = {"version": 1, "title": rest.id, **data}
    return _validated(Definition, data, where)


def _endpoint(definition: Definition, read: RestRead, where: str) -> Endpoint:
    data: dict[str, Any] = {}
    if read.resource is not None:
        if read.resource not in definition.resources:
            known = sorted(definition.resources)
            near = difflib.get_close_matches(read.resource, known, n=1, cutoff=0.5)
            fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none: give endpoint'}"
            raise ConfigError(Problem(f"{where}.resource", f"there is no resource {read.resource!r}", fix))
        data = definition.resources[read.resource].model_dump(exclude_unset=True)
    return _validated(Endpoint, _merged(data, read.endpoint), f"{where}.endpoint")


def _parents(definition: Definition, endpoint: Endpoint) -> list[Endpoint]:
    found: list[Endpoint] = []
    while endpoint.parent is not None:
        endpoint = definition.resources[endpoint.parent.resource]
        if endpoint in found:
            raise ConfigError(Problem("sources.yml", "the parents of a resource lead back to it", "remove one parent"))
        found.append(endpoint)
    return found


def _validated(model: type[Model], data: dict[str, Any], where: str) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            at = ".".join([where, *(str(key) for key in detail["loc"])])
            problems.append(Problem(at, *_in_words(detail)))
        raise ConfigError(problems) from None


def _in_words(detail: ErrorDetails) -> tuple[str, str]:
    if detail["type"] == "missing":
        return "this key is missing", f"add `{detail['loc'][-1]}:`"
    if detail["type"] == "extra_forbidden":
        return "this key is not known", "remove it, or see docs/sources.md for its name"
    return in_words(detail)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` into `under`, key by key; another `kind` replaces the whole, and a null takes a key away."""
    if "kind" in over and over["kind"] != under.get("kind"):
        return dict(over)
    merged = dict(under)
    for name, value in over.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


def _token_url(definition: Definition, connection: Connection, where: str) -> str:
    if not isinstance(definition.auth, ClientCredentials | RefreshToken):
        return ""
    url = fill_connection(definition.auth.token_url, connection, where=f"{where}.connection")
    _check_scheme(url, definition, f"{where}.connection.api.auth.token_url")
    return url


def _check_scheme(url: str, definition: Definition, where: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or "@" in parts.netloc:
        raise ConfigError(Problem(where, "base_url is not https://host/...", "correct it, or the connection's host"))
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not definition.insecure_http:
        fix = "use https, or set api.insecure_http: true inside a network that you trust"
        raise ConfigError(Problem(where, "plain http would show the secret to everyone on the way", fix))
