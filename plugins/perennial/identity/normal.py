"""One spelling for what is written in many ways: e-mail, phone, names, tax and card numbers, postcode.

Every function is pure and gives None for what cannot identify anyone. They are called once per distinct value.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from perennial.identity.words import (
    CYRILLIC,
    DOMAIN_ALIASES,
    DOTS_IGNORED,
    NICKNAMES,
    NOT_A_DOMAIN,
    PLUS_TAGS,
    ROLE_WORDS,
    TITLES,
    words,
)

_EMAIL_MAX = 254
_ATOM = re.compile(r"[^\s@\"(),:;<>\[\]\\]{1,64}")
_ROLE_PARTS = re.compile(r"[a-z]+")
_DIGITS = re.compile(r"\D+")
_ALNUM = re.compile(r"[\W_]+")
_NANP = re.compile(r"\+?1?([2-9]\d{2}[2-9]\d{6})")
_RUSSIA = re.compile(r"(?:\+7|8|7)?([3-9]\d{9})")
_PLAIN_NANP = re.compile(r"\+1[2-9]\d{2}[2-9]\d{6}")
_PLAIN_RUSSIA = re.compile(r"\+7[3-9]\d{9}")
_PHONE_DIGITS = range(7, 16)
_CARD_DIGITS = range(6, 20)
_TAX_DIGITS = range(8, 16)
_POSTCODE = range(3, 11)
_TABLE = str.maketrans(CYRILLIC)
_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "\u0131": "i", "þ": "th"})
# What differs between transliterations of one name falls together: Yulia, Julia, Iuliia; Dmitriy, Dmitri.
_FOLDS = (("ue", "u"), ("oe", "o"), ("ae", "a"), ("shch", "sch"), ("kh", "h"), ("ck", "k"), ("ph", "f"))
_LATER_FOLDS = (("x", "ks"), ("w", "v"), ("tz", "c"), ("ts", "c"), ("zh", "j"), ("dj", "j"))
_SKY = ("skaya", "skaia", "skii", "skiy", "sky", "ski", "ska")
_JOTS = re.compile(r"[ijy]+")
_DOUBLED = re.compile(r"(.)\1+")


@dataclass(frozen=True)
class Email:
    """A mailbox: `address` as its provider sees it, and whether it is a role's and not a person's."""

    address: str
    is_role: bool


@dataclass(frozen=True)
class Name:
    """A name for comparing: `plain` (lower case, Latin, no accents), `fold` without what spellings differ in."""

    plain: str
    fold: str
    canonical: str  # of a first name: the long form of a short one, folded


def email(text: str | None, roles: frozenset[str] = frozenset()) -> Email | None:
    """The mailbox that the text names; None when it names none. `roles` are further role words.

    Dots and +tags before the @ are dropped only where the provider says so; the domain is lower case and ASCII (IDNA).
    """
    address = (text or "").strip().lower().removeprefix("mailto:").strip("<>").rstrip(".")
    local, at, domain = address.rpartition("@")
    if not at or len(address) > _EMAIL_MAX or not _ATOM.fullmatch(local):
        return None
    host = _host(domain)
    if host is None:
        return None
    if host in PLUS_TAGS:
        local = local.partition("+")[0] or local
    if host in DOTS_IGNORED:
        local = local.replace(".", "")
    if host == "yandex.ru":
        local = local.replace("-", ".")
    parts = _ROLE_PARTS.findall(local)[:1]  # sales, sales-eu, sales2; anna.sales is a person's
    return Email(f"{local}@{host}", bool(parts) and (parts[0] in ROLE_WORDS or parts[0] in roles))


@lru_cache(maxsize=65_536)
def _host(domain: str) -> str | None:
    try:
        host = domain.encode("idna").decode("ascii").strip(".") if not domain.isascii() else domain.strip(".")
    except UnicodeError:
        return None
    head, dot, tail = host.rpartition(".")
    if not dot or not head or len(tail) < 2 or host in NOT_A_DOMAIN or not _ATOM.fullmatch(host):  # noqa: PLR2004
        return None
    return DOMAIN_ALIASES.get(host, host)


def phone(text: str | None, region: str | None) -> str | None:
    """The number in E.164; None when it cannot be one. `region` (ISO 3166-1) is where numbers without a code are from.

    Plain North American and Russian numbers are read here, since `phonenumbers` takes 30 microseconds each.
    """
    plain = _DIGITS.sub("", text or "")
    if len(plain) not in _PHONE_DIGITS or len(set(plain[-7:])) == 1:
        return None  # 000-00-00 and the like stand where there is no number
    given = (text or "").strip()
    if _PLAIN_NANP.fullmatch(given) or _PLAIN_RUSSIA.fullmatch(given):
        return given
    if region in {"US", "CA"} and (found := _NANP.fullmatch(given)):
        return f"+1{found[1]}"
    if region == "RU" and (found := _RUSSIA.fullmatch(given)):
        return f"+7{found[1]}"
    return _parsed(given, region)


def _parsed(text: str, region: str | None) -> str | None:
    import phonenumbers  # 0.2 s

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        if text.startswith("+") or region is not None:
            return None
        return _parsed(f"+{text}", None)  # a code without its plus
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def latin(text: str | None) -> str:
    """Lower case, accents off, Cyrillic in Latin letters; every other sign is a space."""
    lower = (text or "").lower()
    if not lower.isascii():
        lower = lower.translate(_TABLE).translate(_LETTERS)
        lower = "".join(c for c in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(c))
        lower = lower.translate(_TABLE)  # letters that were written with a combining mark
    return " ".join(re.sub(r"[^\w]+|_", " ", lower.replace("'", "").replace("\u2019", "")).split())


def fold(plain: str) -> str:
    """The name without what spellings and transliterations of it differ in; equal folds are the same name."""
    for old, new in _FOLDS + _LATER_FOLDS:
        plain = plain.replace(old, new)
    return _DOUBLED.sub(r"\1", _JOTS.sub("i", plain.replace(" ", "").replace("ie", "e").replace("ye", "e")))


def first_name(text: str | None) -> Name | None:
    """The given name: the first word that is no title; second names and patronymics do not count."""
    parts = [word for word in latin(text).split() if word not in TITLES]
    if not parts:
        return None
    plain = parts[0]
    canonical = NICKNAMES.get(plain, plain)
    return Name(plain, fold(plain), fold(canonical))


def last_name(text: str | None) -> Name | None:
    """The family name, all its words."""
    parts = [word for word in latin(text).split() if word not in TITLES]
    if not parts:
        return None
    plain = " ".join(parts)
    return Name(plain, fold(plain), family_stem(plain))


def family_stem(plain: str) -> str:
    """What the names of one family share: Ivanov and Ivanova, Dostoevsky and Dostoevskaya."""
    for ending in _SKY:
        if plain.endswith(ending):
            return fold(plain.removesuffix(ending) + "sk")
    if plain.endswith(("ova", "eva", "ina", "yna")):
        return fold(plain[:-1])
    return fold(plain)


def tax_number(text: str | None) -> str | None:
    """Digits and letters of a tax number that can be one.

    Russian INN (10 or 12 digits) is held against its check digits; a VAT number loses its country letters, so that
    DE136695976 and 136695976 are the same; one digit repeated is nobody's.
    """
    plain = _ALNUM.sub("", (text or "").upper())
    digits = plain[2:] if plain[:2].isalpha() else plain
    if len(digits) not in _TAX_DIGITS or len(set(digits)) <= 2 or not any(c.isdigit() for c in digits):  # noqa: PLR2004
        return None
    return digits if not is_wrong_inn(digits, plain) else None


_INN_10 = (2, 4, 10, 3, 5, 9, 4, 6, 8)
_INN_12 = ((7, 2, 4, 10, 3, 5, 9, 4, 6, 8), (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8))


def is_inn(digits: str) -> bool:
    """Whether 10 or 12 digits end in the check digits of a Russian INN."""

    def check(weights: tuple[int, ...]) -> bool:
        total = sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=False))
        return total % 11 % 10 == int(digits[len(weights)])

    if not digits.isdigit() or len(digits) not in {10, 12}:
        return False
    return check(_INN_10) if len(digits) == 10 else all(map(check, _INN_12))  # noqa: PLR2004


def is_wrong_inn(digits: str, plain: str) -> bool:
    """Whether the number is said to be Russian (RU in front) and its check digits are wrong."""
    return plain.startswith("RU") and not is_inn(digits)


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of those before it (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004
    return total % 10 == 0


def card_number(text: str | None) -> str | None:
    """Digits and letters of a loyalty card; one sign repeated is nobody's. Few have a check digit, so none is asked."""
    plain = _ALNUM.sub("", (text or "").upper())
    if len(plain) not in _CARD_DIGITS or len(set(plain)) <= 2 or not any(c.isdigit() for c in plain):  # noqa: PLR2004
        return None
    return plain


def postcode(text: str | None) -> str | None:
    """Letters and digits in upper case; of an American ZIP+4 the five digits."""
    raw = (text or "").strip().upper()
    if re.fullmatch(r"\d{5}-\d{4}", raw):
        raw = raw[:5]
    plain = _ALNUM.sub("", raw)
    return plain if len(plain) in _POSTCODE else None


def company_name(text: str | None) -> str | None:
    """The name of a company without its legal form, for comparing: `GTX Pro, Inc.` and `GTXPro` are one."""
    parts = [word for word in latin(text).split() if word not in _LEGAL_FORMS]
    return "".join(parts) or None


_LEGAL_FORMS = words(
    """
    inc ltd llc llp plc corp corporation company co gmbh ag kg ohg ug sa sarl sas srl spa bv nv ab as oy oo ooo zao oao
    pao ao ip kft sro
    """
)
