"""Reading an API over HTTP: real requests to a real server that misbehaves on purpose."""

from __future__ import annotations

import pytest

from factories.rest_api import DROP, Reply, asking, running
from perennial.core.errors import ConfigError, ContractViolation, PermanentError, RetryableError


def _people(number, *, start=1):
    return [
        {"id": n, "name": f"Person {n}", "updated": f"2026-11-{n % 20 + 1:02d}T10:00:00Z"}
        for n in range(start, start + number)
    ]


def _ids(lines):
    return [line["id"] for line in lines]


def test_every_record_lands_once_and_a_second_fetch_lands_nothing(tmp_path):
    def answer(asked):
        at = int(asked.params["offset"])
        return {"count": 250, "results": _people(250)[at : at + int(asked.params["limit"])]}

    with running(answer) as api:
        crm = asking(
            tmp_path,
            {"base_url": api.url, "paginator": {"kind": "offset", "limit": 100, "total": "count"}},
            {"path": "people", "records": "results", "params": {"limit": "{limit}", "offset": "{offset}"}},
        )
        assert sorted(_ids(crm.fetch())) == list(range(1, 251))
        assert crm.fetch() == []
        assert len(api.asked) == 6
