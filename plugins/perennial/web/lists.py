"""The marketer's pages: the day's lists, one list with what speaks for and against it, why a client is on one or not.

Whoever may read the other pages may read these. Who may change assets in Airflow may answer for a list; the answer is
a form of our own with a token that another site cannot know, and is kept with name, moment and what was in view.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from perennial.core.errors import PerennialError, PermanentError
from perennial.core.settings import load_settings
from perennial.pipeline.explain import explain
from perennial.pipeline.list_page import Given, answer_list, day_lists, list_detail, planned_run
from perennial.web.pages import HEADERS, render

_REASON_LENGTH = 500


@dataclass(frozen=True)
class Person:
    """Who is signed in, and whether she may answer for a list."""

    name: str
    may_answer: bool


@dataclass(frozen=True)
class Host:
    """What the host of the pages gives: a dependency that tells who asks, and a key of its own for forms."""

    person: Callable[..., Any]
    key: Callable[[], bytes]


class Said(BaseModel):
    """The form of an answer; nothing else may stand in it (L23)."""

    model_config = ConfigDict(extra="forbid")

    as_of: date
    answer: Literal["approved", "refused"]
    at_most: Annotated[int, Field(ge=0, le=1_000_000_000)]
    reason: Annotated[str, Field(min_length=3, max_length=_REASON_LENGTH)]
    token: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def add_list_pages(app: FastAPI, host: Host) -> None:
    """Add /lists to the app of the pages, whose sign-in they share."""
    who = Depends(host.person)

    @app.get("/lists", response_class=HTMLResponse)
    def lists(request: Request, as_of: date | None = None) -> HTMLResponse:
        return render(request, "lists.html", day=day_lists(load_settings(), as_of), as_of=as_of)

    @app.get("/lists/why", response_class=HTMLResponse)
    def why(
        request: Request, client: Annotated[str, Query(max_length=200)] = "", as_of: date | None = None
    ) -> HTMLResponse:
        return _why(request, client.strip(), as_of)

    @app.get("/lists/{campaign}/{channel}", response_class=HTMLResponse)
    def one(
        request: Request, campaign: str, channel: str, as_of: date | None = None, person: Person = who
    ) -> HTMLResponse:
        found = list_detail(load_settings(), campaign, channel, as_of)
        if found is None:
            raise HTTPException(404)
        token = form_token(host.key(), person.name, campaign, channel, found.run.as_of)
        return render(request, "list.html", one=found, person=person, token=token)

    @app.post("/lists/{campaign}/{channel}")
    def answer(
        request: Request, campaign: str, channel: str, said: Annotated[Said, Form()], person: Person = who
    ) -> Response:
        wanted = form_token(host.key(), person.name, campaign, channel, said.as_of)
        if not person.may_answer or not is_own_form(request) or not hmac.compare_digest(said.token, wanted):
            raise HTTPException(403)
        given = Given(said.answer, said.at_most, " ".join(said.reason.split()), person.name)
        try:
            answer_list(load_settings(), campaign, channel, said.as_of, given)
        except PermanentError as error:  # answered by somebody else meanwhile
            return render(request, "error.html", status=409, title="Not asked", text=str(error))
        root = request.scope.get("root_path", "")
        return RedirectResponse(f"{root}/lists/{campaign}/{channel}?as_of={said.as_of}", 303, headers=HEADERS)


def form_token(key: bytes, person: str, campaign: str, channel: str, as_of: date) -> str:
    """What a form of ours carries: only who has read our page knows it, and it is good for this person and list."""
    parts = f"list answer\x1f{person}\x1f{campaign}\x1f{channel}\x1f{as_of.isoformat()}"
    return hmac.new(key, parts.encode(), hashlib.sha256).hexdigest()


def is_own_form(request: Request) -> bool:
    """Whether a browser says that the form stood on a page of ours; one that says nothing is judged by the token."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    return site == "same-origin"


def _why(request: Request, client: str, as_of: date | None) -> HTMLResponse:
    settings = load_settings()
    run = planned_run(settings, as_of)
    told: dict[str, Any] | None = None
    problem = None
    if run is not None and client:
        try:
            told = explain(settings, client, run)
        except PermanentError as error:
            problem = str(error.problems[0].message)
        except PerennialError as error:
            problem = str(error)
    values = {"told": told, "client": client, "run": run, "problem": problem}
    return render(request, "why.html", status=404 if problem else 200, **values)
