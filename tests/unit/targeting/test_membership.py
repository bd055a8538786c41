from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from factories.published import AS_OF, MemorySession, client, scores, shop_tables, write_config
from perennial.targeting.config import load_rules
from perennial.targeting.membership import TABLES, compare_memberships, episodes_of
from perennial.targeting.scan import known_of, published_catalogue, scan_clients

NEXT, TUESDAY = AS_OF + timedelta(days=1), AS_OF + timedelta(days=2)
RULES = {
    "risky": "churn_risk >= 0.5",
    "recent": "recency_days < 5",
    "both": "risky and recent",
    "newly": "entered(recent, 7)",
    "gone": "exited(recent, 7)",
}


def shop(*recencies: int, **values) -> list[dict]:
    return [client(f"c{place:02}", recency_days=days, **values) for place, days in enumerate(recencies)]


class Days:
    """Days of a shop, one after the other, in memory: what is published of one is there on the next."""

    def __init__(self, folder):
        self.folder = folder
        self.tables = {}

    def run(self, clients, as_of=AS_OF, rules=None, aliases=()):
        tables = {**shop_tables(clients, as_of=as_of), "client_scores": scores(clients, as_of), **self.tables}
        if aliases:
            rows = [{"client_ref": one, "client_id": other} for one, other in aliases]
            tables["client_aliases"] = pa.Table.from_pylist(rows)
        session = MemorySession(tables)
        settings = write_config(self.folder, segments=rules or RULES)
        targeting = load_rules(settings, published_catalogue(session, session.tables()))
        known = known_of(session, session.tables(), as_of, targeting)
        scan_clients(session, targeting, known)
        compare_memberships(session, targeting, known)
        for name, schema, query in TABLES:
            made = session.query(query).cast(schema)
            self.tables[name] = pa.concat_tables([self.tables[name], made]) if name in self.tables else made
        self.as_of, self.session, self.known = as_of, MemorySession({**tables, **self.tables}), known
        return self

    def rows(self, table):
        return self.session.query(f"from {table} order by all").to_pylist()

    def members(self, segment, key="entered_at"):
        found = self.rows("client_segments")
        return {r["client_id"]: r[key] for r in found if (r["segment"], r["as_of_date"]) == (segment, self.as_of)}

    def episodes(self, segment):
        keys = ("client_id", "entered_at", "left_at", "left_by")
        found = self.rows("client_segments_history")
        return [tuple(r[key] for key in keys) for r in found if r["segment"] == segment]

    def sizes(self, segment):
        return [row for row in self.rows("segment_sizes") if row["segment"] == segment]


def test_membership_carries_its_first_day_and_an_episode_is_written_once_when_it_ends(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 1, 9))
    days.run(shop(2, 9, 1), NEXT)
    days.run(shop(3, 9, 9), TUESDAY)
    assert days.members("recent") == {"c00": AS_OF}
    assert days.episodes("recent") == [
        ("c01", AS_OF, NEXT, "client"),
        ("c02", NEXT, TUESDAY, "client"),
    ]


def test_who_enters_and_leaves_is_told_by_the_rules_that_ask_for_it(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 1, 9))
    assert days.members("newly") == {}  # nobody knows since when they are in
    days.run(shop(2, 9, 1), NEXT)
    assert set(days.members("newly")) == {"c02"}
    assert set(days.members("gone")) == {"c01"}
    days.run(shop(2, 9, 1), AS_OF + timedelta(days=8))
    assert set(days.members("newly")) == set(days.members("gone")) == set()


def test_a_changed_rule_is_no_event_of_a_client(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 1, 9))
    rules = {**RULES, "recent": "recency_days > 5"}
    days.run(shop(1, 1, 9), TUESDAY, rules=rules)
    assert days.members("recent", "entered_by") == {"c02": "rule"}
    assert {left_by for *_, left_by in days.episodes("recent")} == {"rule"}
    assert days.members("newly") == days.members("gone") == {}


def test_a_rule_that_is_only_written_otherwise_is_the_same_rule(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 9))
    rules = {**RULES, "recent": "RECENCY_DAYS<5 -- the last days"}
    days.run(shop(1, 1), TUESDAY, rules=rules)
    assert [r["is_new_rule"] for r in days.rows("segment_sizes") if r["segment"] == "recent"] == [True, False]
    assert set(days.members("newly")) == {"c01"}


def test_a_segment_that_is_given_up_ends_once(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 1))
    rules = {"risky": RULES["risky"]}
    days.run(shop(1, 1), NEXT, rules=rules)
    days.run(shop(1, 1), TUESDAY, rules=rules)
    assert days.episodes("recent") == [(who, AS_OF, NEXT, "rule") for who in ("c00", "c01")]


def test_L6_a_day_without_the_score_ends_no_membership(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 1))
    days.run(shop(1, 1, churn_risk=None), NEXT)
    days.run(shop(1, 1), TUESDAY)
    assert days.members("risky") == {"c00": AS_OF, "c01": AS_OF}
    assert days.episodes("risky") == []
    assert [r["as_of_date"] for r in days.rows("segment_sizes") if r["segment"] == "risky"] == [
        AS_OF,
        TUESDAY,
    ]


def test_sizes_tell_who_came_and_who_left(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1, 1, 9))
    days.run(shop(2, 9, 1), TUESDAY)
    found = {r["segment"]: r for r in days.rows("segment_sizes") if r["as_of_date"] == TUESDAY}
    assert [found["recent"][key] for key in ("clients", "entered", "exited", "is_new_rule")] == [2, 1, 1, False]
    assert found["risky"]["clients"] == 3


def test_a_client_who_was_joined_with_another_keeps_the_earlier_day_and_the_old_record_ends(tmp_path):
    days = Days(tmp_path)
    days.run(shop(9, 1))
    days.run(shop(1), TUESDAY, aliases=[("c01", "c00")])
    assert days.members("recent") == {"c00": AS_OF}
    assert days.episodes("recent") == [("c01", AS_OF, TUESDAY, "merge")]
    assert days.members("newly") == days.members("gone") == {}


def test_what_is_told_of_one_client_is_her_first_day_and_her_earlier_times(tmp_path):
    days = Days(tmp_path)
    days.run(shop(1))
    days.run(shop(9), NEXT)
    days.run(shop(1), TUESDAY)
    known = known_of(days.session, days.session.tables(), TUESDAY)
    since, earlier = episodes_of(days.session, known, "c00")
    assert (since["recent"], since["risky"]) == (TUESDAY, AS_OF)
    assert earlier == {name: [{"entered_at": AS_OF, "left_at": NEXT}] for name in ("recent", "both")} | {
        "gone": [{"entered_at": NEXT, "left_at": TUESDAY}]
    }
