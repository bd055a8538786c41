"""listmonk: subscribers with attributes, lists with a subscription status of each, bounces.

What it keeps of its own code: a subscription status that is there is not changed by putting somebody on a list again,
nor by a subscriber's lists being written anew; known addresses are a 409; lists that are not there a 400.
"""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import datetime

from contract.emulators.people import MailingEmulator, MailingList, Person
from contract.emulators.rigs import RIGS, OneConnection, Rig
from contract.emulators.server import Answer, Asked, route
from perennial.contracts.destinations import ListmonkConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.listmonk import Listmonk

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_BOUNCES = {"hard_bounce": "hard", "soft_bounce": "soft", "complaint": "complaint"}
_UNDECLARED = "the specification declares no errors"


class ListmonkEmulator(MailingEmulator):
    SPECIFICATION = "listmonk/collections.yaml"
    key = "token-0123"

    def __init__(self) -> None:
        super().__init__()
        self.bounces: list[dict] = []

    def problem(self, status: int, message: str) -> Answer:
        return Answer({"message": message}, status, undeclared=_UNDECLARED)

    def authorised(self, asked: Asked) -> Answer | None:
        given = b64decode(asked.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        return None if given == f"api:{self.key}" else self.problem(403, "invalid API credentials")

    def not_found(self) -> Answer:
        return self.problem(400, "List not found")

    def over_plan(self) -> Answer:
        return self.problem(413, "<no plan: a proxy before it refuses the body>")

    def give(self, address, *, on=None, **more) -> Person:
        person = super().give(address, **more)
        if on is not None:
            self.list_called(on).members[address.lower()] = "confirmed"
        if person.withdrew in ("hard_bounce", "complaint"):
            self.bounced(person.withdrew, address, None)
        return person

    def standing_on(self, title: str) -> set[str]:
        members = [one.members.items() for one in self.lists.values() if one.title == title]
        return {address for some in members for address, status in some if status != "unsubscribed"}

    def bounced(self, kind: str, address: str, campaign: int | None) -> None:
        one = {"id": self.next_id(), "type": _BOUNCES[kind], "source": "api", "created_at": self.tick().isoformat()}
        one |= {"email": address, "subscriber_id": self.people[address.lower()].id}
        self.bounces.append(one | ({"campaign": {"id": campaign, "name": "news"}} if campaign else {}))

    def page(self, asked: Asked, rows: list) -> dict:
        size = min(int(asked.query.get("per_page", 20)), self.page_limit or 10_000)
        page = int(asked.query.get("page", 1))
        found = rows[(page - 1) * size : page * size]
        return {"data": {"results": found, "total": len(rows), "per_page": size, "page": page}}

    def subscriber(self, one: Person) -> dict:
        key = one.address.lower()
        lists = [
            {
                "id": found.id,
                "name": found.title,
                "subscription_status": found.members[key],
                "updated_at": one.changed.isoformat(),
            }
            for found in self.lists.values()
            if key in found.members
        ]
        return {
            "id": one.id, "email": one.address, "name": getattr(one, "name", key), "attribs": one.fields, "lists": lists,
            "status": "blocklisted" if one.withdrew else "enabled", "updated_at": one.changed.isoformat(),
        }  # fmt: skip

    # lists --------------------------------------------------------------------------------------------------------
    def told(self, one: MailingList) -> dict:
        return {
            "id": one.id,
            "name": one.title,
            "type": "private",
            "tags": ["perennial"],
            "created_at": self.now.isoformat(),
        }

    @route("GET /lists")
    def all_lists(self, asked):
        return self.page(asked, [self.told(one) for one in self.lists.values()])

    @route("POST /lists")
    def make_list(self, asked):
        key = self.next_id()
        self.lists[key] = MailingList(key, asked.json["name"])
        return {"data": self.told(self.lists[key])}

    @route("GET /lists/{list_id}")
    def one_list(self, asked):
        one = self.lists.get(int(asked.ids["list_id"]))
        return {"data": self.told(one)} if one else self.not_found()

    # subscribers --------------------------------------------------------------------------------------------------
    def matching(self, query: str) -> list[Person]:
        """The few expressions that a client of ours asks with, as PostgreSQL reads them."""
        values = [one.replace("''", "'") for one in _LITERAL.findall(query)]
        bare = _LITERAL.sub("?", query)
        people = sorted(self.people.values(), key=lambda one: one.changed)
        match re.sub(r"\?(, \?)+", "?", bare):
            case "":
                return people
            case "subscribers.id = 0":
                return []
            case "subscribers.email IN (?)":
                return [one for one in people if one.address.lower() in values]
            case "subscribers.status = ?":
                return [one for one in people if one.withdrew]
            case "subscribers.status = ? AND subscribers.updated_at >= ?":
                return [one for one in people if one.withdrew and one.changed >= datetime.fromisoformat(values[1])]
        self.violations.append(f"a query that nobody answers: {bare}")
        return []

    @route("GET /subscribers")
    def subscribers(self, asked):
        found = self.matching(asked.query.get("query", ""))
        if "list_id" in asked.query:
            members, status = self.lists[int(asked.query["list_id"])].members, asked.query["subscription_status"]
            found = [one for one in found if members.get(one.address.lower()) == status]
        return self.page(asked, [self.subscriber(one) for one in found])

    @route("POST /subscribers")
    def make(self, asked):
        row = asked.json
        key = row["email"].lower()
        if not _EMAIL.fullmatch(key):
            return self.problem(400, "Invalid email.")
        if key in self.people:
            return self.problem(409, "E-mail already exists.")
        person = self.people[key] = Person(self.next_id(), key, dict(row["attribs"]), changed=self.tick())
        person.name = row["name"]
        for each in row["lists"]:
            self.lists[each].members[key] = "confirmed" if row["preconfirm_subscriptions"] else "unconfirmed"
        return {"data": self.subscriber(person)}

    @route("PUT /subscribers/{id}")
    def change(self, asked):
        person = next(one for one in self.people.values() if one.id == int(asked.ids["id"]))
        row, key = asked.json, person.address.lower()
        person.name, person.fields, person.changed = row["name"], dict(row["attribs"]), self.tick()
        if "status" in row:
            person.statuses.append(row["status"])
        for one in self.lists.values():
            if one.id not in row["lists"]:
                one.members.pop(key, None)
            else:
                one.members.setdefault(key, "unconfirmed")
        return {"data": self.subscriber(person)}

    @route("PUT /subscribers/lists")
    def change_lists(self, asked):
        row = asked.json
        by_id = {one.id: one for one in self.people.values()}
        for each in row["target_list_ids"]:
            for one in self.rows(row["ids"]):
                key, members = by_id[one].address.lower(), self.lists[each].members
                if row["action"] == "remove":
                    members.pop(key, None)
                elif "status" in row:
                    by_id[one].statuses.append(row["status"])
                    members[key] = row["status"]
                else:
                    members.setdefault(key, "unconfirmed")
        return {"data": True}

    @route("GET /subscribers/{id}/bounces")
    def bounces_of(self, asked):
        return {"data": [one for one in self.bounces if one["subscriber_id"] == int(asked.ids["id"])]}

    @route("GET /bounces")
    def all_bounces(self, asked):
        return self.page(asked, sorted(self.bounces, key=lambda one: one["created_at"], reverse=True))

    def happened(self, kind: str, address: str, title: str) -> None:
        if kind == "unsubscribe":
            self.list_called(title).members[address] = "unsubscribed"
            self.people[address].changed = self.tick()
        else:
            self.bounced(kind, address, 5)


def connect(emulator, manners, **config):
    connection = Connection("listmonk", "http", host=emulator.url, login="api", password=ListmonkEmulator.key)
    given = {"kind": "listmonk", "channels": ("email",), "connection": "listmonk", **config}
    return Listmonk("tool", ListmonkConfig(**given), OneConnection(connection), manners)


RIGS["listmonk"] = Rig(
    ListmonkEmulator,
    connect,
    hand_in={"add": "POST /subscribers", "update": "PUT /subscribers/{id}", "remove": "PUT /subscribers/lists"},
    text="first_name",
    number="points",
    unknown=None,
)
