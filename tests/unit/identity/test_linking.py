"""Who is one client and who is not, rule by rule."""

from __future__ import annotations

import random
from datetime import date

import pytest

from factories.client_records import candidates, groups, identity_map, record

BORN = date(1980, 5, 17)
ANN = {"first_name": "Ann", "last_name": "Miller"}
ONE = {frozenset({"c1", "c2"})}


@pytest.mark.parametrize(
    ("rule", "one", "other"),
    [
        ("tax_number", {"tax": "136695976", **ANN}, {"tax": "DE136695976", "last_name": "Smith"}),
        ("card_number", {"card": "2900 0012 345", **ANN}, {"card": "29000012345", "first_name": "Ann"}),
        ("email_name", {"email": "Ann.M@gmail.com", **ANN}, {"email": "annm@googlemail.com", **ANN}),
        ("email_name", {"email": "a@b.com", **ANN}, {"email": "a@b.com", "first_name": "Miller", "last_name": "Ann"}),
        ("email_name", {"email": "a@b.com", **ANN}, {"email": "a@b.com", "last_name": "Miller, Ann"}),
        ("email_name", {"email": "a@b.com", **ANN}, {"email": "a@b.com", "first_name": "A.", "last_name": "Miller"}),
        ("email_birth", {"email": "a@b.com", "birth_date": BORN, **ANN}, {"email": "a@b.com", "birth_date": BORN, "first_name": "Ann", "last_name": "Stone"}),
        ("two_keys", {"email": "a@b.com", "phone": "202-555-0123", **ANN}, {"email": "a@b.com", "phone": "2025550123", "first_name": "Ann", "last_name": "Stone"}),
        ("phone_name", {"phone": "(202) 555-0123", **ANN}, {"phone": "+12025550123", **ANN}),
        ("phone_birth", {"phone": "(202) 555-0123", "birth_date": BORN, **ANN}, {"phone": "+12025550123", "birth_date": BORN, "first_name": "Ann", "last_name": "Stone"}),
        ("name_birth_postcode", {"birth_date": BORN, "postcode": "10001-1234", **ANN}, {"birth_date": BORN, "postcode": "10001", **ANN}),
        ("email_alone", {"email": "a@b.com", **ANN}, {"email": "a@b.com"}),
    ],
)  # fmt: skip
def test_two_sources_records_are_one_client_by_the_rule(rule, one, other):
    found = identity_map([record("c1", **one), record("c2", "shop", 2, **other)])
    assert found["c2"]["client_id"] == "c1"
    assert found["c2"]["rule"] == rule


@pytest.mark.parametrize(
    ("why", "one", "other"),
    [
        ("twins share birth date, family name, address and mailbox", {"email": "m@b.com", "birth_date": BORN, "postcode": "10001", **ANN}, {"email": "m@b.com", "birth_date": BORN, "postcode": "10001", "first_name": "Eva", "last_name": "Miller"}),
        ("father and son share name and mailbox", {"email": "m@b.com", "birth_date": BORN, **ANN}, {"email": "m@b.com", "birth_date": date(2005, 9, 3), **ANN}),
        ("the phone changed hands", {"phone": "2025550123", **ANN}, {"phone": "2025550123", "first_name": "Carl", "last_name": "Stone"}),
        ("a role's address joins nobody", {"email": "info@acme.com", **ANN}, {"email": "info@acme.com", **ANN}),
        ("a placeholder is no phone", {"phone": "000-000-0000", **ANN}, {"phone": "000-000-0000", **ANN}),
        ("names and birth date alone are not enough", {"birth_date": BORN, "postcode": "10001", **ANN}, {"birth_date": BORN, "postcode": "20002", **ANN}),
        ("a company is no person", {"email": "a@b.com", "client_kind": "company", **ANN}, {"email": "a@b.com", **ANN}),
    ],
)  # fmt: skip
def test_two_sources_records_stay_two_clients(why, one, other):
    assert groups([record("c1", **one), record("c2", "shop", 2, **other)]) == set(), why


def test_one_source_never_merges_its_own_two_ids_without_proof():
    phone = [record("c1", phone="2025550123", **ANN), record("c2", phone="2025550123", **ANN)]
    assert groups(phone) == set()
    assert groups([{**one, "email": "ann@b.com"} for one in phone]) == ONE
    # Not through another source's record either; the pair that is left is told.
    bridge = [record("c1", phone="2025550123", **ANN), record("c2", phone="2125550199", **ANN)]
    bridge.append(record("c3", "shop", 2, phone=["2025550123", "2125550199"], **ANN))
    assert groups(bridge) == {frozenset({"c1", "c3"})}
    assert ["without proof" in one["reason"] for one in candidates(bridge)] == [True]


def test_a_value_that_too_many_share_joins_nobody():
    crowd = [record(f"c{n}", f"source{n}", n, email="club@b.com", **ANN) for n in range(1, 6)]
    assert groups(crowd, max_shared=5) == {frozenset(one["client_ref"] for one in crowd)}
    assert groups(crowd, max_shared=4) == set()


def test_a_group_that_would_be_too_large_is_refused_whole_and_told():
    chain = [record(f"c{n}", f"s{n}", n, email=[f"m{n}@b.com", f"m{n + 1}@b.com"], **ANN) for n in range(1, 6)]
    assert len(groups(chain, max_group=5)) == 1
    assert groups(chain, max_group=4) == set()


def test_L2_the_client_id_is_that_of_the_earliest_record_in_whatever_order_they_come():
    people = [
        record("c9", "crm", 1, email="a@b.com", **ANN),
        record("c1", "shop", 2, email="a@b.com", phone="2025550123", **ANN),
        record("c2", "app", 2, phone="2025550123", **ANN),
    ]
    expected = identity_map(people)
    assert {row["client_id"] for row in expected.values()} == {"c9"}
    for seed in range(5):
        assert identity_map(random.Random(seed).sample(people, 3)) == expected


def test_a_new_record_joins_the_client_and_does_not_rename_her():
    before = [record("c5", "crm", 1, email="a@b.com", **ANN)]
    assert identity_map([*before, record("c1", "shop", 7, email="a@b.com", **ANN)])["c1"]["client_id"] == "c5"


def test_who_changes_the_phone_stays_the_same_client():
    shop = record("c2", "shop", 2, phone="2025550123", **ANN)
    assert groups([record("c1", phone=["2025550123", "3125550100"], **ANN), shop]) == ONE


def test_a_persons_word_beats_the_rules_and_the_group_stays_as_it_is_otherwise():
    people = [
        record("c1", email="a@b.com", **ANN),
        record("c2", "shop", 2, email="a@b.com", **ANN),
        record("c3", "app", 3, first_name="Carl"),
    ]
    assert groups(people, ("merge", "c3", "c2")) == {frozenset({"c1", "c2", "c3"})}
    assert identity_map(people, ("merge", "c3", "c2"))["c3"]["evidence"] == "decision 1"
    assert groups(people, ("apart", "c1", "c2")) == set()
    assert groups(people, ("apart", "c1", "c3"), ("merge", "c2", "c3")) == ONE


def test_L22_evidence_is_masked():
    people = [
        record("c1", email="ann.miller@b.com", **ANN),
        record("c2", "shop", 2, email="ann.miller@b.com", **ANN),
        record("c3", "app", 3, phone="2025550123", **ANN),
        record("c4", "club", 4, phone="2025550123", **ANN),
    ]
    told = " ".join(row["evidence"] or "" for row in identity_map(people).values())
    assert told == "e-mail a***@b***.com phone +1***23"


def test_a_family_is_a_household_and_not_a_client():
    family = [
        record("c1", phone="2025550123", first_name="Иван", last_name="Петров"),
        record("c2", phone="2025550123", first_name="Мария", last_name="Петрова"),
        record("c3", phone="2025550123", first_name="Carl", last_name="Stone"),
    ]
    found = identity_map(family)
    assert {ref: row["household_id"] for ref, row in found.items()} == {"c1": "h1", "c2": "h1"}
    own = [record("c1", household_key="7", first_name="A"), record("c2", household_key="7", first_name="B")]
    assert {row["household_id"] for row in identity_map(own).values()} == {"h1"}


def test_people_belong_to_the_client_that_their_company_is():
    company = {"client_kind": "company", "company_name": "GTX Pro, Inc.", "phone": "2025550123"}
    firm = [
        record("c1", "crm", 1, **company),
        record("c2", "erp", 2, **{**company, "company_name": "GTXPro"}),
        record("c3", "crm", 3, company_ref="c1", **ANN),
        record("c4", "erp", 4, company_ref="c2", first_name="Eva"),
    ]
    found = identity_map(firm)
    assert found["c2"]["client_id"] == "c1"
    assert found["c2"]["rule"] == "company"
    assert {found[ref]["company_id"] for ref in ("c3", "c4")} == {"c1"}


def test_candidates_are_told_with_the_reason_and_are_no_more_once_decided():
    people = [
        record("c1", birth_date=BORN, postcode="10001", **ANN),
        record("c2", "shop", 2, birth_date=BORN, postcode="20002", **ANN),
    ]
    (one,) = candidates(people)
    assert (one["left_ref"], one["right_ref"], one["reason"]) == ("c1", "c2", "the same name and birth date")
    assert candidates(people, ("apart", "c1", "c2")) == []
    assert candidates(people, ("merge", "c1", "c2")) == []
    for what, wrong in (("phone", ("2025550123", "2025550124")), ("email", ("ann@gmail.com", "ann@gmial.com"))):
        typed = [record("c1", **{what: wrong[0]}, **ANN), record("c2", "shop", 2, **{what: wrong[1]}, **ANN)]
        (one,) = candidates(typed)
        assert "off by one" in one["reason"]
        assert "ann@" not in str(one)
