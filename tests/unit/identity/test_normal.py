from __future__ import annotations

import pytest

from perennial.identity import normal


@pytest.mark.parametrize(
    ("written", "mailbox"),
    [
        (" Ivan.Petrov+shop@GoogleMail.com ", "ivanpetrov@gmail.com"),
        ("ivan.petrov@example.com", "ivan.petrov@example.com"),
        ("ivan+shop@example.com", "ivan+shop@example.com"),
        ("ivan+shop@outlook.com", "ivan@outlook.com"),
        ("a-b@ya.ru", "a.b@yandex.ru"),
        ("<anna@example.com>", "anna@example.com"),
        ("anna@почта.рф", "anna@xn--80a1acny.xn--p1ai"),
        ("anna@gmial.com", "anna@gmial.com"),
    ],
)
def test_dots_and_tags_count_unless_the_provider_says_that_they_do_not(written, mailbox):
    assert normal.email(written).address == mailbox


@pytest.mark.parametrize("written", [None, "", "anna", "anna@", "@example.com", "a b@example.com", "anna@example", "x@" + "y" * 300 + ".com", "no@none", "a@-\ud800.com"])  # fmt: skip
def test_what_is_no_address_identifies_nobody(written):
    assert normal.email(written) is None


@pytest.mark.parametrize(
    ("written", "is_role"),
    [("info@acme.com", True), ("sales-eu@acme.com", True), ("noreply2@acme.com", True), ("anna.sales@acme.com", False)],
)
def test_a_role_address_is_told_by_its_first_word(written, is_role):
    assert normal.email(written).is_role is is_role
    assert normal.email("zentrale@acme.de", frozenset({"zentrale"})).is_role


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("(202) 555-0123", "US", "+12025550123"),
        ("+1 202 555 0123", None, "+12025550123"),
        ("+12025550123", None, "+12025550123"),
        ("8 (916) 123-45-67", "RU", "+79161234567"),
        ("9161234567", "RU", "+79161234567"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("+44 (0)20 7946 0958", "US", "+442079460958"),
        ("442079460958", None, "+442079460958"),
        ("000-00-00", "US", None),
        ("12", "US", None),
        ("call me", "US", None),
        (None, "US", None),
    ],
)
def test_a_phone_is_read_with_the_country_of_its_record(written, region, number):
    assert normal.phone(written, region) == number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Юлия", "Julia"),
        ("Yuliya", "Iuliia"),
        ("Дмитрий", "Dmitri"),
        ("Наталья", "Natalia"),
        ("Ксения", "Xenia"),
        ("José", "JOSE"),
        ("Dr. Zoë", "zoe"),
        ("Иван Петрович", "Ivan"),
        ("Bob", "Robert"),
    ],
)
def test_one_first_name_in_two_spellings_compares_as_one(one, other):
    assert normal.first_name(one).canonical == normal.first_name(other).canonical


def test_family_names_compare_exactly_and_have_a_common_stem():
    assert normal.last_name("Щербаков").fold == normal.last_name("Shcherbakov").fold
    assert normal.last_name("Müller").fold == normal.last_name("Mueller").fold
    assert normal.last_name("Иванова").fold != normal.last_name("Ivanov").fold
    assert normal.last_name("Иванова").canonical == normal.last_name("Ivanov").canonical
    assert normal.last_name("Достоевская").canonical == normal.last_name("Dostoevsky").canonical


def test_tax_and_card_numbers_lose_their_punctuation_and_placeholders_are_nobodys():
    assert normal.tax_number("DE 136.695.976") == normal.tax_number("136695976") == "136695976"
    assert normal.is_inn("7707083893")
    assert normal.is_inn("500100732259")
    assert not normal.is_inn("7707083890")
    assert normal.tax_number("RU7707083890") is None
    assert normal.tax_number("0000000000") is None
    assert normal.card_number("2900-0012 345") == "29000012345"
    assert normal.card_number("1111111") is None
    assert normal.luhn("4539578763621486")
    assert not normal.luhn("4539578763621487")


def test_postcodes_and_company_names():
    assert normal.postcode("10001-1234") == normal.postcode("10001") == "10001"
    assert normal.postcode("sw1a 1aa") == "SW1A1AA"
    assert normal.company_name("GTX Pro, Inc.") == normal.company_name("GTXPro") == "gtxpro"
    assert normal.company_name("Ltd.") is None
