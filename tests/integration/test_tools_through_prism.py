"""The calls of every connector through Prism, which knows the vendors' specifications by itself: a second opinion.

The emulators are held to the specifications by openapi-core. Here Prism stands between connector and emulator and lets
neither a request nor an answer pass that breaks the specification. It does not look into `application/vnd.api+json`
(Klaviyo's bodies): there openapi-core alone does.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from base64 import b64encode
from datetime import date
from types import SimpleNamespace

import pytest

from contract.emulators.rigs import RIGS, OurTime
from contract.emulators.server import running
from contract.test_tool_conformance import EMULATORS
from factories.prism import between, installed_prism
from perennial.delivery.records import ListKey
from perennial.delivery.tools.records import Chunk, Contact, ListTarget

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(900)]

KEY = ListKey("news", "email", date(2026, 11, 2))


@pytest.fixture(scope="module")
def program(peers_cache):
    return installed_prism(peers_cache)


@pytest.fixture(params=EMULATORS, scope="module")
def vendor(request, program, tmp_path_factory):
    """A vendor's rig, its emulator, and Prism before it."""
    rig = RIGS[request.param]
    with pytest.MonkeyPatch.context() as patch, running(rig.emulator()) as emulator:
        patch.setenv("PERENNIAL_CLOCK", "2026-11-10T12:00:00+00:00")
        files = emulator.SPECIFICATION
        files = (files,) if isinstance(files, str) else files
        with between(program, files, emulator.url, tmp_path_factory.mktemp(request.param)) as prism:
            yield SimpleNamespace(name=request.param, rig=rig, emulator=emulator, prism=prism)


def _contact(number, **fields):
    return Contact(f"c{number}", f"k{number}", f"person{number}@example.com", fields)


async def _all_calls(tool, rig):
    """What a push and a pull make of calls; the list's title, and the withdrawals that were found."""
    fields = ((rig.text, "VARCHAR"), (rig.number, "BIGINT"))
    assert {step.state for step in await tool.check()} == {"passed"}
    where = await tool.prepare(ListTarget(KEY, "audience", fields))
    rows = [_contact(number, **{rig.text: "Zoë", rig.number: number}) for number in range(1, 4)]
    for action, some in (("add", rows), ("update", rows[:1]), ("remove", rows[2:])):
        chunk = Chunk(action, action, tuple(some))
        told = await tool.submit(chunk, where)
        ticket = told.ticket
        while told is None or told.ticket is not None:
            told = await tool.follow(ticket, chunk)
        assert {one.state for one in told.outcomes} == {"accepted"}
    assert await tool.read_back(where, rows) == {"c1", "c2"}
    gone = [one.address async for page, _ in tool.withdrawals({}) for one in page]
    return where.title, set(gone)


async def _feedback(tool):
    found = {one.kind async for page, _ in tool.feedback({}) for one in page}
    await tool.close()
    return found


def test_every_call_of_the_connector_and_every_answer_passes_prism(vendor):
    vendor.emulator.give("gone@example.com", withdrew="unsubscribe")
    tool = vendor.rig.connect(SimpleNamespace(url=vendor.prism), OurTime().manners())
    with asyncio.Runner() as runner:
        title, gone = runner.run(_all_calls(tool, vendor.rig))
        for kind in tool.capabilities.feedback:
            vendor.emulator.happened(kind, "person1@example.com", title)
        assert runner.run(_feedback(tool)) == set(tool.capabilities.feedback)
    assert gone == {"gone@example.com"}
    assert vendor.emulator.standing_on(title) == {"person1@example.com", "person2@example.com"}
    assert vendor.emulator.calls.total() > 0


WRONG = {
    "mailchimp": ("POST", "/lists/a1b2c3d4e5", {"members": [{"email_address": 5}]}),
    "brevo": ("POST", "/contacts/import", {"jsonBody": "nobody", "listIds": "two"}),
    "listmonk": ("POST", "/subscribers", {"name": 5, "lists": ["x"]}),
    "sendgrid": ("PUT", "/v3/marketing/contacts", {"contacts": []}),
    "klaviyo": ("GET", "/api/lists", None),  # without the header `revision`
    "resend": ("POST", "/segments", {"title": "no name"}),
}


def test_prism_stops_what_breaks_the_specification_before_it_reaches_the_tool(vendor):
    before = vendor.emulator.calls.total()
    method, path, sent = WRONG[vendor.name]
    kind = "Bearer" if vendor.name in ("sendgrid", "resend") else "Basic"
    signed = {"Authorization": f"{kind} {b64encode(b'any:key').decode()}", "api-key": "key"}
    data = json.dumps(sent).encode() if sent is not None else None
    headers = {"Content-Type": "application/json", **signed}
    request = urllib.request.Request(vendor.prism + path, data, headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert 400 <= refused.value.code < 500
    assert refused.value.code != 401
    told = refused.value.headers.get("sl-violations", "") + refused.value.read().decode()
    assert '"request"' in told or '"validation"' in told
    assert vendor.emulator.calls.total() == before
