"""The app that Airflow's API server mounts at /perennial: pages behind Airflow's sign-in, the rest behind its own."""

from __future__ import annotations

from fastapi import FastAPI

from perennial.web.feedback_hooks import create_feedback_hooks
from perennial.web.hooks import create_hooks
from perennial.web.lists import add_list_pages
from perennial.web.pages import create_pages
from perennial.web.unsubscribe import create_unsubscribe


def create_app() -> FastAPI:
    """The whole app. A mounted app has no dependency of the other: each refuses strangers by itself."""
    from perennial.web.airflow_host import LIST_HOST, SIGNED_IN, ServerConnections, login_url

    app = create_pages(SIGNED_IN, login_url)
    add_list_pages(app, LIST_HOST)
    app.mount("/hooks", create_hooks(ServerConnections()))
    app.mount("/feedback", create_feedback_hooks(ServerConnections()))
    app.mount("/unsubscribe", create_unsubscribe(ServerConnections()))
    return app
