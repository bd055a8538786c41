"""The shop that posts events, in a home of its own, and its hooks as a client sees them."""

from __future__ import annotations

import warnings

import pytest

from factories import event_shop


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Settings of the event shop."""
    from perennial.core.settings import load_settings

    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(event_shop.write_config(tmp_path / "config")))
    for name, value in event_shop.hook_environment().items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def hooks(shop):
    """A client of the hooks, without Airflow."""
    return client_of(shop)


def client_of(_settings):
    """A client of a new process's hooks."""
    from perennial.core.connections import EnvironmentConnections
    from perennial.web.hooks import create_hooks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    return TestClient(create_hooks(EnvironmentConnections()))
