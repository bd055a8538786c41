"""Resend: segments, contact properties, CSV imports that run while they are asked about, suppressions, broadcasts.

resend.overlay.json: the file of an import is of no type, for a JSON Schema of 2020 (OpenAPI 3.1) knows no bytes.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import timedelta

from contract.emulators.people import MailingEmulator, MailingList, Person
from contract.emulators.rigs import RIGS, OneConnection, Rig
from contract.emulators.server import Answer, Asked, TooMany, route
from perennial.contracts.destinations import ResendConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.resend import Resend

_ORIGINS = {"hard_bounce": "bounce", "complaint": "complaint", "manual": "manual"}
_TYPES = {
    "delivered": "delivered", "open": "opened", "click": "clicked", "soft_bounce": "bounced", "hard_bounce": "bounced",
    "unsubscribe": "unsubscribed", "complaint": "complained",
}  # fmt: skip


def _uuid(number: int) -> str:
    return str(uuid.UUID(int=number))


class ResendEmulator(MailingEmulator):
    SPECIFICATION = "resend/resend-1.5.0.trimmed.json"
    key = "re_0123456789"

    def __init__(self) -> None:
        super().__init__()
        self.properties: dict[str, str] = {}
        self.jobs: dict[str, dict] = {}
        self.broadcasts: dict[int, list[tuple[str, str, int]]] = {}  # by list: kind, address, number
        self.refused: set[str] = set()

    # what the vendor says -----------------------------------------------------------------------------------------
    def problem(self, status: int, name: str, message: str) -> Answer:
        body = {"statusCode": status, "name": name, "message": message}
        return Answer(body, status, undeclared="the specification declares no errors")

    def authorised(self, asked: Asked) -> Answer | None:
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            return self.problem(401, "invalid_api_key", "API key is invalid")
        return None

    def not_found(self) -> Answer:
        return self.problem(404, "not_found", "Not found")

    def too_many(self, fault: TooMany) -> Answer:
        answer = self.problem(429, "rate_limit_exceeded", "Too many requests. You can only make 2 requests per second.")
        answer.headers |= {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
        return answer

    def over_plan(self) -> Answer:
        return self.problem(403, "quota_exceeded", "You have reached the number of contacts of your plan.")

    def page(self, asked: Asked, rows: list[dict], *, tells_more: bool = True) -> dict:
        size = min(int(asked.query.get("limit", 20)), self.page_limit or 100)
        ids = [one["id"] for one in rows]
        start = ids.index(asked.query["after"]) + 1 if "after" in asked.query else 0
        more = {"has_more": start + size < len(rows)} if tells_more else {}
        return {"object": "list", "data": rows[start : start + size], **more}

    # segments and properties --------------------------------------------------------------------------------------
    def _segment(self, one: MailingList) -> dict:
        return {"id": _uuid(one.id), "name": one.title, "created_at": self.now.isoformat()}

    @route("GET /segments")
    def segments(self, asked):
        return self.page(asked, [self._segment(one) for one in self.lists.values()])

    @route("POST /segments")
    def make_segment(self, asked):
        one = MailingList(self.next_id(), asked.json["name"])
        self.lists[one.id] = one
        return Answer({"object": "segment", "id": _uuid(one.id)}, 201)

    @route("GET /contact-properties")
    def all_properties(self, asked):
        found = [{"id": _uuid(n), "key": key, "type": kind} for n, (key, kind) in enumerate(self.properties.items(), 1)]
        return self.page(asked, found)

    @route("POST /contact-properties")
    def make_property(self, asked):
        self.properties[asked.json["key"]] = asked.json["type"]
        return Answer({"object": "contact_property", "id": _uuid(len(self.properties))}, 201)

    # contacts -----------------------------------------------------------------------------------------------------
    def _contact(self, person: Person) -> dict:
        return {
            "id": _uuid(person.id), "email": person.address, "first_name": str(person.fields.get("first_name", "")),
            "last_name": str(person.fields.get("last_name", "")), "created_at": person.changed.isoformat(),
            "unsubscribed": person.withdrew == "unsubscribe",
        }  # fmt: skip

    @route("GET /contacts")
    def contacts(self, asked):
        people = list(self.people.values())
        if "segment_id" in asked.query:
            segment = self.lists[uuid.UUID(asked.query["segment_id"]).int]
            people = [self.people[address] for address in segment.members]
        return self.page(asked, [self._contact(one) for one in people], tells_more=False)

    @route("GET /contacts/{id}")
    def one_contact(self, asked):
        person = self.people.get(asked.ids["id"].lower())
        if person is None:
            return self.not_found()
        properties = {name: value for name, value in person.fields.items() if name in self.properties}
        return {"object": "contact", **self._contact(person), "properties": properties}

    @route("GET /contacts/{contact_id}/segments")
    def segments_of(self, asked):
        address = asked.ids["contact_id"].lower()
        if address not in self.people:
            return self.not_found()
        return self.page(asked, [self._segment(one) for one in self.lists.values() if address in one.members])

    @route("DELETE /contacts/{contact_id}/segments/{segment_id}")
    def take_off(self, asked):
        one = self.lists.get(uuid.UUID(asked.ids["segment_id"]).int)
        address = asked.ids["contact_id"].lower()
        if one is None or address not in one.members:
            return self.not_found()
        del one.members[address]
        ids = {"contact_id": _uuid(self.people[address].id), "segment_id": asked.ids["segment_id"]}
        return {"object": "contact_segment", **ids, "deleted": True}

    # imports ------------------------------------------------------------------------------------------------------
    @route("POST /contacts/imports")
    def start_import(self, asked):
        assert asked.form["on_conflict"] == "upsert"
        columns = json.loads(asked.form["column_map"])
        assert "unsubscribed" not in columns
        wanted = [uuid.UUID(one["id"]).int for one in json.loads(asked.form["segments"])]
        if any(one not in self.lists for one in wanted):
            return self.problem(404, "not_found", "Segment not found")
        counts = {"total": 0, "created": 0, "updated": 0, "skipped": 0, "failed": 0}
        for row in self.rows(list(csv.DictReader(io.StringIO(asked.form["file"].decode(), newline="")))):
            counts["total"] += 1
            counts[self._take(row, columns, wanted)] += 1
        job = _uuid(self.next_id())
        status = "failed" if counts["failed"] == counts["total"] else "completed"
        self.jobs[job] = {"counts": counts, "states": ["queued", "in_progress", status]}
        return Answer({"object": "contact_import", "id": job}, 201)

    def _take(self, row: dict, columns: dict, wanted: list[int]) -> str:
        address = row[columns["email"]].lower()
        if address in self.refused:
            return "failed"
        given: dict = {name: row[columns[name]] for name in ("first_name", "last_name") if name in columns}
        for name, told in columns.get("properties", {}).items():
            assert self.properties[name] == told["type"]
            given[name] = float(row[told["column"]]) if told["type"] == "number" else row[told["column"]]
        known = address in self.people
        person = self.people.setdefault(address, Person(self.next_id(), address))
        person.fields |= given
        for one in wanted:
            self.lists[one].members[address] = self.tick()
        return "updated" if known else "created"

    @route("GET /contacts/imports/{id}")
    def one_import(self, asked):
        job = self.jobs[asked.ids["id"]]
        status = job["states"].pop(0) if len(job["states"]) > 1 else job["states"][0]
        told = {"counts": job["counts"]} if status in ("completed", "failed") else {}
        return {"object": "contact_import", "id": asked.ids["id"], "status": status, **told}

    # suppressions and broadcasts ------------------------------------------------------------------------------------
    @route("GET /suppressions")
    def suppressions(self, asked):
        found = [
            {
                "id": _uuid(one.id),
                "email": one.address,
                "origin": _ORIGINS[one.withdrew],
                "created_at": one.changed.isoformat(),
            }
            for one in sorted(self.people.values(), key=lambda one: one.changed, reverse=True)
            if one.withdrew in _ORIGINS
        ]
        return self.page(asked, found)

    def happened(self, kind: str, address: str, title: str) -> None:
        """A recipient of the broadcast to the segment of that title does something."""
        self.broadcasts.setdefault(self.list_called(title).id, []).append((kind, address, self.next_id()))
        self.tick()

    @route("GET /broadcasts")
    def all_broadcasts(self, asked):
        at = (self.now - timedelta(days=1)).isoformat(sep=" ")
        found = [
            {
                "id": _uuid(segment),
                "name": "news",
                "segment_id": _uuid(segment),
                "status": "sent",
                "created_at": at,
                "sent_at": at,
            }
            for segment in self.broadcasts
        ]
        draft = {"id": _uuid(1), "name": "draft", "segment_id": _uuid(1), "status": "draft", "created_at": at}
        return self.page(asked, [*found, draft])

    @route("GET /broadcasts/{id}/recipients")
    def recipients(self, asked):
        found = []
        for kind, address, number in self.broadcasts[uuid.UUID(asked.ids["id"]).int]:
            if _TYPES[kind] == asked.query["type"]:
                one = {"id": _uuid(number), "email": address, "count": 1}
                one |= (
                    {"bounce_type": "permanent" if kind == "hard_bounce" else "transient"} if "bounce" in kind else {}
                )
                one |= {"clicked_links": [{"url": "https://shop.example/p", "clicks": 1}]} if kind == "click" else {}
                found.append(one)
        return self.page(asked, found)


def connect(emulator, manners, **config):
    connection = Connection("resend", "http", host=emulator.url, password=ResendEmulator.key)
    given = {"kind": "resend", "channels": ("email",), "connection": "resend", **config}
    return Resend("tool", ResendConfig(**given), OneConnection(connection), manners)


_IMPORT = "POST /contacts/imports"
RIGS["resend"] = Rig(
    ResendEmulator,
    connect,
    hand_in={"add": _IMPORT, "update": _IMPORT, "remove": "DELETE /contacts/{contact_id}/segments/{segment_id}"},
    text="favourite",
    number="POINTS",
    unknown="with space",
    asynchronous=True,
)
