"""The app that Airflow's API server mounts at /perennial: pages behind Airflow's sign-in, webhooks behind their own."""

from __future__ import annotations

from fastapi import FastAPI

from perennial.web.hooks import create_hooks
from perennial.web.pages import create_pages


def create_app() -> FastAPI:
    """The whole app. A mounted app has no dependency of the other: each refuses strangers by itself."""
    from perennial.web.airflow_host import SIGNED_IN, ServerConnections, login_url

    app = create_pages(SIGNED_IN, login_url)
    app.mount("/hooks", create_hooks(ServerConnections()))
    return app
