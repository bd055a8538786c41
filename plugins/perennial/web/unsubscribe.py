"""The public end of unsubscribe links: `/perennial/unsubscribe/{token}` (RFC 8058). Who follows one is not signed in.

GET shows a page with one button and changes nothing: programs that look at every link of a mail unsubscribe nobody.
POST withdraws at once, for the page's button and for the mailbox provider that posts `List-Unsubscribe=One-Click`.
A token can do nothing else, and names nobody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from perennial.core.connections import ConnectionStore
from perennial.core.errors import PerennialError
from perennial.core.settings import Settings, load_settings
from perennial.delivery.unsubscribe_links import CONNECTION, Links, Unsubscribe, links_of
from perennial.pipeline.feedback import Intake
from perennial.web.desk import RETRY_SECONDS, Kept
from perennial.web.pages import STYLE, TEMPLATES

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
_CHANNELS = {"email": "e-mail", "sms": "text message", "call": "phone", "account_manager": "our account managers"}

log = logging.getLogger("perennial")


@dataclass
class _Desk:
    connections: ConnectionStore
    settings: Settings = field(default_factory=load_settings)

    def __post_init__(self) -> None:
        self.links: Kept[Links] = Kept(lambda: links_of(self.connections.get(CONNECTION)))
        self.intake: Kept[Intake] = Kept(lambda: Intake(self.settings))


def create_unsubscribe(connections: ConnectionStore) -> FastAPI:
    """The app below /perennial/unsubscribe; `connections` gives the secret of the links."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    desk: list[_Desk] = []

    async def found(token: str) -> tuple[_Desk, Unsubscribe | None]:
        if not desk:
            desk.append(await run_in_threadpool(_Desk, connections))
        links = await run_in_threadpool(desk[0].links.get)
        return desk[0], links.verify(token)

    @app.get("/style.css")
    def style() -> Response:
        return FileResponse(STYLE, media_type="text/css", headers=_HEADERS)

    @app.api_route("/{token}", methods=["GET", "HEAD"])
    async def ask(token: str, request: Request) -> Response:
        try:
            held, what = await found(token)
        except PerennialError as error:
            return _not_now(request, error)
        return _page(request, held.settings, what, "asked" if what else "unknown")

    @app.post("/{token}")
    async def withdraw(token: str, request: Request) -> Response:
        try:
            held, what = await found(token)
            if what is not None:
                intake = await run_in_threadpool(held.intake.get)
                await run_in_threadpool(intake.withdraw, what)
        except (PerennialError, sa.exc.SQLAlchemyError) as error:
            return _not_now(request, error)
        return _page(request, held.settings, what, "done" if what else "unknown")

    return app


def _page(request: Request, settings: Settings, what: Unsubscribe | None, state: str) -> HTMLResponse:
    text = TEMPLATES.get_template("unsubscribe.html").render(
        root=request.scope.get("root_path", ""),
        company=settings.company.name,
        channel=_CHANNELS.get(what.channel, what.channel) if what else "",
        purpose=what.purpose.replace("_", " ") if what else "",
        state=state,
    )
    return HTMLResponse(text, 404 if state == "unknown" else 200, headers=_HEADERS)


def _not_now(request: Request, error: Exception) -> HTMLResponse:
    told = str(error) if isinstance(error, PerennialError) else type(error).__name__
    log.error("An unsubscribe link could not be followed: %s", told)
    root = request.scope.get("root_path", "")
    text = TEMPLATES.get_template("unsubscribe.html").render(
        root=root, company="", channel="", purpose="", state="later"
    )
    return HTMLResponse(text, 503, headers={**_HEADERS, "Retry-After": str(RETRY_SECONDS)})
