"""Random histories to change a warehouse by: few clients, products and prices, so that they meet."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from factories.changing_days import Day, Told
from factories.dbt_warehouse import NAMESPACE, Raw
from perennial.core.ids import client_ref

START = date(2017, 6, 1)
CLIENTS = "12345678"
BUYERS = "123456"
KEYS = (
    "client_key", "order_key", "product_key", "store_key", "campaign_key", "company_key", "visitor_key", "deal_key",
    "touch_key", "interaction_key", "contact_key", "communication_key",
)  # fmt: skip
AGES = [0, 0, 1, 60, 89, 90, 91, 179, 364, 365, -1, -2]  # in days; what is of the future shows on its day


def random_days(seed: int, days: int = 4, orders: int = 40, worlds: int = 1) -> list[Day]:
    """A history in days of one to forty days: late, corrected, deleted, replayed, out of order; clients that join and part.

    Several worlds share nothing but the days and the rates: that many histories for one build.
    """
    chance = random.Random(seed)
    histories = [_History(chance, f"w{number}-" if number else "", number * 10_000) for number in range(worlds)]
    as_of, made = START, []
    for number in range(days):
        raw, joined, delivered = Raw(), {}, []
        for history in histories:
            raw = raw.joined(history.day(as_of, orders if number == 0 else chance.randrange(0, orders // 3)))
            joined |= history.join()
            delivered += history.deliver(as_of)
        told = [one for history in histories for one in history.told_of(as_of)]
        made.append(Day(as_of, raw, joined, delivered, told))
        as_of += timedelta(days=chance.choice([0, 1, 1, 1, 2, 7, 30, 40]))
    return made


@dataclass
class _History:
    """The rows of one world; its keys begin with `world`."""

    chance: random.Random
    world: str = ""
    batch: int = 0
    lines: int = 1
    joined: dict[str, str] = field(default_factory=dict)
    told: list[tuple[int, str, str]] = field(default_factory=list)  # batch, file and order of what was delivered

    def day(self, as_of: date, orders: int) -> Raw:
        """All batches that arrive on the date."""
        raw = Raw()
        for _ in range(self.chance.randrange(1, 3)):
            self.batch += 1
            self._orders(raw, as_of, max(1, orders // 2))
        if self.told and self.chance.random() < 0.5:
            self._replay(raw, as_of)
        if self.chance.random() < 0.2:
            self._vanish(raw, as_of)
        self._others(raw, as_of)
        return raw

    def join(self) -> dict[str, str]:
        """Some clients are joined to earlier ones, some no longer."""
        for key in ("4", "5", "6", "7"):
            if self.chance.random() < 0.3:
                self.joined[key] = self.chance.choice(["1", "2"])
            elif self.chance.random() < 0.3:
                self.joined.pop(key, None)
        return {self.world + key: self.world + to for key, to in self.joined.items()}

    def deliver(self, as_of: date) -> list[tuple[str, str, str, date]]:
        """Who was put on a list on an earlier day, known now: campaign, client, channel, day."""
        days = [as_of - timedelta(days=days) for days in (0, 1, 1, 5, 90) if self.chance.random() < 0.2]
        return [("list", client_ref(NAMESPACE, self.world + self.chance.choice(CLIENTS)), "email", day) for day in days]

    def told_of(self, as_of: date) -> list[Told]:
        """What a tool tells on the date of messages of other days; its own chance leaves the rest as it was."""
        chance = random.Random(f"{self.world}{as_of}{self.batch}")
        found: list[Told] = []
        for number in range(chance.randrange(4)):
            moment = as_of - timedelta(days=chance.choice([0, 1, 3, 20, 95, 370]))
            listed_on = chance.choice([None, moment, moment - timedelta(days=2)])
            kind = chance.choice(["open", "click", "delivered", "hard_bounce", "soft_bounce", "unsubscribe"])
            client = client_ref(NAMESPACE, self.world + chance.choice(CLIENTS))
            event = f"{self.world}{as_of}-{self.batch}-{number}"
            hour = f"{moment} {chance.randrange(24):02d}:30:00"
            found.append((event, kind, hour, chance.random() < 0.3, client, listed_on, as_of))
        return found

    def _orders(self, raw: Raw, as_of: date, orders: int) -> None:
        day = self._delivered_on(as_of)
        file = f"sales_{day}_{self.batch}.csv"
        for _ in range(orders):
            key, version = f"o{self.chance.randrange(60)}", self.chance.choice([None, None, None, "1", "2"])
            source = self.chance.choice(["shop", "shop", "shop", "till"])
            if self.chance.random() < 0.06:
                rows = [{"order_key": key, "_deleted": True}]
            else:
                client = self.chance.choice([*BUYERS, None])
                rows = [self._line(key, client, as_of) for _ in range(self.chance.randrange(1, 4))]
            self._add(raw, "order_lines", rows, day, file=file, version=version, source=source)
            self.told.append((self.batch, file, key))

    def _delivered_on(self, as_of: date) -> date:
        return as_of + timedelta(days=self.chance.choice([0, 0, 0, 0, -1, -3, -20, 2]))

    def _line(self, order: str, client: str | None, as_of: date) -> dict[str, Any]:
        kind = self.chance.choices(["sale", "return", "cancellation", "fee"], [70, 12, 13, 5])[0]
        sign = -1 if kind in {"return", "cancellation"} else 1
        quantity, price = self.chance.choice([1, 1, 2, 3]), self.chance.choice([5, 10])
        day = as_of - timedelta(days=self.chance.choice([0, 0, 0, 1, 1, 2, 5, 29, 31, 90, 170, 400, -1, -3]))
        if self.chance.random() < 0.1:
            client = self.chance.choice([*BUYERS, None])
        return {
            "order_key": order, "client_key": client, "product_key": self.chance.choice(["p1", "p1", "p2", "p3"]),
            "product_name": self.chance.choice(["Tea", "Green tea", None]), "line_kind": kind,
            "ordered_at": f"{day} {self.chance.choice(['03', '12', '12', '23'])}:00:00", "quantity": sign * quantity,
            "unit_price": price, "amount": sign * quantity * price, "discount_amount": self.chance.choice([None, 0, 1]),
            "store_key": self.chance.choice(["s1", "s2", None]), "country": self.chance.choice(["US", "CA", None]),
            "cost_amount": self.chance.choice([None, sign * quantity * 2]),
            "currency": self.chance.choice([None, None, None, "USD", "EUR", "GBP"]),
            "sales_channel": self.chance.choice([None, "web", "shop"]), "device": self.chance.choice([None, "mobile"]),
        }  # fmt: skip

    def _replay(self, raw: Raw, as_of: date) -> None:
        """A line that was set aside comes back: a batch of its own, at the place of the batch that it landed with."""
        place, file, order = self.chance.choice(self.told)
        self.batch += 1
        row = {**self._line(order, self.chance.choice(BUYERS), as_of), "_batch_seq": place}
        self._add(raw, "order_lines", [row], as_of - timedelta(days=self.chance.choice([0, 1])), file=file)

    def _vanish(self, raw: Raw, as_of: date) -> None:
        """Somebody whose every order is deleted, and the record of the CRM too."""
        self.batch += 1
        gone = self.chance.choice(BUYERS)
        self._add(raw, "clients", [{"client_key": gone, "_deleted": True}], as_of)
        for key in sorted({order for _, _, order in self.told}):
            if self.chance.random() < 0.5:
                self._add(raw, "order_lines", [{"order_key": key, "_deleted": True}], as_of, version="9")

    def _others(self, raw: Raw, as_of: date) -> None:
        day = self._delivered_on(as_of)
        self.batch += 1
        some = [key for key in CLIENTS if self.chance.random() < 0.4]
        self._add(raw, "clients", [self._client(key, as_of) for key in some], day)
        self._add(
            raw, "products", [self._product(key) for key in ("p1", "p2", "p3") if self.chance.random() < 0.3], day
        )
        for key in some:
            self._events(raw, key, as_of, day)
        for name, row in [*self._of_nobody(as_of).items(), *self._of_nobody(as_of).items()]:
            if self.chance.random() < 0.3:
                self._add(raw, name, [row], day)

    def _client(self, key: str, as_of: date) -> dict[str, Any]:
        if self.chance.random() < 0.1:
            return {"client_key": key, "_deleted": True}
        signed = as_of - timedelta(days=self.chance.choice([0, 10, 90, 500, -2]))
        return {
            "client_key": key, "first_name": self.chance.choice(["Ann", "Bo"]), "email": f"{key}@example.com",
            "signed_up_on": self.chance.choice([str(signed), None]), "country": self.chance.choice(["US", None]),
            "client_kind": self.chance.choice([None, "person", "household", "company"]),
            "company_key": self.chance.choice([None, None, "1", "8"]), "company_name": self.chance.choice([None, "Acme"]),
            "line_of_business": self.chance.choice([None, "retail", "steel"]), "_precedence": self.chance.choice([100, 50]),
            "region": self.chance.choice([None, "north"]), "birth_date": self.chance.choice([None, "1980-06-03"]),
        }  # fmt: skip

    def _product(self, key: str) -> dict[str, Any]:
        if self.chance.random() < 0.1:
            return {"product_key": key, "_deleted": True}
        return {
            "product_key": key, "product_name": key.upper(), "department": self.chance.choice(["GROCERY", "HOME", None]),
            "category": self.chance.choice(["a", "b"]), "product_line": self.chance.choice(["x", "y", None]),
            "term_days": self.chance.choice([None, 30]), "substitute_group": self.chance.choice([None, "g"]),
        }  # fmt: skip

    def _events(self, raw: Raw, key: str, as_of: date, day: date) -> None:
        on = str(as_of - timedelta(days=self.chance.choice(AGES)))
        rows: dict[str, dict[str, Any]] = {
            "demographics": {"client_key": key, "age_band": self.chance.choice(["19-24", "25-34"])},
            "consents": {
                "client_key": key, "channel": "email", "purpose": "offers", "changed_at": f"{on} 12:00:00",
                "status": self.chance.choice(["granted", "withdrawn"]),
            },
            "campaign_contacts": {"client_key": key, "campaign_key": self.chance.choice(["k1", "k2"]), "contacted_on": on},
            "redemptions": {"client_key": key, "coupon_key": "u", "campaign_key": "k1", "redeemed_on": on},
            "contact_persons": {"client_key": key, "contact_key": f"c{self.chance.randrange(4)}", "role": "buyer"},
            "interactions": {
                "client_key": key, "interaction_key": f"i{self.chance.randrange(9)}", "happened_at": f"{on} 12:00:00",
                "interaction_kind": self.chance.choice(["complaint", "complaint_closed", "nps"]),
                "score": self.chance.choice([None, 3, 9]),
            },
            "deals": {
                "client_key": key, "deal_key": f"d{self.chance.randrange(6)}", "stage": self.chance.choice(["open", "won"]),
                "opened_on": on, "amount": self.chance.choice([None, 100]), "currency": self.chance.choice([None, "EUR"]),
            },
        }  # fmt: skip
        told = [*rows.items(), *(("message_events", self._message(key, as_of)) for _ in range(3))]
        for name, row in [*told, *(("touches", self._touch(key, as_of)) for _ in range(2))]:
            if self.chance.random() < 0.3:
                self._add(raw, name, [self._perhaps_deleted(name, row)], day)

    def _message(self, key: str, as_of: date) -> dict[str, Any]:
        on = as_of - timedelta(days=self.chance.choice(AGES))
        return {
            "client_key": key, "communication_key": f"m{self.chance.randrange(6)}", "campaign_key": "k1",
            "event_kind": self.chance.choice(["sent", "sent", "opened", "clicked", "bounced"]),
            "happened_at": f"{on} {self.chance.choice(['03', '12'])}:00:00", "channel": self.chance.choice(["email", "sms", None]),
        }  # fmt: skip

    def _touch(self, key: str | None, as_of: date) -> dict[str, Any]:
        on = as_of - timedelta(days=self.chance.choice([*AGES, 400]))
        return {
            "client_key": key, "visitor_key": self.chance.choice([None, "v1", "v2", "v3"]),
            "touch_key": f"t{self.chance.randrange(14)}", "touched_at": f"{on} {self.chance.choice(['03', '12'])}:00:00",
            "touch_channel": "search", "device": self.chance.choice([None, "mobile", "desktop"]), "campaign_key": "k1",
        }  # fmt: skip

    def _perhaps_deleted(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        """A tombstone has the key of what it deletes, and nothing else."""
        keys = {
            "touches": ["touch_key"], "interactions": ["interaction_key"], "deals": ["deal_key"],
            "contact_persons": ["contact_key"], "message_events": ["communication_key", "event_kind", "happened_at"],
        }.get(name, list(row))  # fmt: skip
        return {**{key: row[key] for key in keys}, "_deleted": True} if self.chance.random() < 0.2 else row

    def _of_nobody(self, as_of: date) -> dict[str, dict[str, Any]]:
        """What is no client's: rates that come late or are corrected, campaigns, spend, touches of visitors."""
        on = str(as_of - timedelta(days=self.chance.choice([0, 1, 5, 30, 60, -2])))
        return {
            "touches": self._touch(None, as_of),
            "exchange_rates": {
                "rate_on": self.chance.choice(["2016-01-01", "2017-01-01", on]),
                "currency": self.chance.choice(["EUR", "GBP"]), "rate": self.chance.choice(["1.1", "1.2", "0.9"]),
            },
            "campaigns": {
                "campaign_key": self.chance.choice(["k1", "k2"]), "starts_on": on,
                "campaign_type": self.chance.choice(["a", None]),
            },
            "spend": {
                "spent_on": on, "spend_channel": "search", "campaign_key": self.chance.choice(["k1", "k3"]),
                "amount": self.chance.choice([5, 7]), "currency": self.chance.choice([None, "EUR"]),
            },
        }  # fmt: skip

    def _add(
        self, raw: Raw, entity: Any, rows: list[dict[str, Any]], day: date, *,
        file: str | None = None, version: str | None = None, source: str = "shop",
    ) -> None:  # fmt: skip
        for row in rows:
            self.lines += 1
            given = {
                "_line": self.lines, "_version": version, "_source": source,
                "_batch_id": f"{entity}-{self.batch}", "_file": file or f"{entity}_{day}_{self.batch}.csv",
            }  # fmt: skip
            raw.add(entity, str(day), [{**given, **self._named(row)}], batch_seq=self.batch)

    def _named(self, row: Mapping[str, Any]) -> dict[str, Any]:
        keys = {name: self.world + row[name] for name in KEYS if row.get(name)}
        return {**row, **keys}
