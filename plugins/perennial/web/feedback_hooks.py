"""Webhooks of mailing tools: `POST /perennial/feedback/{destination}`, each signed as its vendor signs.

Nothing is parsed before the signature holds. 202 is answered when the events, the consents that end and the clients who
are suppressed are in the ledger; a tool that gets anything else posts again, and what it posts twice counts once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool

from perennial.contracts.connections import WebhookConnection
from perennial.contracts.destinations import AnyDestination
from perennial.core import clock
from perennial.core.connections import ConnectionStore
from perennial.core.errors import PerennialError, RowRejected
from perennial.core.settings import Settings, load_settings
from perennial.delivery.feedback.parsing import Parsed
from perennial.delivery.feedback.vendors import FORM_KINDS, parser_of
from perennial.delivery.tools import signatures
from perennial.pipeline.feedback import Intake, Taken
from perennial.web.desk import RETRY_SECONDS, Bodies, Kept, Turns, secrets_of
from perennial.web.signatures import is_signed

# SNS signs by a certificate that would have to be fetched; it can be told a user and a password instead, as Brevo can.
_BASIC_KINDS = frozenset({"museletter"})
_TYPES = {"form": "application/x-www-form-urlencoded", "json": "application/json", "text": "text/plain"}

log = logging.getLogger("perennial")


@dataclass
class _Desk:
    """What the process keeps between calls."""

    connections: ConnectionStore
    settings: Settings = field(default_factory=load_settings)
    turns: Turns = field(default_factory=Turns)
    bodies: Bodies = field(default_factory=Bodies)
    secrets: dict[str, Kept[list[str]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.intake = Kept(lambda: Intake(self.settings))

    def secrets_of(self, name: str, connection_id: str) -> list[str]:
        """The secrets of a destination's webhook."""
        read = Kept(lambda: secrets_of(self.connections, connection_id, f"the webhook of {name}"))
        return self.secrets.setdefault(connection_id, read).get()


def create_feedback_hooks(connections: ConnectionStore) -> FastAPI:
    """The app below /perennial/feedback; `connections` gives the secrets."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    desk: list[_Desk] = []

    @app.post("/{name}")
    async def receive(name: str, request: Request) -> JSONResponse:
        if not desk:
            desk.append(await run_in_threadpool(_Desk, connections))
        return await _receive(desk[0], name, request)

    @app.get("/{name}")
    async def look(name: str) -> PlainTextResponse:  # noqa: ARG001 - the same for every name: nothing is learned
        """Mailchimp looks whether somebody is there before it takes an address."""
        return PlainTextResponse("Webhooks are posted here.")

    return app


async def _receive(desk: _Desk, name: str, request: Request) -> JSONResponse:
    try:
        intake = await run_in_threadpool(desk.intake.get)
        config = intake.destinations.get(name)
        if config is None or config.feedback.secret is None:
            raise HTTPException(404)
        kind = str(getattr(config, "kind", ""))
        _refuse_other_types(request, kind)
        async with desk.bodies.of(request, config.feedback.max_bytes) as body:
            secrets = await run_in_threadpool(desk.secrets_of, name, config.feedback.secret)
            if not is_genuine(kind, config, secrets, request.headers, body):
                raise HTTPException(401, "the signature is missing, wrong or too old")
            desk.turns.take(name, config.feedback.per_minute)
            parsed = await run_in_threadpool(parser_of(kind), body)
        taken = await run_in_threadpool(intake.take_in, name, parsed.events, came_by="webhook")
    except RowRejected as error:
        log.warning("A webhook of %s was refused: %s", name, error)
        return JSONResponse({"detail": str(error)}, 422)
    except sa.exc.SQLAlchemyError as error:  # its text may hold what was to be written
        log.error("A webhook of %s was not taken: the ledger failed (%s)", name, type(error).__name__)
        return _later("it cannot be stored now")
    except PerennialError as error:
        log.error("Webhooks of %s are not taken until this is mended: %s", name, error)
        return _later("the receiver is not ready")
    return _told(name, parsed, taken)


def is_genuine(
    kind: str, config: AnyDestination, secrets: Sequence[str], headers: Mapping[str, str], body: bytes
) -> bool:
    """Whether the vendor made the call, within the window; what has no form of its own signs as our webhooks do."""
    verify = signatures.VERIFIERS.get("brevo" if kind in _BASIC_KINDS else kind)
    window = config.feedback.window_seconds
    if verify is not None:
        return signatures.is_fresh(verify(secrets, headers, body), clock.now(), window)
    ours = WebhookConnection(
        kind="webhook",
        id="feedback",
        signature="timestamped_hmac_sha256",
        header="X-Perennial-Signature",
        tolerance_seconds=window,
    )
    return is_signed(ours, secrets, headers, body)


def _refuse_other_types(request: Request, kind: str) -> None:
    wanted = _TYPES["form" if kind in FORM_KINDS else "json"]
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted and not (kind in _BASIC_KINDS and given == _TYPES["text"]):
        raise HTTPException(415, f"send {wanted}")


def _told(name: str, parsed: Parsed, taken: Taken) -> JSONResponse:
    """The counts, and in plain words what was not understood; nothing of it names a person."""
    for problem in parsed.problems:
        log.warning("A webhook of %s: %s", name, problem)
    told = {
        "taken": taken.new,
        "known": taken.known,
        "ignored": parsed.ignored,
        "refused": parsed.refused,
        "without_client": taken.without_client,
        "unknown_lists": len(taken.unknown_lists),
        "problems": list(parsed.problems),
    }
    if taken.unknown_lists:
        count = len(taken.unknown_lists)
        told["problems"] = [*parsed.problems, f"{count} lists are not ours; the events are kept without a campaign"]
    return JSONResponse(told, 422 if parsed.refused and not parsed.events else 202)


def _later(detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, 503, headers={"Retry-After": str(RETRY_SECONDS)})
