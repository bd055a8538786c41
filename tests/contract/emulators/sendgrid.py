"""SendGrid: contact lists, custom fields, jobs that run while they are asked about, an error file, suppressions, activity."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import uuid
from datetime import datetime

from contract.emulators.people import MailingEmulator, MailingList, Person
from contract.emulators.rigs import RIGS, OneConnection, Rig
from contract.emulators.server import Answer, Asked, TooMany, route
from perennial.contracts.destinations import SendgridConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.sendgrid import SendGrid

_RESERVED = ("first_name", "last_name", "city", "country", "postal_code", "phone_number_id", "external_id")
_READ_ONLY = ("email", "created_at", "updated_at", "contact_id")
_KINDS = {
    "unsubscribes": "unsubscribe",
    "bounces": "hard_bounce",
    "spam_reports": "complaint",
    "invalid_emails": "invalid",
}
_BETWEEN = re.compile(r'last_event_time BETWEEN TIMESTAMP "([^"]+)" AND TIMESTAMP "([^"]+)"')


def _uuid(number: int) -> str:
    return str(uuid.UUID(int=number))


class SendgridEmulator(MailingEmulator):
    SPECIFICATION = tuple(
        f"sendgrid/tsg_{name}_v3.json"
        for name in ("mc_contacts", "mc_lists", "mc_custom_fields", "suppressions", "email_activity")
    )
    OUTSIDE = ("/errors/",)
    key = "SG.0123456789"

    def __init__(self) -> None:
        super().__init__()
        self.custom: dict[str, dict] = {}
        self.jobs: dict[str, dict] = {}
        self.left_groups: list[dict] = []
        self.messages: list[dict] = []
        self.refused: dict[str, str] = {}  # addresses whose rows fail, and SendGrid's words
        self.error_form = "csv"  # csv | json | lines | gzip | none | short (a row less than failed)
        self.removals_fail = False

    def authorised(self, asked: Asked) -> Answer | None:
        if asked.path.startswith(self.OUTSIDE):
            if "Authorization" in asked.headers:
                self.violations.append("our key was sent to another address")
            return None
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            errors = [{"message": "The provided authorization grant is invalid", "field": None}]
            return Answer({"errors": errors}, 401, undeclared="lists and suppressions declare no 401")
        return None

    def not_found(self) -> Answer:
        return Answer({"errors": [{"message": "not found"}]}, 404)

    def too_many(self, fault: TooMany) -> Answer:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return Answer({"errors": [{"message": "too many requests"}]}, 429, headers, undeclared="a fault")

    def over_plan(self) -> Answer:
        return Answer({"errors": [{"message": "the account has reached its contact limit"}]}, 403)

    # lists and fields ---------------------------------------------------------------------------------------------
    def _list(self, one: MailingList) -> dict:
        return {"id": _uuid(one.id), "name": one.title, "contact_count": len(one.members)}

    @route("GET /v3/marketing/lists")
    def all_lists(self, asked):
        size = min(int(asked.query.get("page_size", 100)), self.page_limit or 1000)
        start = int(asked.query.get("page_token", 0))
        found = [self._list(one) for one in self.lists.values()]
        told = {"count": len(found), "self": f"{self.url}/v3/marketing/lists"}
        if start + size < len(found):
            told["next"] = f"{self.url}/v3/marketing/lists?page_size={size}&page_token={start + size}"
        return {"result": found[start : start + size], "_metadata": told}

    @route("POST /v3/marketing/lists")
    def make_list(self, asked):
        if any(one.title == asked.json["name"] for one in self.lists.values()):
            return Answer({"errors": [{"message": "list name already exists", "field": "name"}]}, 400)
        one = MailingList(self.next_id(), asked.json["name"])
        self.lists[one.id] = one
        return Answer(self._list(one), 201)

    @route("GET /v3/marketing/field_definitions")
    def fields(self, asked):
        reserved = [
            {"name": name, "field_type": "Text", "read_only": name in _READ_ONLY} for name in (*_RESERVED, *_READ_ONLY)
        ]
        return {"custom_fields": list(self.custom.values()), "reserved_fields": reserved}

    @route("POST /v3/marketing/field_definitions")
    def make_field(self, asked):
        taken = {name.lower() for name in (*self.custom, *_RESERVED, *_READ_ONLY)}
        if asked.json["name"].lower() in taken or not re.fullmatch(r"[A-Za-z_]\w*", asked.json["name"]):
            return Answer({"errors": [{"message": "invalid name", "field": "name"}]}, 400)
        letter = asked.json["field_type"][0]
        made = {
            "id": f"e{len(self.custom) + 1}_{letter}",
            "name": asked.json["name"],
            "field_type": asked.json["field_type"],
        }
        self.custom[made["name"]] = made
        return made

    # contacts -----------------------------------------------------------------------------------------------------
    @route("GET /v3/marketing/contacts/count")
    def count(self, asked):
        return {"contact_count": len(self.people)}

    def _error_of(self, row: dict) -> str | None:
        if row["email"] in self.refused:
            return self.refused[row["email"]]
        kinds = {one["id"]: one["field_type"] for one in self.custom.values()}
        for number, value in row.get("custom_fields", {}).items():
            if number not in kinds:
                return f"custom field {number} does not exist"
            if (kinds[number] == "Number") != isinstance(value, int | float):
                return f"custom field {number} is not a {kinds[number]}"
        return None

    @route("PUT /v3/marketing/contacts")
    def upsert(self, asked):
        given = asked.json
        wanted = [uuid.UUID(one).int for one in given.get("list_ids", [])]
        if any(one not in self.lists for one in wanted):
            return Answer({"errors": [{"message": "list not found", "field": "list_ids"}]}, 404)
        names = {one["id"]: name for name, one in self.custom.items()}
        failed = []
        for row in self.rows(given["contacts"]):
            error = self._error_of(row)
            if error:
                failed.append((row["email"], error))
                continue
            known = self.people.setdefault(row["email"].lower(), Person(self.next_id(), row["email"]))
            custom = {names[number]: value for number, value in row.get("custom_fields", {}).items()}
            known.fields |= custom | {name: value for name, value in row.items() if name in _RESERVED}
            for one in wanted:
                self.lists[one].members[row["email"].lower()] = self.tick()
        return Answer({"job_id": self._job("upsert", len(given["contacts"]), failed)}, 202)

    def _job(self, kind: str, requested: int, failed: list) -> str:
        number = _uuid(self.next_id())
        status = "completed" if not failed else "failed" if len(failed) == requested else "errored"
        self.jobs[number] = {
            "kind": kind,
            "requested": requested,
            "failed": failed,
            "states": [None, "pending", status],
        }
        return number

    @route("GET /v3/marketing/contacts/imports/{id}")
    def job(self, asked):
        job = self.jobs[asked.ids["id"]]
        status = job["states"].pop(0) if len(job["states"]) > 1 else job["states"][0]
        if status is None:
            return self.not_found()
        results = {"requested_count": job["requested"], "errored_count": len(job["failed"])}
        if status in ("errored", "failed") and self.error_form != "none" and job["failed"]:
            results["errors_url"] = f"{self.url}/errors/{asked.ids['id']}?X-Signature=a%2Bb"
        return {"id": asked.ids["id"], "status": status, "job_type": job["kind"], "results": results}

    @route("GET /errors/{id}")
    def errors(self, asked):
        assert asked.query == {"X-Signature": "a+b"}
        failed = self.jobs[asked.ids["id"]]["failed"]
        rows = [{"email": address.upper(), "error": words} for address, words in failed]
        if self.error_form == "json":
            return Answer(
                json.dumps([{"contact": {"email": one["email"]}, "message": one["error"]} for one in rows]).encode()
            )
        if self.error_form == "lines":
            return Answer("\n".join(json.dumps(one) for one in rows).encode())
        out = io.StringIO()
        writer = csv.DictWriter(out, ["Email", "Error"])
        writer.writeheader()
        for one in rows[1:] if self.error_form == "short" else rows:
            writer.writerow({"Email": one["email"], "Error": one["error"]})
        text = out.getvalue().encode("utf-8-sig")
        return Answer(gzip.compress(text) if self.error_form == "gzip" else text, headers={"Content-Type": "text/csv"})

    @route("POST /v3/marketing/contacts/search/identifiers/{identifier_type}")
    def search(self, asked):
        assert asked.ids["identifier_type"] == "email"
        assert len(asked.json["identifiers"]) <= 100
        found = {
            address: {"contact": self._contact(self.people[address.lower()])}
            if address.lower() in self.people
            else {"error": "contact not found"}
            for address in asked.json["identifiers"]
        }
        if not any("contact" in one for one in found.values()):
            return Answer({"message": "not found"}, 404)
        return {"result": found}

    def _contact(self, person: Person) -> dict:
        on = [_uuid(one.id) for one in self.lists.values() if person.address.lower() in one.members]
        at = person.changed.isoformat()
        return {
            "id": _uuid(person.id), "email": person.address.lower(), "list_ids": on, "segment_ids": [], "created_at": at,
            "updated_at": at,
        }  # fmt: skip

    @route("DELETE /v3/marketing/lists/{id}/contacts")
    def take_off(self, asked):
        number = uuid.UUID(asked.ids["id"]).int
        if number not in self.lists:
            return Answer({}, 404)
        ids = asked.query["contact_ids"].split(",")
        by_id = {_uuid(person.id): address for address, person in self.people.items()}
        failed = [(by_id[one], "internal") for one in ids] if self.removals_fail else []
        for one in self.rows(ids):
            if not self.removals_fail:
                self.lists[number].members.pop(by_id[one], None)
        return Answer({"job_id": self._job("delete", len(ids), failed)}, 202)

    # suppressions -------------------------------------------------------------------------------------------------
    def _suppressed(self, asked: Asked, kind: str) -> list:
        start = int(asked.query.get("start_time", 0))
        found = [
            {"email": one.address, "created": int(one.changed.timestamp()), "reason": "550 unknown", "ip": "192.0.2.1", "status": "5.1.1"}
            for one in sorted(self.people.values(), key=lambda one: one.changed, reverse=True)
            if one.withdrew == _KINDS[kind] and int(one.changed.timestamp()) >= start
        ]  # fmt: skip
        offset = int(asked.query.get("offset", 0))
        return found[offset : offset + min(int(asked.query.get("limit", 500)), self.page_limit or 500)]

    @route("GET /v3/suppression/unsubscribes")
    def unsubscribes(self, asked):
        return self._suppressed(asked, "unsubscribes")

    @route("GET /v3/suppression/bounces")
    def bounces(self, asked):
        return self._suppressed(asked, "bounces")

    @route("GET /v3/suppression/spam_reports")
    def spam_reports(self, asked):
        return self._suppressed(asked, "spam_reports")

    @route("GET /v3/suppression/invalid_emails")
    def invalid(self, asked):
        return self._suppressed(asked, "invalid_emails")

    @route("GET /v3/asm/suppressions")
    def groups(self, asked):
        return self.left_groups

    def leave_group(self, address: str, group: int) -> None:
        """A recipient leaves an unsubscribe group."""
        at = int(self.tick().timestamp())
        self.left_groups.append({"email": address, "group_id": group, "group_name": f"group {group}", "created_at": at})

    # activity -----------------------------------------------------------------------------------------------------
    def happened(self, kind: str, address: str, title: str) -> None:
        """Something becomes of a message to a member of the list of that title."""
        status = (
            "not_delivered" if kind.endswith("bounce") else "processed" if kind in ("open", "click") else "delivered"
        )
        self.messages.append(
            {
                "from_email": "shop@example.com", "msg_id": f"m{self.next_id()}", "subject": title, "to_email": address,
                "status": status, "opens_count": int(kind == "open"), "clicks_count": int(kind == "click"),
                "last_event_time": self.tick().strftime("%Y-%m-%dT%H:%M:%SZ"), "kind": kind,
            }
        )  # fmt: skip

    @route("GET /v3/messages")
    def activity(self, asked):
        begin, end = (datetime.fromisoformat(text) for text in _BETWEEN.fullmatch(asked.query["query"]).groups())
        found = [one for one in self.messages if begin <= datetime.fromisoformat(one["last_event_time"]) <= end]
        limit = min(int(asked.query["limit"]), 1000)
        return {"messages": [{k: v for k, v in one.items() if k != "kind"} for one in found[:limit]]}

    @route("GET /v3/messages/{msg_id}")
    def message(self, asked):
        one = next(one for one in self.messages if one["msg_id"] == asked.ids["msg_id"])
        bounce = {
            "event_name": "bounced", "processed": one["last_event_time"], "reason": f"550 5.1.1 <{one['to_email']}>: no such user",
            "bounce_type": one["kind"].partition("_")[0], "http_user_agent": "", "mx_server": "mx.example.com",
        }  # fmt: skip
        return {
            "from_email": one["from_email"], "msg_id": one["msg_id"], "subject": one["subject"], "to_email": one["to_email"],
            "status": one["status"], "template_id": "t", "asm_group_id": 1, "teammate": "", "api_key_id": "k" * 22,
            "events": [bounce], "originating_ip": "192.0.2.1", "categories": [], "unique_args": "", "outbound_ip": "192.0.2.2",
            "outbound_ip_type": "shared",
        }  # fmt: skip


def connect(emulator, manners, **config):
    connection = Connection("sendgrid", "http", host=emulator.url, password=SendgridEmulator.key)
    given = {"kind": "sendgrid", "channels": ("email",), "connection": "sendgrid", **config}
    return SendGrid("tool", SendgridConfig(**given), OneConnection(connection), manners)


_PUT = "PUT /v3/marketing/contacts"
RIGS["sendgrid"] = Rig(
    SendgridEmulator,
    connect,
    hand_in={"add": _PUT, "update": _PUT, "remove": "DELETE /v3/marketing/lists/{id}/contacts"},
    text="favourite",
    number="POINTS",
    unknown="created_at",
    asynchronous=True,
)
