"""Webhooks: who is let in, what is taken, and that nothing is promised that is not on the disk."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import threading
from pathlib import Path

import pytest

from factories.event_shop import PREVIOUS, SECRET, SIGNATURE, complaint, order, rows_below, signed, write_config
from perennial.sources.config import load_sources
from perennial.sources.events import land_due
from unit.web.conftest import client_of


def _spooled(shop) -> list[dict[str, object]]:
    return rows_below(shop.landing, "web/.spool/*/*.jsonl")


def test_a_signed_event_is_on_the_disk_when_it_is_answered(hooks, shop):
    body, headers = signed(order(1))
    answer = hooks.post("/web/orders", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"rows": 1})
    row = _spooled(shop)[0]
    assert row.pop("_sequence")
    assert row == order(1)


def test_a_list_is_one_event_for_each_item_and_what_does_not_match_is_left_out(hooks, shop):
    body, headers = signed([complaint(1), {**complaint(2), "kind": "praise"}, complaint(3)])
    assert hooks.post("/web/complaints", content=body, headers=headers).json() == {"rows": 2}
    assert [row["id"] for row in _spooled(shop)] == ["k1", "k3"]


def test_the_secret_before_holds_during_a_rotation(hooks):
    body, headers = signed(order(1), PREVIOUS)
    assert hooks.post("/web/orders", content=body, headers=headers).status_code == 202


@pytest.mark.parametrize("path", ["/nobody/orders", "/web/nothing", "/web/Orders", "/%2e%2e/orders", "/web/orders/x"])
def test_who_asks_for_what_is_not_there_learns_nothing(hooks, path):
    body, headers = signed(order(1))
    answer = hooks.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_a_wrong_signature_is_401_and_nothing_is_parsed_or_kept(hooks, shop):
    body, headers = signed(order(1))
    for wrong in (body + b" ", b"{", b""):
        assert hooks.post("/web/orders", content=wrong, headers=headers).status_code == 401
    assert hooks.post("/web/orders", content=body, headers={"Content-Type": "application/json"}).status_code == 401
    assert _spooled(shop) == []


def test_a_get_is_not_answered_with_anything(hooks):
    assert hooks.get("/web/orders").status_code == 405


def test_a_body_above_the_limit_is_refused_also_when_its_length_is_not_told(shop, tmp_path):
    write_config(tmp_path / "config", max_bytes=1_000)
    hooks, json_type = client_of(shop), {"Content-Type": "application/json"}
    assert hooks.post("/web/orders", content=b"x" * 1_001, headers=json_type).status_code == 413
    parts = (b"x" * 400 for _ in range(50))
    assert hooks.post("/web/orders", content=parts, headers=json_type).status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": ""},
    ],
)
def test_a_body_that_is_not_plain_json_is_415(hooks, headers):
    body, signature = signed(order(1))
    assert hooks.post("/web/orders", content=body, headers={**signature, **headers}).status_code == 415


HOSTILE = {
    "not JSON": b"{'a': 1}",
    "no object": b"7",
    "a list of numbers": b"[1, 2]",
    "not UTF-8": b'{"a": "\xff"}',
    "deep": b'{"a":' * 40 + b"1" + b"}" * 40,
    "deeper than the parser": b"[" * 200_000,
    "half a character": b'{"order_id": "\\ud800"}',
    "NUL": b'{"order_id": "a\\u0000b"}',
    "NaN": b'{"amount": NaN}',
    "a number of 5,000 digits": b'{"amount": ' + b"9" * 5_000 + b"}",
    "cut off": b'{"order_id": "o1", ',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_L23_a_signed_body_that_cannot_be_used_is_422_with_a_reason_and_nothing_of_it(hooks, shop, name):
    digest = hmac.new(SECRET.encode(), HOSTILE[name], hashlib.sha256).hexdigest()
    headers = {SIGNATURE: digest, "Content-Type": "application/json"}
    answer = hooks.post("/web/orders", content=HOSTILE[name], headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("web.orders: ")
    assert _spooled(shop) == []


def test_money_keeps_its_digits(hooks, shop):
    body = b'{"order_id": "o1", "amount": 12345678901234.5678, "tax": 0.10, "big": 1e400}'
    headers = {
        SIGNATURE: hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }
    assert hooks.post("/web/orders", content=body, headers=headers).status_code == 202
    row = _spooled(shop)[0]
    assert (row["amount"], row["tax"], row["big"]) == ("12345678901234.5678", 0.1, "1e400")


def test_a_full_disk_is_503_with_a_time_to_come_back_and_leaves_no_half_event(hooks, shop, monkeypatch):
    body, headers = signed(order(1))
    assert hooks.post("/web/orders", content=body, headers=headers).status_code == 202
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: _half(real, descriptor, data, shop))
    answer = hooks.post("/web/orders", content=signed(order(2))[0], headers=signed(order(2))[1])
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "No space" not in answer.text, "strangers learn nothing of the disk"
    monkeypatch.setattr(os, "write", real)
    assert hooks.post("/web/orders", content=signed(order(2))[0], headers=signed(order(2))[1]).status_code == 202
    assert [row["order_id"] for row in _spooled(shop)] == ["o1", "o2"]


def _half(real, descriptor, data, shop):
    if ".spool" not in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
        return real(descriptor, data)
    if len(data) > 20:
        return real(descriptor, data[:20])
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_a_secret_nothing_is_taken_and_the_sender_is_asked_to_come_again(shop, monkeypatch, caplog):
    body, headers = signed(order(1), "")
    for connection in ({"conn_type": "http"}, {"conn_type": "http", "password": ""}):
        monkeypatch.setenv("AIRFLOW_CONN_WEB_HOOK", json.dumps(connection))
        assert client_of(shop).post("/web/orders", content=body, headers=headers).status_code == 503
    monkeypatch.delenv("AIRFLOW_CONN_WEB_HOOK")
    assert client_of(shop).post("/web/orders", content=body, headers=headers).status_code == 503
    assert "web_hook" in caplog.text


def test_L22_no_secret_shows_in_a_log_or_an_answer(hooks, caplog):
    body, headers = signed(order(1), "wrong")
    answer = hooks.post("/web/orders", content=body, headers=headers)
    for text in (caplog.text, answer.text):
        assert SECRET not in text
        assert PREVIOUS not in text


def test_many_at_once_are_all_kept_each_in_a_line_of_its_own(hooks, shop):
    answers: list[int] = []

    def post(start: int) -> None:
        for number in range(start, start + 20):
            body, headers = signed(order(number))
            answers.append(hooks.post("/web/orders", content=body, headers=headers).status_code)

    threads = [threading.Thread(target=post, args=(start,)) for start in range(0, 160, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 160
    rows = _spooled(shop)
    assert sorted(row["order_id"] for row in rows) == sorted(f"o{number}" for number in range(160))
    assert len({row["_sequence"] for row in rows}) == 160


def test_a_source_that_is_added_later_is_served_without_a_restart(hooks, shop, tmp_path):
    config = tmp_path / "config/sources.yml"
    body, headers = signed(order(1))
    text = config.read_text()
    config.write_text(text.replace("  web:", "  wide:"))
    assert hooks.post("/wide/orders", content=body, headers=headers).status_code == 202
    assert hooks.post("/web/orders", content=body, headers=headers).status_code == 404


def test_what_was_answered_becomes_a_landed_file_without_a_next_request(hooks, shop):
    body, headers = signed(order(1))
    hooks.post("/web/orders", content=body, headers=headers)
    source = load_sources(shop).sources["web"]
    assert land_due(shop, "web", source) == []
    names = land_due(shop, "web", source, everything=True)
    assert len(names) == 1
    assert [row["order_id"] for row in rows_below(shop.landing, "web/orders_*.jsonl")] == ["o1"]
    hooks.post("/web/orders", content=signed(order(2))[0], headers=signed(order(2))[1])
    assert [row["order_id"] for row in _spooled(shop)] == ["o2"]


def test_the_example_of_the_documents_is_a_config_and_takes_an_order_with_its_lines(tmp_path, monkeypatch):
    import textwrap

    from perennial.core.settings import REPOSITORY, load_settings

    text = (REPOSITORY / "docs/sources.md").read_text().split("## Events: webhooks and queues")[1]
    example = textwrap.dedent(text.split("```yaml\n")[1].split("```")[0])
    config = write_config(tmp_path / "config")
    indented = textwrap.indent(example, "  ")
    (config / "sources.yml").write_text(f"version: 1\nsources:\n{indented}")
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(config))
    monkeypatch.setenv("AIRFLOW_CONN_WEB_HOOK", json.dumps({"conn_type": "http", "password": SECRET}))
    settings = load_settings()
    head = {"id": "o1", "customer": "c1", "sold_at": "2026-01-01T12:00:00Z"}
    lines = [{"sku": "a", "quantity": 1, "amount": 2.5}, {"sku": "b", "quantity": 2, "amount": 4}]
    body, headers = signed({"topic": "order.created", "updated_at": "1", "order": {**head, "lines": lines}})
    assert client_of(settings).post("/web/orders", content=body, headers=headers).json() == {"rows": 2}
    rows = _spooled(settings)
    assert [row["sku"] for row in rows] == ["a", "b"]
    assert {row["_event"]["order"]["id"] for row in rows} == {"o1"}
