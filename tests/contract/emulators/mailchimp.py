"""Mailchimp: one audience, static segments, batches that run while they are asked about, reports of campaigns."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from base64 import b64decode
from datetime import datetime

from contract.emulators.people import MailingEmulator, MailingList, Person
from contract.emulators.rigs import RIGS, OneConnection, Rig
from contract.emulators.server import Answer, Asked, TooMany, route
from perennial.contracts.destinations import MailchimpConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.mailchimp import Mailchimp

AUDIENCE = "a1b2c3d4e5"
_PROBLEM = {"Content-Type": "application/problem+json"}
_STATUS = {None: "subscribed", "unsubscribe": "unsubscribed", "complaint": "unsubscribed", "hard_bounce": "cleaned"}
_WITHDREW = {"subscribed": None, "pending": None, "unsubscribed": "unsubscribe", "cleaned": "hard_bounce"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


class MailchimpEmulator(MailingEmulator):
    SPECIFICATION = "mailchimp/marketing-3.0.85.trimmed.json"
    OUTSIDE = ("/results/",)
    key = "0123456789abcdef-us6"

    def __init__(self) -> None:
        super().__init__()
        self.merge_fields = {"FNAME": "text", "LNAME": "text", "BIRTH": "date"}
        self.batches: dict[str, dict] = {}
        self.campaigns: dict[str, dict] = {}
        self.forgotten: set[str] = set()  # permanently deleted: they cannot be imported again

    # what the vendor says ---------------------------------------------------------------------------------------
    def problem(self, status: int, title: str, detail: str) -> Answer:
        body = {"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status}
        body |= {"detail": detail, "instance": "0e2bfc8e"}
        return Answer(json.dumps(body).encode(), status, dict(_PROBLEM))

    def authorised(self, asked: Asked) -> Answer | None:
        if asked.path.startswith(self.OUTSIDE):
            if "Authorization" in asked.headers:
                self.violations.append("our key was sent to another host")
            return None
        _, _, given = b64decode(asked.headers.get("Authorization", "").removeprefix("Basic ")).decode().partition(":")
        if given != self.key:
            return self.problem(401, "API Key Invalid", "Your API key may be invalid.")
        if asked.ids.get("list_id", AUDIENCE) != AUDIENCE:
            return self.not_found()
        return None

    def not_found(self) -> Answer:
        return self.problem(404, "Resource Not Found", "The requested resource could not be found.")

    def too_many(self, fault: TooMany) -> Answer:
        answer = self.problem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections.")
        answer.headers |= {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return answer

    def over_plan(self) -> Answer:
        return self.problem(403, "Forbidden", "This account has reached the number of contacts of its plan.")

    # state ------------------------------------------------------------------------------------------------------
    def member(self, person: Person) -> dict:
        key = person.address.lower()
        tags = [{"id": one.id, "name": one.title} for one in self.lists.values() if key in one.members]
        return {
            "id": hashlib.md5(key.encode()).hexdigest(), "email_address": person.address, "list_id": AUDIENCE,
            "status": _STATUS[person.withdrew], "merge_fields": person.fields, "tags": tags, "tags_count": len(tags),
            "last_changed": person.changed.isoformat(),
        }  # fmt: skip

    def page(self, asked: Asked, name: str, rows: list) -> dict:
        count = min(int(asked.query.get("count", 10)), self.page_limit or 1000)
        offset = int(asked.query.get("offset", 0))
        return {name: rows[offset : offset + count], "total_items": len(rows)}

    def error_of(self, row: dict, *, update: bool) -> dict | None:
        """Why a member is not taken."""
        said = {"email_address": row["email_address"], "error_code": "ERROR_GENERIC", "field": "", "field_message": ""}
        return self._wrong_fields(row, said) or self._wrong_member(row, said, update=update)

    def _wrong_fields(self, row: dict, said: dict) -> dict | None:
        for tag, value in row.get("merge_fields", {}).items():
            told = {**said, "field": tag, "error": "Your merge fields were invalid."}
            if self.merge_fields.get(tag) == "number" and not isinstance(value, int | float):
                return {**told, "field_message": "Please enter a number"}
            if isinstance(value, str) and len(value) > 255:
                return {**told, "field_message": "too long"}
        return None

    def _wrong_member(self, row: dict, said: dict, *, update: bool) -> dict | None:
        address = row["email_address"]
        if not _EMAIL.fullmatch(address):
            return {**said, "error": f"{address} looks fake or invalid, please enter a real email address."}
        if address.lower() in self.forgotten:
            return {**said, "error": f"{address} was permanently deleted and cannot be re-imported."}
        if not update and address.lower() in self.people:
            return {**said, "error_code": "ERROR_CONTACT_EXISTS", "error": f"{address} is already a list member."}
        if address.lower() not in self.people and not (row.get("status") or row.get("status_if_new")):
            return {**said, "error": "A status is required for a new member."}
        return None

    def write(self, row: dict) -> Person:
        key = row["email_address"].lower()
        known = self.people.get(key)
        fields = {tag: value for tag, value in row.get("merge_fields", {}).items() if tag in self.merge_fields}
        if known is None:
            status = row.get("status") or row.get("status_if_new")
            known = self.people[key] = Person(self.next_id(), row["email_address"], {}, _WITHDREW[status])
        elif row.get("status"):
            known.statuses.append(row["status"])
            known.withdrew = _WITHDREW[row["status"]]
        known.fields |= fields
        known.changed = self.tick()
        return known

    # account and audience -----------------------------------------------------------------------------------------
    @route("GET /ping")
    def ping(self, asked):
        return {"health_status": "Everything's Chimpy!"}

    @route("GET /lists/{list_id}")
    def audience(self, asked):
        return {"id": AUDIENCE, "name": "Customers"}

    @route("GET /lists/{list_id}/merge-fields")
    def fields(self, asked):
        found = [
            {"merge_id": n, "tag": tag, "name": tag, "type": kind}
            for n, (tag, kind) in enumerate(self.merge_fields.items())
        ]
        return self.page(asked, "merge_fields", found)

    @route("POST /lists/{list_id}/merge-fields")
    def make_field(self, asked):
        tag = asked.json["tag"]
        if tag in self.merge_fields:
            return self.problem(400, "Invalid Resource", "A Merge Field with the tag already exists for this list.")
        self.merge_fields[tag] = asked.json["type"]
        return {"merge_id": len(self.merge_fields), "tag": tag, "name": tag, "type": asked.json["type"]}

    @route("POST /lists/{list_id}")
    def batch_members(self, asked):
        given, update = asked.json, bool(asked.json.get("update_existing"))
        new, updated, errors = [], [], []
        for row in self.rows(given["members"]):
            error = self.error_of(row, update=update)
            if error:
                errors.append(error)
                continue
            was_known = row["email_address"].lower() in self.people
            (updated if was_known else new).append(self.member(self.write(row)))
        return {
            "new_members": new, "updated_members": updated, "errors": errors, "total_created": len(new),
            "total_updated": len(updated), "error_count": len(errors),
        }  # fmt: skip

    @route("GET /lists/{list_id}/members")
    def members(self, asked):
        wanted, since = asked.query.get("status"), asked.query.get("since_last_changed")
        found = [
            self.member(one)
            for one in sorted(self.people.values(), key=lambda one: one.changed)
            if wanted in (None, _STATUS[one.withdrew])
            and (since is None or one.changed >= datetime.fromisoformat(since))
        ]
        return {"list_id": AUDIENCE, **self.page(asked, "members", found)}

    @route("GET /lists/{list_id}/members/{hash}")
    def one_member(self, asked):
        for person in self.people.values():
            if hashlib.md5(person.address.lower().encode()).hexdigest() == asked.ids["hash"]:
                return self.member(person)
        return self.not_found()

    @route("PUT /lists/{list_id}/members/{hash}")
    def put_member(self, asked):
        return self._put(asked.json)

    def _put(self, row: dict) -> Answer:
        error = self.error_of(row, update=True)
        if error:
            answer = self.problem(400, "Invalid Resource", error["error"])
            body = json.loads(answer.data) | {"errors": [{"field": error["field"], "message": error["field_message"]}]}
            return Answer(json.dumps(body).encode(), 400, dict(_PROBLEM))
        return Answer(self.member(self.write(row)))

    @route("GET /lists/{list_id}/abuse-reports")
    def complaints(self, asked):
        found = [
            {
                "id": n,
                "campaign_id": "c1",
                "list_id": AUDIENCE,
                "email_address": one.address,
                "date": one.changed.isoformat(),
            }
            for n, one in enumerate(self.people.values())
            if one.withdrew == "complaint"
        ]
        return self.page(asked, "abuse_reports", found)

    # segments -----------------------------------------------------------------------------------------------------
    def segment(self, one: MailingList) -> dict:
        return {
            "id": one.id,
            "name": one.title,
            "type": "static",
            "member_count": len(one.members),
            "list_id": AUDIENCE,
        }

    @route("GET /lists/{list_id}/segments")
    def segments(self, asked):
        return self.page(asked, "segments", [self.segment(one) for one in self.lists.values()])

    @route("POST /lists/{list_id}/segments")
    def make_segment(self, asked):
        one = MailingList(self.next_id(), asked.json["name"])
        self.lists[one.id] = one
        return self.segment(one)

    @route("GET /lists/{list_id}/segments/{segment_id}")
    def one_segment(self, asked):
        one = self.lists.get(int(asked.ids["segment_id"]))
        return self.segment(one) if one else self.not_found()

    @route("GET /lists/{list_id}/segments/{segment_id}/members")
    def segment_members(self, asked):
        one = self.lists.get(int(asked.ids["segment_id"]))
        if one is None:
            return self.not_found()
        return self.page(asked, "members", [self.member(self.people[key]) for key in one.members])

    @route("POST /lists/{list_id}/segments/{segment_id}")
    def change_segment(self, asked):
        one = self.lists.get(int(asked.ids["segment_id"]))
        if one is None:
            return self.not_found()
        added, removed, strangers = [], [], []
        for address in self.rows(asked.json.get("members_to_add", [])):
            if address.lower() in self.people:
                one.members[address.lower()] = self.tick()
                added.append(self.member(self.people[address.lower()]))
            else:
                strangers.append(address)
        for address in self.rows(asked.json.get("members_to_remove", [])):
            if one.members.pop(address.lower(), None):
                removed.append(self.member(self.people[address.lower()]))
            else:
                strangers.append(address)
        errors = [{"email_addresses": strangers, "error": "Email addresses are not in the segment or list"}]
        return {
            "members_added": added, "members_removed": removed, "errors": errors if strangers else [],
            "total_added": len(added), "total_removed": len(removed), "error_count": len(strangers),
        }  # fmt: skip

    # batches ------------------------------------------------------------------------------------------------------
    @route("POST /batches")
    def start_batch(self, asked):
        key = f"b{self.next_id()}"
        results = []
        for one in self.rows(asked.json["operations"]):
            answer = self._put(json.loads(one["body"]))
            results.append(
                {"operation_id": one["operation_id"], "status_code": answer.status, "response": answer.data.decode()}
            )
        self.batches[key] = {"states": ["pending", "started", "finished"], "results": results}
        return self._batch(key, "pending")

    def _batch(self, key: str, state: str) -> dict:
        results = self.batches[key]["results"]
        total = len(results) if state == "finished" else 0
        host = self.url.removesuffix(self.base_path)
        url = f"{host}/results/{key}" if state == "finished" else ""
        return {
            "id": key, "status": state, "total_operations": len(results), "finished_operations": total,
            "errored_operations": sum(one["status_code"] >= 400 for one in results[:total]), "response_body_url": url,
        }  # fmt: skip

    @route("GET /batches/{batch_id}")
    def one_batch(self, asked):
        batch = self.batches.get(asked.ids["batch_id"])
        if batch is None:
            return self.not_found()
        states = batch["states"]
        return self._batch(asked.ids["batch_id"], states.pop(0) if len(states) > 1 else states[0])

    @route("GET /results/{batch_id}")
    def results(self, asked):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as files:
            data = json.dumps(self.batches[asked.ids["batch_id"]]["results"]).encode()
            info = tarfile.TarInfo("result/1.json")
            info.size = len(data)
            files.addfile(info, io.BytesIO(data))
        return Answer(packed.getvalue(), headers={"Content-Type": "application/gzip"})

    # campaigns ----------------------------------------------------------------------------------------------------
    def happened(self, kind: str, address: str, title: str) -> None:
        """A recipient of a campaign to the list of that title does something."""
        segment = self.list_called(title)
        sent = self.campaigns.setdefault(f"c{segment.id}", {"segment": segment.id, "at": self.now, "events": []})
        sent["events"].append((kind, address, self.tick()))

    @route("GET /campaigns")
    def all_campaigns(self, asked):
        since = datetime.fromisoformat(asked.query["since_send_time"])
        found = [
            {
                "id": key, "type": "regular", "status": "sent", "send_time": one["at"].isoformat(),
                "recipients": {"list_id": AUDIENCE, "segment_opts": {"saved_segment_id": one["segment"]}},
            }
            for key, one in self.campaigns.items()
            if one["at"] >= since
        ]  # fmt: skip
        return self.page(asked, "campaigns", found)

    @route("GET /reports/{campaign_id}/email-activity")
    def activity(self, asked):
        since, people = asked.query.get("since"), {}
        for kind, address, at in self.campaigns[asked.ids["campaign_id"]]["events"]:
            if since and at < datetime.fromisoformat(since):
                continue
            action = {"open": "open", "click": "click", "hard_bounce": "bounce", "soft_bounce": "bounce"}.get(kind)
            if action:
                one = {"action": action, "timestamp": at.isoformat(), "ip": "192.0.2.1"}
                one |= {"type": kind.partition("_")[0]} if action == "bounce" else {}
                one |= {"url": "https://shop.example/p"} if action == "click" else {}
                people.setdefault(address, []).append(one)
        found = [{"email_address": address, "list_id": AUDIENCE, "activity": did} for address, did in people.items()]
        return self.page(asked, "emails", found)

    def _events(self, asked: Asked, kind: str) -> list:
        return [one for one in self.campaigns[asked.ids["campaign_id"]]["events"] if one[0] == kind]

    @route("GET /reports/{campaign_id}/unsubscribed")
    def unsubscribes(self, asked):
        found = [{"email_address": a, "timestamp": at.isoformat()} for _, a, at in self._events(asked, "unsubscribe")]
        return self.page(asked, "unsubscribes", found)

    @route("GET /reports/{campaign_id}/abuse-reports")
    def reported(self, asked):
        found = [{"id": 1, "email_address": a, "date": at.isoformat()} for _, a, at in self._events(asked, "complaint")]
        return {"abuse_reports": found, "total_items": len(found)}

    @route("GET /reports/{campaign_id}/sent-to")
    def sent_to(self, asked):
        found = [{"email_address": a, "status": "sent"} for _, a, _ in self._events(asked, "delivered")]
        return self.page(asked, "sent_to", found)


def connect(emulator, manners, **config):
    connection = Connection("mailchimp", "http", host=emulator.url, password=MailchimpEmulator.key)
    given = {"kind": "mailchimp", "channels": ("email",), "connection": "mailchimp", "list_id": AUDIENCE, **config}
    return Mailchimp("tool", MailchimpConfig(**given), OneConnection(connection), manners)


_MEMBERS, _SEGMENT = "POST /lists/{list_id}", "POST /lists/{list_id}/segments/{segment_id}"
RIGS["mailchimp"] = Rig(
    MailchimpEmulator,
    connect,
    hand_in={"add": _MEMBERS, "update": _MEMBERS, "remove": _SEGMENT},
    text="FNAME",
    number="POINTS",
    unknown="far_too_long_for_a_tag",
)
RIGS["mailchimp, batches"] = Rig(
    MailchimpEmulator,
    lambda emulator, manners, **config: connect(emulator, manners, batches=True, **config),
    hand_in={"add": "POST /batches", "update": "POST /batches", "remove": _SEGMENT},
    text="FNAME",
    number="POINTS",
    unknown="far_too_long_for_a_tag",
    asynchronous=True,
)
