"""A vendor's specification with its overlay, and requests and answers held to it by openapi-core."""

from __future__ import annotations

import functools
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from werkzeug.datastructures import Headers, ImmutableMultiDict

from reference import reference


@dataclass
class _Request:
    """What openapi-core reads of a request."""

    host_url: str
    path: str
    method: str
    body: bytes | None
    content_type: str
    parameters: RequestParameters
    path_pattern: str | None = None


@dataclass
class _Response:
    """What openapi-core reads of an answer."""

    status_code: int
    data: bytes
    headers: Headers
    content_type: str


@dataclass
class Specification:
    """One effective specification (the vendor's text with its overlay)."""

    name: str
    api: OpenAPI = field(repr=False)
    origin: str
    base_path: str

    def wrong_in_request(self, method: str, path: str, query: list, headers: dict, body: bytes) -> list[str]:
        """What the specification says against a request; nothing when it agrees."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _told(lambda: self.api.validate_request(self._request(method, path, query, headers, body)))

    def wrong_in_answer(
        self, method: str, path: str, query: list, headers: dict, body: bytes, answer: Any
    ) -> list[str]:
        """What the specification says against an answer; `undeclared` alone when it does not know the status."""
        request = self._request(method, path, query, headers, body)
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        response = _Response(answer.status, answer.data, Headers(list(answer.headers.items())), kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _told(lambda: self.api.validate_response(request, response))

    def _request(self, method: str, path: str, query: list, headers: dict, body: bytes) -> _Request:
        parameters = RequestParameters(
            query=ImmutableMultiDict(query), header=Headers(list(headers.items())), cookie=ImmutableMultiDict(), path={}
        )
        kind = headers.get("Content-Type", "")
        full = kind if kind.startswith("multipart/") else kind.split(";")[0]
        return _Request(self.origin, path, method.lower(), body or None, full, parameters)


UNDECLARED = "undeclared"
_KINDS_OF_JSON = ("application/problem+json", "application/vnd.api+json")


def _told(check) -> list[str]:
    try:
        check()
    except ResponseNotFound:
        return [UNDECLARED]
    except PathError as error:
        return [str(error)]
    except OpenAPIError as error:
        return [_short(one) for one in _words(error)][-6:] or [_short(repr(error))]
    return []


def _words(error: BaseException):
    seen: BaseException | None = error
    while seen is not None:
        yield f"{type(seen).__name__}: {seen}"
        for one in getattr(seen, "schema_errors", ()):
            yield f"{'.'.join(str(step) for step in one.absolute_path)}: {_short(one.message)}"
        seen = seen.__cause__


def effective(file: str) -> dict[str, Any]:
    """The text of PERENNIAL_REFERENCE/specs/<file> with its overlays; absent, it is said loudly."""
    path = reference(f"specs/{file}")
    text = path.read_text(encoding="utf-8")
    told = yaml.load(text, yaml.CSafeLoader) if path.suffix == ".yaml" else json.loads(text)
    overlay = path.parent / "overlay.merge-patch.json"
    if overlay.exists():
        told = merge_patch(told, json.loads(overlay.read_text(encoding="utf-8")))
    ours = Path(__file__).parent / f"{file.partition('/')[0]}.overlay.json"  # corrections that the shared overlay lacks
    if ours.exists():
        told = merge_patch(told, json.loads(ours.read_text(encoding="utf-8")))
    _without_empty_content(told)
    return dict(told)


def _short(text: str) -> str:
    return text if len(text) < 300 else f"{text[:100]} ... {text[-150:]}"


@functools.cache
def specification(file: str) -> Specification:
    """The specification of that file, made ready to hold calls to it."""
    told = effective(file)
    server = urlsplit(told["servers"][0]["url"])
    origin = f"{server.scheme}://{server.netloc}"
    # openapi-core reads application/json only: the vendors' own kinds of JSON are read alike
    config = Config(extra_media_type_deserializers=dict.fromkeys(_KINDS_OF_JSON, json.loads))
    return Specification(
        file.partition("/")[0], OpenAPI.from_dict(told, config=config), origin, server.path.rstrip("/")
    )


def _without_empty_content(told: dict) -> None:
    """`content: {}` says that an answer has no body; openapi-core then misses one, and does not where it is left out."""
    for operations in told["paths"].values():
        for operation in operations.values():
            for answer in operation.get("responses", {}).values() if isinstance(operation, dict) else ():
                if answer.get("content") == {}:
                    del answer["content"]


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result
