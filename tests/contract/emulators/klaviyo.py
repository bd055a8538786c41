"""Klaviyo: JSON:API with a revision, import jobs that run while they are asked about, suppressions, events of metrics."""

from __future__ import annotations

import json
import re
from datetime import datetime

from contract.emulators.people import MailingEmulator, MailingList, Person
from contract.emulators.rigs import RIGS, OneConnection, Rig
from contract.emulators.server import Answer, Asked, TooMany, route
from perennial.contracts.destinations import KlaviyoConfig
from perennial.core.connections import Connection
from perennial.delivery.tools.klaviyo import Klaviyo

_TYPE = "application/vnd.api+json"
_REASONS = {"unsubscribe": "UNSUBSCRIBE", "complaint": "SPAM_COMPLAINT", "hard_bounce": "HARD_BOUNCE"}
_METRICS = {
    "delivered": "Received Email", "open": "Opened Email", "click": "Clicked Email", "soft_bounce": "Bounced Email",
    "hard_bounce": "Bounced Email", "unsubscribe": "Unsubscribed from Email Marketing", "complaint": "Marked Email as Spam",
}  # fmt: skip
_NAMES = [*dict.fromkeys(_METRICS.values()), "Placed Order"]
_MARKETING = "subscriptions.email.marketing"


class KlaviyoEmulator(MailingEmulator):
    SPECIFICATION = "klaviyo/klaviyo-2026-07-15.trimmed.json"
    key = "pk_0123456789"

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, dict] = {}
        self.left_lists: list[tuple[str, datetime]] = []
        self.events: list[dict] = []
        self.refused: dict[str, str] = {}  # addresses whose profiles fail, and Klaviyo's words
        self.error_form = "payload"  # payload | pointer | none
        self.job_ends = "complete"

    # what the vendor says -----------------------------------------------------------------------------------------
    def said(self, body: object, status: int = 200, **more: str) -> Answer:
        return Answer(json.dumps(body).encode(), status, {"Content-Type": _TYPE, **more})

    def problem(self, status: int, code: str, detail: str) -> Answer:
        error = {
            "id": "67ed6dbf",
            "status": status,
            "code": code,
            "title": code,
            "detail": detail,
            "source": {"pointer": "/data/"},
        }
        return self.said({"errors": [error]}, status)

    def authorised(self, asked: Asked) -> Answer | None:
        if asked.headers.get("Authorization") != f"Klaviyo-API-Key {self.key}":
            return self.problem(401, "not_authenticated", "Incorrect authentication credentials.")
        return None

    def not_found(self) -> Answer:
        return self.problem(404, "not_found", "A resource could not be found.")

    def too_many(self, fault: TooMany) -> Answer:
        answer = self.problem(429, "throttled", "Request was throttled.")
        answer.headers |= {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return answer

    def broken(self, status: int) -> Answer:
        return self.problem(status, "error", "A server error occurred.")

    def over_plan(self) -> Answer:
        return self.problem(403, "permission_denied", "The account has reached the number of profiles of its plan.")

    def page(self, asked: Asked, rows: list, default: int, **more: object) -> Answer:
        size = min(int(asked.query.get("page[size]", default)), self.page_limit or 1000)
        start = int(asked.query.get("page[cursor]", 0))
        here = f"{self.url}{asked.path}"
        links = {"self": here}
        if start + size < len(rows):
            links["next"] = f"{here}?page%5Bcursor%5D={start + size}"
        return self.said({"data": rows[start : start + size], "links": links, **more})

    # lists --------------------------------------------------------------------------------------------------------
    def _list(self, one: MailingList) -> dict:
        link = {"self": f"{self.url}/api/lists/{one.id}"}
        return {"type": "list", "id": str(one.id), "attributes": {"name": one.title}, "links": link}

    @route("GET /api/lists")
    def all_lists(self, asked):
        found = list(self.lists.values())
        if "filter" in asked.query:
            name = json.loads(re.fullmatch(r"equals\(name,(.*)\)", asked.query["filter"])[1])
            found = [one for one in found if one.title == name]
        return self.page(asked, [self._list(one) for one in found], 10)

    @route("POST /api/lists")
    def make_list(self, asked):
        one = MailingList(self.next_id(), asked.json["data"]["attributes"]["name"])
        self.lists[one.id] = one
        return self.said({"data": self._list(one)}, 201)

    @route("GET /api/lists/{id}/profiles")
    def members(self, asked):
        one = self.lists.get(int(asked.ids["id"]))
        if one is None:
            return self.not_found()
        wanted = json.loads(re.fullmatch(r"any\(email,(\[.*\])\)", asked.query["filter"])[1])
        found = [self._profile(self.people[address]) for address in wanted if address in one.members]
        for profile in found:
            profile["attributes"]["joined_group_at"] = self.now.isoformat()
        return self.page(asked, found, 20)

    @route("DELETE /api/lists/{id}/relationships/profiles")
    def take_off(self, asked):
        one = self.lists.get(int(asked.ids["id"]))
        if one is None:
            return self.not_found()
        by_id = {str(person.id): address for address, person in self.people.items()}
        assert len(asked.json["data"]) <= 1_000
        for profile in self.rows(asked.json["data"]):
            one.members.pop(by_id[profile["id"]], None)
        return Answer(None, 204)

    # profiles -----------------------------------------------------------------------------------------------------
    def _profile(self, person: Person, *, subscriptions: bool = False) -> dict:
        attributes: dict = {"email": person.address}
        if subscriptions:
            attributes["subscriptions"] = {"email": {"marketing": self._marketing(person)}}
        link = {"self": f"{self.url}/api/profiles/{person.id}"}
        return {"type": "profile", "id": str(person.id), "attributes": attributes, "links": link}

    def _marketing(self, person: Person) -> dict:
        at = person.changed.isoformat()
        reasons = [{"reason": _REASONS[person.withdrew], "timestamp": at}] if person.withdrew else []
        left = [
            {"list_id": "1", "reason": "UNSUBSCRIBE", "timestamp": moment.isoformat()}
            for address, moment in self.left_lists
            if address == person.address
        ]
        return {
            "can_receive_email_marketing": person.withdrew is None, "consent": "NEVER_SUBSCRIBED", "suppression": reasons,
            "list_suppressions": left,
        }  # fmt: skip

    @route("GET /api/profiles")
    def profiles(self, asked):
        if "filter" not in asked.query:
            return self.page(asked, [self._profile(one) for one in self.people.values()], 20)
        told = re.fullmatch(rf"greater-or-equal\({_MARKETING}\.(\w+)\.timestamp,(.+)\)", asked.query["filter"])
        place, since = told[1], datetime.fromisoformat(told[2])
        assert asked.query["sort"] == f"{_MARKETING}.{place}.timestamp"
        dated = [
            (max(datetime.fromisoformat(entry["timestamp"]) for entry in self._marketing(one)[place]), one)
            for one in self.people.values()
            if self._marketing(one)[place]
        ]
        found = [one for at, one in sorted(dated, key=lambda pair: pair[0]) if at >= since]
        return self.page(asked, [self._profile(one, subscriptions=True) for one in found], 20)

    def leave_list(self, address: str) -> None:
        """A recipient leaves a single list."""
        self.left_lists.append((address, self.tick()))

    # imports ------------------------------------------------------------------------------------------------------
    @route("GET /api/profile-bulk-import-jobs")
    def all_jobs(self, asked):
        return self.page(asked, [self._job(key, "complete") for key in self.jobs], 20)

    @route("POST /api/profile-bulk-import-jobs")
    def start_job(self, asked):
        data = asked.json["data"]
        lists = [int(one["id"]) for one in data["relationships"]["lists"]["data"]]
        if any(one not in self.lists for one in lists):
            return self.not_found()
        profiles, failed = data["attributes"]["profiles"]["data"], []
        assert len(profiles) <= 10_000
        for number, profile in self.rows(list(enumerate(profiles))):
            given = dict(profile["attributes"])
            address = given.pop("email").lower()
            assert "subscriptions" not in given
            if address in self.refused:
                failed.append((number, profile, self.refused[address]))
                continue
            known = self.people.setdefault(address, Person(self.next_id(), address))
            known.fields |= given.pop("properties", {}) | given
            for one in lists:
                self.lists[one].members[address] = self.tick()
        key = f"job{self.next_id()}"
        self.jobs[key] = {"total": len(profiles), "failed": failed, "states": ["queued", "processing", self.job_ends]}
        return self.said({"data": self._job(key, "queued")}, 202)

    def _job(self, key: str, status: str) -> dict:
        job = self.jobs[key]
        counts = {"failed_count": len(job["failed"])} if status == "complete" else {}
        attributes = {"status": status, "created_at": self.now.isoformat(), "total_count": job["total"], **counts}
        link = {"self": f"{self.url}/api/profile-bulk-import-jobs/{key}"}
        return {"type": "profile-bulk-import-job", "id": key, "attributes": attributes, "links": link}

    @route("GET /api/profile-bulk-import-jobs/{job_id}")
    def one_job(self, asked):
        states = self.jobs[asked.ids["job_id"]]["states"]
        status = states.pop(0) if len(states) > 1 else states[0]
        return self.said({"data": self._job(asked.ids["job_id"], status)})

    @route("GET /api/profile-bulk-import-jobs/{id}/import-errors")
    def errors(self, asked):
        failed = self.jobs[asked.ids["id"]]["failed"] if self.error_form != "none" else []
        found = []
        for number, profile, words in failed:
            pointer = f"/data/attributes/profiles/data/{number}" if self.error_form == "pointer" else "/data"
            attributes = {"code": "invalid", "title": "Invalid input.", "detail": words, "source": {"pointer": pointer}}
            payload = {"original_payload": profile} if self.error_form == "payload" else {}
            found.append({"type": "import-error", "id": f"e{number}", "attributes": {**attributes, **payload}})
        return self.page(asked, found, 20)

    # events -------------------------------------------------------------------------------------------------------
    def happened(self, kind: str, address: str, title: str) -> None:
        """A recipient does something with a message to the list of that title."""
        properties = {"$message": "msg1", "Subject": title, "URL": "https://shop.example/p"}
        if kind.endswith("bounce"):
            properties |= {"Bounce Type": kind.partition("_")[0].title(), "Bounce Reason": f"550 no {address}"}
        if kind == "open":
            properties["machine_open"] = True
        one = {
            "kind": kind,
            "metric": _NAMES.index(_METRICS[kind]),
            "address": address,
            "at": self.tick(),
            "properties": properties,
        }
        self.events.append(one)

    @route("GET /api/metrics")
    def metrics(self, asked):
        found = [
            {
                "type": "metric",
                "id": f"M{n}",
                "attributes": {"name": name},
                "links": {"self": f"{self.url}/api/metrics/M{n}"},
            }
            for n, name in enumerate(_NAMES)
        ]
        return self.page(asked, found, 200)

    @route("GET /api/events")
    def all_events(self, asked):
        told = re.fullmatch(
            r'and\(equals\(metric_id,"M(\d+)"\),greater-or-equal\(timestamp,(\d+)\)\)', asked.query["filter"]
        )
        found = [
            (number, one)
            for number, one in enumerate(self.events)
            if one["metric"] == int(told[1]) and int(one["at"].timestamp()) >= int(told[2])
        ]
        data = [
            {
                "type": "event", "id": f"ev{number}", "links": {"self": f"{self.url}/api/events/ev{number}"},
                "attributes": {"timestamp": int(one["at"].timestamp()), "event_properties": one["properties"]},
                "relationships": {"profile": {"data": {"type": "profile", "id": str(self.people[one["address"]].id)}}},
            }
            for number, one in found
        ]  # fmt: skip
        people = [self._profile(self.people[address]) for address in {one["address"] for _, one in found}]
        return self.page(asked, data, 200, included=people)


def connect(emulator, manners, **config):
    connection = Connection("klaviyo", "http", host=emulator.url, password=KlaviyoEmulator.key)
    given = {"kind": "klaviyo", "channels": ("email",), "connection": "klaviyo", **config}
    return Klaviyo("tool", KlaviyoConfig(**given), OneConnection(connection), manners)


_JOBS = "POST /api/profile-bulk-import-jobs"
RIGS["klaviyo"] = Rig(
    KlaviyoEmulator,
    connect,
    hand_in={"add": _JOBS, "update": _JOBS, "remove": "DELETE /api/lists/{id}/relationships/profiles"},
    text="first_name",
    number="POINTS",
    asynchronous=True,
)
