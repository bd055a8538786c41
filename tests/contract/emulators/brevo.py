"""Brevo: contacts of an account, lists in folders, imports that run while they are asked about.

As the vendor writes: unknown attributes are dropped in silence, so are rows whose address cannot be one; the process
says nothing of either.
"""

from __future__ import annotations

import re
from datetime import datetime

from contract.emulators.people import MailingEmulator, MailingList, Person
from contract.emulators.rigs import RIGS, OneConnection, Rig
from contract.emulators.server import Answer, Asked, TooMany, route
from perennial.contracts.destinations import BrevoConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.brevo import Brevo

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_REASONS = {"hard_bounce": "hardBounce", "complaint": "contactFlaggedAsSpam", "unsubscribe": "unsubscribedViaEmail"}
_EVENTS = {
    "delivered": "delivered", "open": "opened", "click": "clicks", "soft_bounce": "softBounces",
    "hard_bounce": "hardBounces", "unsubscribe": "unsubscribed", "complaint": "spam",
}  # fmt: skip


def written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class BrevoEmulator(MailingEmulator):
    SPECIFICATION = "brevo/brevo-v3.trimmed.json"
    key = "xkeysib-0123"

    def __init__(self) -> None:
        super().__init__()
        self.attributes = {"FIRSTNAME": "text", "LASTNAME": "text", "BIRTHDAY": "date"}
        self.folders: dict[int, str] = {1: "Your first folder"}
        self.processes: dict[int, list[str]] = {}
        self.events: list[dict] = []
        self.left: dict[str, set[int]] = {}  # who left which lists by their links

    def leave(self, address: str, title: str) -> None:
        one = self.list_called(title)
        del one.members[address]
        self.left.setdefault(address, set()).add(one.id)
        self.people[address].changed = self.tick()

    def problem(self, status: int, code: str, message: str, *, undeclared: str = "") -> Answer:
        return Answer({"code": code, "message": message}, status, undeclared=undeclared)

    def authorised(self, asked: Asked) -> Answer | None:
        if asked.headers.get("api-key") != self.key:
            return self.problem(401, "unauthorized", "Key not found", undeclared="documented, not in the spec")
        return None

    def not_found(self) -> Answer:
        return self.problem(404, "document_not_found", "List ID does not exist")

    def too_many(self, fault: TooMany) -> Answer:
        answer = self.problem(429, "too_many_requests", "Rate limit exceeded", undeclared="not in this operation")
        if fault.retry_after is not None:
            answer.headers["x-sib-ratelimit-reset"] = str(fault.retry_after)
        return answer

    def over_plan(self) -> Answer:
        return self.problem(402, "not_enough_credits", "You reached the contacts of your plan", undeclared="documented")

    def page(self, asked: Asked, name: str, rows: list, most: int) -> dict:
        limit = min(int(asked.query.get("limit", 10)), self.page_limit or most)
        offset = int(asked.query.get("offset", 0))
        return {name: rows[offset : offset + limit], "count": len(rows)}

    def contact(self, one: Person) -> dict:
        key = one.address.lower()
        return {
            "email": one.address, "id": one.id, "emailBlacklisted": one.withdrew is not None, "smsBlacklisted": False,
            "createdAt": written(one.changed), "modifiedAt": written(one.changed), "attributes": one.fields,
            "listIds": [found.id for found in self.lists.values() if key in found.members],
            "listUnsubscribed": sorted(self.left.get(key, ())),
        }  # fmt: skip

    # account ------------------------------------------------------------------------------------------------------
    @route("GET /contacts/attributes")
    def all_attributes(self, asked):
        found = [{"name": name, "category": "normal", "type": kind} for name, kind in self.attributes.items()]
        return {"attributes": [*found, {"name": "SCORE", "category": "calculated", "calculatedValue": "1"}]}

    @route("POST /contacts/attributes/{category}/{name}")
    def make_attribute(self, asked):
        self.attributes[asked.ids["name"]] = asked.json["type"]
        return Answer(None, 201)

    @route("GET /contacts/folders")
    def all_folders(self, asked):
        found = [
            {"id": key, "name": name, "totalBlacklisted": 0, "totalSubscribers": 0, "uniqueSubscribers": 0}
            for key, name in self.folders.items()
        ]
        return self.page(asked, "folders", found, 50)

    @route("POST /contacts/folders")
    def make_folder(self, asked):
        key = self.next_id()
        self.folders[key] = asked.json["name"]
        return Answer({"id": key}, 201)

    # lists --------------------------------------------------------------------------------------------------------
    def told(self, one: MailingList) -> dict:
        size = len(one.members)
        numbers = {"totalBlacklisted": 0, "totalSubscribers": size, "uniqueSubscribers": size}
        folder = next(key for key, name in self.folders.items() if name == "Perennial")
        return {"id": one.id, "name": one.title, "folderId": folder, **numbers}

    @route("GET /contacts/lists")
    def all_lists(self, asked):
        return self.page(asked, "lists", [self.told(one) for one in self.lists.values()], 50)

    @route("POST /contacts/lists")
    def make_list(self, asked):
        assert self.folders[asked.json["folderId"]] == "Perennial"
        key = self.next_id()
        self.lists[key] = MailingList(key, asked.json["name"])
        return Answer({"id": key}, 201)

    @route("GET /contacts/lists/{list_id}")
    def one_list(self, asked):
        one = self.lists.get(int(asked.ids["list_id"]))
        return {**self.told(one), "createdAt": written(self.now)} if one else self.not_found()

    def since(self, asked: Asked, people) -> list[dict]:
        given = asked.query.get("modifiedSince")
        after = datetime.fromisoformat(given) if given else None
        found = sorted(people, key=lambda one: one.id, reverse=asked.query.get("sort", "desc") == "desc")
        return [self.contact(one) for one in found if after is None or one.changed >= after]

    @route("GET /contacts/lists/{list_id}/contacts")
    def on_list(self, asked):
        one = self.lists.get(int(asked.ids["list_id"]))
        if one is None:
            return self.not_found()
        return self.page(asked, "contacts", self.since(asked, [self.people[key] for key in one.members]), 500)

    @route("POST /contacts/lists/{list_id}/contacts/remove")
    def take_off(self, asked):
        one = self.lists.get(int(asked.ids["list_id"]))
        if one is None:
            return self.not_found()
        gone = [address for address in self.rows(asked.json["emails"]) if one.members.pop(address.lower(), None)]
        failed = [address for address in asked.json["emails"] if address not in gone]
        if not gone:
            return self.problem(400, "invalid_parameter", "Contact already removed from list and/or does not exist")
        return Answer({"contacts": {"success": gone, **({"failure": failed} if failed else {})}}, 201)

    # contacts -----------------------------------------------------------------------------------------------------
    @route("POST /contacts/import")
    def start_import(self, asked):
        given = asked.json
        lists = [self.lists.get(key) for key in given["listIds"]]
        if None in lists:
            return self.problem(400, "invalid_parameter", "Invalid listIds")
        for row in self.rows(given["jsonBody"]):
            if _EMAIL.fullmatch(row["email"]):
                self.import_row(row, given, lists)
        process = self.next_id()
        self.processes[process] = ["queued", "in_process", "completed"]
        return Answer({"processId": process}, 202)

    def import_row(self, row: dict, given: dict, lists: list) -> None:
        key = row["email"].lower()
        fields = {name: value for name, value in row.get("attributes", {}).items() if name in self.attributes}
        fields = {n: v for n, v in fields.items() if self.attributes[n] != "float" or isinstance(v, int | float)}
        person = self.people.get(key)
        if person is None:
            person = self.people[key] = Person(self.next_id(), row["email"], fields, changed=self.tick())
        elif given.get("updateExistingContacts") and any(person.fields.get(n) != v for n, v in fields.items()):
            person.fields |= fields
            person.changed = self.tick()
        if "emailBlacklist" in given:
            person.statuses.append(str(given["emailBlacklist"]))
        for one in lists:
            if one.id in self.left.get(key, ()):
                person.statuses.append(f"put back on {one.title}")
                self.left[key].discard(one.id)
            one.members.setdefault(key, self.now)

    @route("GET /processes/{process_id}")
    def process(self, asked):
        states = self.processes.get(int(asked.ids["process_id"]))
        if states is None:
            return self.problem(404, "document_not_found", "Process not found")
        status = states.pop(0) if len(states) > 1 else states[0]
        return {"id": int(asked.ids["process_id"]), "status": status, "name": "import"}

    @route("GET /contacts")
    def all_contacts(self, asked):
        return self.page(asked, "contacts", self.since(asked, self.people.values()), 1000)

    @route("GET /contacts/{identifier}")
    def one_contact(self, asked):
        one = self.people.get(asked.ids["identifier"].lower())
        if one is None:
            return self.problem(404, "document_not_found", "Contact does not exist")
        did = [{"campaignId": 7, "eventTime": written(one.changed)}]
        kind = {"hard_bounce": "hardBounces", "complaint": "complaints"}.get(one.withdrew or "")
        return {**self.contact(one), "statistics": {kind: did} if kind else {}}

    # mail ---------------------------------------------------------------------------------------------------------
    @route("GET /smtp/blockedContacts")
    def blocked(self, asked):
        since = asked.query.get("startDate", "")
        found = [
            {
                "email": one.address, "senderEmail": "news@shop.example", "blockedAt": written(one.changed),
                "reason": {"code": _REASONS[one.withdrew], "message": "as told"},
            }
            for one in self.people.values()
            if one.withdrew in ("hard_bounce", "complaint") and written(one.changed) >= since
        ]  # fmt: skip
        return self.page(asked, "contacts", found, 100)

    def happened(self, kind: str, address: str, title: str) -> None:
        one = {"email": address, "date": written(self.tick()), "messageId": "<1@shop.example>", "event": _EVENTS[kind]}
        one |= {"link": f"https://shop.example/p?email={address}"} if kind == "click" else {}
        self.events.append(one | ({"reason": f"550 {address} unknown"} if "bounce" in kind else {}))

    @route("GET /smtp/statistics/events")
    def statistics(self, asked):
        found = [one for one in self.events if one["date"][:10] >= asked.query["startDate"]]
        return self.page(asked, "events", found, 5000)


def connect(emulator, manners, **config):
    connection = Connection("brevo", "http", host=emulator.url, password=BrevoEmulator.key)
    given = {"kind": "brevo", "channels": ("email",), "connection": "brevo", **config}
    return Brevo("tool", BrevoConfig(**given), OneConnection(connection), manners)


_IMPORT = "POST /contacts/import"
RIGS["brevo"] = Rig(
    BrevoEmulator,
    connect,
    hand_in={"add": _IMPORT, "update": _IMPORT, "remove": "POST /contacts/lists/{list_id}/contacts/remove"},
    text="FIRSTNAME",
    number="POINTS",
    unknown="no name of brevo",
    asynchronous=True,
)
