"""The pages below /perennial: batches and their fate, quarantine, builds, models, sources, Data Docs, dbt docs.

Plain HTML, no script, but for the page that dbt writes, which is served without our origin.

Everyone who asks is asked first who they are: the app is made with a dependency that refuses strangers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.exceptions import HTTPException as AnyHTTPException

from perennial.core import clock
from perennial.core.errors import PerennialError
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.overview import batches_by_id, recent_batches, rules_of
from perennial.ledger.quarantine import set_aside
from perennial.pipeline.build_reports import read_report, recent_reports
from perennial.pipeline.dbt_docs import docs_page
from perennial.pipeline.model_cards import parts_of
from perennial.pipeline.models import checks, in_brief, models
from perennial.pipeline.overview import source_states
from perennial.pipeline.quarantine import refused_batches
from perennial.web.docs_sites import file_of, pages_of_batch, sites

_HERE = Path(__file__).parent
STYLE = _HERE / "style.css"
_PER_PAGE = 50
_EXAMPLES = 5  # sentences per batch; its own page has them all
_MOST = 200  # batches of one kind on the page of the quarantine
_CSP = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'"
_DOCS_CSP = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'"
_DBT_CSP = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TEXTS = {401: "Sign in to Airflow first.", 403: "Your role may not read assets.", 404: "There is no such page."}

TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["moment"] = lambda moment: f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
TEMPLATES.filters["named"] = lambda name: f"{name.removesuffix('.-')} (no entity)" if name.endswith(".-") else name
TEMPLATES.filters["count"] = lambda number: f"{number:,}"


def create_pages(signed_in: Any, login_url: Callable[[str], str]) -> FastAPI:
    """The app; `signed_in` refuses strangers (401) and roles that may not (403), `login_url` leads them to sign in."""
    app = FastAPI(dependencies=[signed_in], docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(AnyHTTPException, _told(login_url))
    app.add_exception_handler(PerennialError, _broken)
    app.add_exception_handler(RequestValidationError, _misasked)
    app.add_api_route("/", _batches, response_class=HTMLResponse)
    app.add_api_route("/batches", _batches, response_class=HTMLResponse)
    app.add_api_route("/batches/{batch_id}", _batch, response_class=HTMLResponse)
    app.add_api_route("/quarantine", _quarantine, response_class=HTMLResponse)
    app.add_api_route("/sources", _sources, response_class=HTMLResponse)
    app.add_api_route("/data-docs", _docs, response_class=HTMLResponse)
    app.add_api_route("/data-docs/", _docs, response_class=HTMLResponse)
    app.add_api_route("/data-docs/{path:path}", _docs_file, response_class=Response)
    app.add_api_route("/builds", _builds, response_class=HTMLResponse)
    app.add_api_route("/builds/{run_id}", _build, response_class=HTMLResponse)
    app.add_api_route("/models", _models, response_class=HTMLResponse)
    app.add_api_route("/models/{version}", _model, response_class=HTMLResponse)
    app.add_api_route("/dbt-docs", _dbt_docs, response_class=Response)
    app.add_api_route("/dbt-docs/", _dbt_docs, response_class=Response)
    app.add_api_route("/style.css", _style, response_class=Response)
    app.add_api_route("/docs.css", _docs_style, response_class=Response)
    return app


def _batches(
    request: Request,
    before: int | None = Query(default=None, ge=1),
    source: str | None = Query(default=None, max_length=60),
    state: str | None = Query(default=None, pattern="^(committed|refused)$"),
) -> HTMLResponse:
    engine = open_ledger(load_settings())
    found = recent_batches(engine, before=before, source=source, state=state, limit=_PER_PAGE + 1)
    older = found[_PER_PAGE - 1].batch_seq if len(found) > _PER_PAGE else None
    return render(
        request, "batches.html", batches=found[:_PER_PAGE], older=older, source=source, state=state, before=before
    )


def _batch(request: Request, batch_id: str) -> HTMLResponse:
    settings = load_settings()
    engine = open_ledger(settings)
    batch = batches_by_id(engine, [batch_id]).get(batch_id)
    if batch is None:
        raise HTTPException(404)
    docs = pages_of_batch(settings.data_docs, batch_id)
    return render(request, "batch.html", batch=batch, rules=rules_of(engine, batch_id), docs=docs)


def _quarantine(request: Request, batch: str | None = Query(default=None, max_length=60)) -> HTMLResponse:
    settings = load_settings()
    engine = open_ledger(settings)
    waiting = [one for one in set_aside(engine) if one.waiting > 0 and one.state == "committed"]
    refused = refused_batches(settings)
    if batch:
        waiting, refused = ([one for one in some if one.batch_id == batch] for some in (waiting, refused))
    now = clock.now().replace(tzinfo=None)
    waiting_rows = sum(one.waiting for one in waiting)
    shown = {"waiting": waiting[::-1][:_MOST], "refused": refused[::-1][:_MOST]}  # newest first
    everything = [*shown["waiting"], *shown["refused"]]
    lines = batches_by_id(engine, [one.batch_id for one in everything])
    values: dict[str, Any] = {
        **shown,
        "ages": {one.batch_id: _age(now, one.since) for one in everything},
        "reasons": {key: (line.row_reasons or line.reasons)[:_EXAMPLES] for key, line in lines.items()},
        "hidden": len(waiting) + len(refused) - len(everything),
    }
    return render(request, "quarantine.html", **values, total=waiting_rows, only=batch)


def _sources(request: Request) -> HTMLResponse:
    return render(request, "sources.html", sources=source_states(load_settings()))


def _builds(request: Request) -> HTMLResponse:
    return render(request, "builds.html", builds=recent_reports(load_settings()))


def _build(request: Request, run_id: str) -> HTMLResponse:
    report = read_report(load_settings(), run_id)
    if report is None:
        raise HTTPException(404)
    return render(request, "build.html", build=report)


def _models(request: Request) -> HTMLResponse:
    settings = load_settings()
    rows = []
    for card in models(settings)[:_MOST]:
        watched = checks(settings, card)
        rows.append({"card": card, "check": watched[0] if watched else None, "told": in_brief(card)})
    return render(request, "models.html", models=rows)


def _model(request: Request, version: str) -> HTMLResponse:
    settings = load_settings()
    card = next((one for one in models(settings) if one.model_version == version), None)
    if card is None:
        raise HTTPException(404)
    head, *parts = parts_of(card, checks(settings, card))
    return render(request, "model.html", card=card, head=head, parts=parts)


def _dbt_docs(request: Request) -> Response:
    """The page that dbt wrote: its scripts run, but without our origin, and so can ask nothing in our name."""
    page = docs_page(load_settings())
    if page is None:
        return render(request, "dbt_docs.html")
    return FileResponse(page, media_type="text/html", headers={**HEADERS, "Content-Security-Policy": _DBT_CSP})


def _docs(request: Request) -> HTMLResponse:
    return render(request, "docs.html", sites=sites(load_settings().data_docs))


def _docs_file(request: Request, path: str) -> Response:
    """A file as the library wrote it; a page gets our style, since its own comes from other sites and stays out."""
    found = file_of(load_settings().data_docs, path)
    if found is None:
        raise HTTPException(404)
    headers = {**HEADERS, "Content-Security-Policy": _DOCS_CSP}
    if found[1] != "text/html":
        return FileResponse(found[0], media_type=found[1], headers=headers)
    style = f'<link rel="stylesheet" href="{escape(request.scope.get("root_path", ""))}/docs.css"></head>'
    page = found[0].read_bytes().replace(b"</head>", style.encode(), 1)
    return Response(page, media_type=found[1], headers=headers)


def _style() -> Response:
    return FileResponse(STYLE, media_type="text/css", headers=HEADERS)


def _docs_style() -> Response:
    return FileResponse(_HERE / "docs.css", media_type="text/css", headers=HEADERS)


def _age(now: datetime, since: datetime) -> str:
    hours = max((now - since).total_seconds(), 0) / 3_600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"  # noqa: PLR2004 - two days


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """One of our pages, with the headers that all of them have."""
    root = request.scope.get("root_path", "")
    text = TEMPLATES.get_template(template).render(root=root, here=template, **values)
    return HTMLResponse(text, status, headers={**HEADERS, "Content-Security-Policy": _CSP})


def _told(login_url: Callable[[str], str]) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, AnyHTTPException) else 500
        wants_html = "text/html" in request.headers.get("accept", "")
        if status == 401 and wants_html and request.method == "GET":  # noqa: PLR2004
            return RedirectResponse(login_url(str(request.url)), 303, headers=HEADERS)
        return render(request, "error.html", status=status, title=str(status), text=_TEXTS.get(status, "It failed."))

    return handle


def _broken(request: Request, error: Exception) -> Response:
    """Something of ours cannot be read: the page says what and how to mend it."""
    return render(request, "error.html", status=500, title="Not readable", text=str(error))


def _misasked(request: Request, _error: Exception) -> Response:
    return render(request, "error.html", status=422, title="422", text="A part of the address is not what it may be.")
