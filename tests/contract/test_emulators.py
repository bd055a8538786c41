"""The emulators' own promise: what breaks a vendor's specification, in a request or in an answer, does not pass."""

import asyncio

import pytest

from contract.emulators import brevo, listmonk, mailchimp
from contract.emulators.rigs import OurTime
from contract.emulators.server import Breaks, running, serving
from contract.emulators.specification import merge_patch
from perennial.core.errors import PerennialError
from perennial.delivery.tools.http import Api
from perennial.delivery.tools.records import Limits

BASIC = {"Authorization": "Basic cGVyZW5uaWFsOjAxMjM0NTY3ODlhYmNkZWYtdXM2"}
AUDIENCE = f"/lists/{mailchimp.AUDIENCE}"


def call(emulator, method, path, body=None, headers=BASIC):
    async def once():
        api = Api(
            "tool", emulator.url, headers=headers, limits=Limits(1, 100, 2), manners=OurTime().manners(attempts=1)
        )
        try:
            return (await api.call(method, path, body=body)).json()
        except PerennialError as error:
            return error
        finally:
            await api.close()

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("emulator", "method", "path", "body", "found"),
    [
        (
            mailchimp.MailchimpEmulator,
            "POST",
            AUDIENCE,
            {"members": [{"email_address": 5}]},
            "5 is not of type 'string'",
        ),
        (mailchimp.MailchimpEmulator, "POST", AUDIENCE, {"members": [{"status": "subscribd"}]}, "subscribd"),
        (mailchimp.MailchimpEmulator, "POST", AUDIENCE, {}, "'members' is a required property"),
        (mailchimp.MailchimpEmulator, "POST", AUDIENCE, {"members": [{}] * 501}, "is too long"),
        (mailchimp.MailchimpEmulator, "GET", "/no/such/path", None, "Path not found"),
        (brevo.BrevoEmulator, "POST", "/contacts/import", {"listIds": [1]}, "not valid under any"),
        (brevo.BrevoEmulator, "GET", "/smtp/blockedContacts?limit=101", None, "101"),
        (listmonk.ListmonkEmulator, "POST", "/subscribers", {"email": "a@x.example"}, "'name' is a required property"),
        (listmonk.ListmonkEmulator, "PUT", "/subscribers/lists", {"target_list_ids": 5}, "5 is not of type 'array'"),
    ],
)
def test_a_request_that_breaks_the_specification_is_caught_and_has_no_effect(emulator, method, path, body, found):
    with serving(emulator()) as tool:
        call(tool, method, path, body, {**BASIC, "api-key": "k"})
    assert found in "\n".join(tool.violations)
    assert tool.people == {}


def test_a_request_without_a_key_breaks_the_specification():
    with serving(mailchimp.MailchimpEmulator()) as tool:
        call(tool, "GET", "/ping", headers={})
    assert tool.violations


def test_an_answer_that_breaks_the_specification_fails_the_test_that_uses_the_emulator():
    class Wrong(mailchimp.MailchimpEmulator):
        def page(self, asked, name, rows):
            return {name: rows, "total_items": "many"}

    with pytest.raises(AssertionError, match="'many' is not of type 'integer'"), running(Wrong()) as tool:
        call(tool, "GET", f"{AUDIENCE}/segments")


def test_a_status_that_the_specification_does_not_know_is_caught_but_for_planned_faults():
    class Wrong(listmonk.ListmonkEmulator):
        def authorised(self, asked):
            answer = super().not_found()
            answer.undeclared = ""
            return answer

    with pytest.raises(AssertionError, match="undeclared"), running(Wrong()) as tool:
        call(tool, "GET", "/lists")
    with running(listmonk.ListmonkEmulator()) as tool:
        tool.plan("*", Breaks(500))
        call(tool, "GET", "/lists")
    assert tool.calls == {"GET /lists": 1}


def test_a_member_with_texts_and_numbers_passes_by_the_overlay_alone():
    with running(mailchimp.MailchimpEmulator()) as tool:
        row = {"email_address": "a@x.example", "status": "subscribed", "merge_fields": {"FNAME": "A", "POINTS": 5}}
        assert call(tool, "POST", AUDIENCE, {"members": [row]})["total_created"] == 1


def test_a_merge_patch_is_that_of_rfc_7396():
    given, patch = {"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}
    assert merge_patch(given, patch) == {"a": "z", "c": {"d": "e"}}
    assert merge_patch({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert merge_patch({"a": "foo"}, "bar") == "bar"
    assert merge_patch({"e": None}, {"a": 1}) == {"e": None, "a": 1}
    assert merge_patch({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
