"""Client records whose truth is known: people in several sources, as people are written down.

Planted: families with one phone, mailbox or card; twins (same birth date, family name, address); role addresses; phones
that changed hands; changed phones and addresses; short names, other alphabets, typing errors, missing values; moves and
married names; second registrations in one source.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from perennial.core.ids import client_ref
from perennial.identity.scratch import RECORDS, VALUES
from perennial.identity.words import NICKNAMES


def _words(text: str) -> list[str]:
    return text.split()


SOURCES = ("crm", "shop", "loyalty", "app")
_MEN = _words(
    """
    Alexander Andrew Anthony Benjamin Charles Christopher Daniel David Dmitri Edward Eric Frank George Gregory
    Henry Hugo Ivan James John Jonathan Joseph Joshua Kevin Lawrence Louis Mark Martin Matthew Michael Mikhail
    Nicholas Nikolai Oliver Oscar Patrick Paul Peter Philip Richard Robert Samuel Sergei Simon Stephen Thomas
    Timothy Victor Vladimir Walter William
    """
)
_WOMEN = _words(
    """
    Alexandra Alice Amy Andrea Anna Barbara Bianca Camille Catherine Charlotte Clara Diana Elena Elizabeth Emily
    Emma Eva Fiona Grace Hannah Helen Irina Jana Jane Jennifer Julia Karen Laura Lucia Margaret Maria Martina
    Natalia Nina Nora Olga Patricia Petra Rachel Rebecca Rosa Ruth Sara Sofia Stella Susan Svetlana Tatiana Vera
    Victoria
    """
)
_FAMILIES = _words(
    """
    Abbott Adams Ahmed Anderson Bailey Baker Bauer Becker Bell Bennett Berg Black Brooks Brown Burke Campbell
    Carter Castillo Chang Clark Cohen Cole Collins Cooper Cruz Davis Diaz Dixon Edwards Ellis Evans Fischer
    Fisher Flores Foster Freeman Garcia Gibson Gomez Gonzalez Graham Grant Green Gupta Hall Hamilton Hansen
    Harris Hayes Hill Howard Huang Hughes Ibrahim Jackson Jenkins Johnson Jones Jordan Kelly Kennedy Khan King
    Klein Kowalski Larsen Lee Lewis Lopez Marshall Martin Mason Meyer Miller Mitchell Moore Morales Morgan
    Murphy Nelson Nguyen Novak Olsen Ortiz Owens Parker Patel Perez Peterson Phillips Powell Price Quinn Ramirez
    Reed Reyes Rivera Roberts Robinson Romero Rossi Russell Sanders Santos Schmidt Scott Shah Silva Simmons
    Singh Smith Stewart Stone Sullivan Tanaka Taylor Thompson Torres Tran Turner Vargas Walker Wallace Wang Ward
    Watson Weber West White Wilson Wong Wood Wright Yang Young Zhang Ivanov Petrov Sidorov Kuznetsov Popov
    Sokolov Lebedev Kozlov Novikov Morozov Volkov Pavlov Semenov Golubev Vinogradov Bogdanov Fedorov Orlov
    Andreev Makarov
    """
)
_CYRILLIC = {
    "Ivan": "Иван", "Dmitri": "Дмитрий", "Sergei": "Сергей", "Mikhail": "Михаил", "Vladimir": "Владимир",
    "Nikolai": "Николай", "Alexander": "Александр", "Anna": "Анна", "Maria": "Мария", "Natalia": "Наталья",
    "Svetlana": "Светлана", "Tatiana": "Татьяна", "Olga": "Ольга", "Irina": "Ирина", "Elena": "Елена",
    "Victor": "Виктор", "Clara": "Клара", "Nina": "Нина", "Julia": "Юлия",
    "Ivanov": "Иванов", "Petrov": "Петров", "Sidorov": "Сидоров", "Kuznetsov": "Кузнецов", "Popov": "Попов",
    "Sokolov": "Соколов", "Lebedev": "Лебедев", "Kozlov": "Козлов", "Novikov": "Новиков", "Morozov": "Морозов",
    "Volkov": "Волков", "Pavlov": "Павлов", "Bogdanov": "Богданов", "Orlov": "Орлов", "Makarov": "Макаров",
}  # fmt: skip
_DOMAINS = ("gmail.com", "gmail.com", "yahoo.com", "outlook.com", "mail.ru", "gmx.de", "orange.fr", "work-mail.com")
_ROLES = ("info", "sales", "office", "contact", "noreply", "orders")
_SHORT: dict[str, list[str]] = {}
for _short, _long in NICKNAMES.items():
    if _short != _long:
        _SHORT.setdefault(_long, []).append(_short.title())


@dataclass
class Person:
    """The truth of one client."""

    first: str
    last: str
    born: date
    post: str
    emails: list[str]
    phones: list[str]
    card: str
    tax: str


@dataclass
class Planted:
    """`truth`: by client_ref the person. `records` and `values` as `identity.linking.link` takes them."""

    truth: dict[str, int] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    values: list[tuple[str, str, str, str]] = field(default_factory=list)

    def tables(self) -> list[pa.Table]:
        """The records and the values as Arrow tables."""
        names = VALUES.names
        columns = [list(column) for column in zip(*self.values, strict=True)]
        return [
            pa.Table.from_pylist(self.records, schema=RECORDS),
            pa.Table.from_arrays([pa.array(c, pa.string()) for c in columns], names=names),
        ]


def plant(clients: int, *, seed: int = 1) -> Planted:
    """The records of so many clients, about 2.1 each."""
    rng = random.Random(seed)
    people: list[Person] = []
    while len(people) < clients:
        people += _family(rng, len(people), people)
    people = people[:clients]
    planted = Planted()
    count = itertools.count(1)
    for number, person in enumerate(people):
        for source in _sources(rng):
            _record(rng, planted, number, person, source, next(count))
    return planted


def _family(rng: random.Random, number: int, others: list[Person]) -> list[Person]:
    size = rng.choices([1, 2, 3, 4, 5], [55, 20, 12, 9, 4])[0]
    last, post = rng.choice(_FAMILIES), f"{rng.randrange(10_000, 16_000)}"
    shared = {
        "phone": _phone(rng) if rng.random() < 0.45 else None,
        "email": f"the.{last.lower()}s{number}@{rng.choice(_DOMAINS)}" if rng.random() < 0.12 else None,
        "card": _digits(rng, 13) if rng.random() < 0.2 else None,
    }
    members: list[Person] = []
    names: set[str] = set()
    for index in range(size):
        twin = index > 0 and members and rng.random() < 0.03
        first = rng.choice(_MEN if rng.random() < 0.5 else _WOMEN)
        while first in names:
            first = rng.choice(_MEN if rng.random() < 0.5 else _WOMEN)
        if index > 1 and rng.random() < 0.03:
            first = members[0].first  # a son called like his father
        names.add(first)
        born = members[-1].born if twin else date(1940, 1, 1) + timedelta(days=rng.randrange(24_000))
        own_mail = f"{first}{rng.choice(['.', '_', ''])}{last}{rng.randrange(10_000)}@{rng.choice(_DOMAINS)}".lower()
        emails = [own_mail] if rng.random() < 0.93 else []
        if size > 1 and shared["email"] and rng.random() < 0.7:
            emails = [shared["email"], *emails] if rng.random() < 0.7 else [*emails, shared["email"]]
        if rng.random() < 0.01:
            emails = [f"{rng.choice(_ROLES)}@firm{rng.randrange(300)}.com"]
        phones = [_phone(rng)]
        if size > 1 and shared["phone"] and rng.random() < 0.6:
            phones.insert(rng.randrange(2), shared["phone"])
        if others and rng.random() < 0.02:
            phones[0] = rng.choice(others).phones[0]  # recycled: it was somebody's before
        if rng.random() < 0.15:
            emails.append(f"{first[0]}{last}{rng.randrange(100_000)}@{rng.choice(_DOMAINS)}".lower())  # changed later
        if rng.random() < 0.15:
            phones.append(_phone(rng))
        card = shared["card"] if size > 1 and shared["card"] and rng.random() < 0.5 else _digits(rng, 13)
        members.append(Person(first, last, born, post, emails, phones, card, _digits(rng, 11)))
    return members


def _sources(rng: random.Random) -> list[str]:
    chosen = [source for source, share in zip(SOURCES, (0.75, 0.6, 0.45, 0.25), strict=True) if rng.random() < share]
    chosen = chosen or [rng.choice(SOURCES)]
    return [*chosen, chosen[-1]] if rng.random() < 0.03 else chosen  # registered a second time


def _record(rng: random.Random, planted: Planted, number: int, person: Person, source: str, key: int) -> None:
    ref = client_ref(source, str(key))
    planted.truth[ref] = number
    has_birth = rng.random() < {"crm": 0.9, "shop": 0.35, "loyalty": 0.85, "app": 0.6}[source]
    first, last = _written_name(rng, person)
    post = person.post if rng.random() > 0.05 else f"{rng.randrange(10_000, 16_000)}"  # moved
    planted.records.append(
        {
            "client_ref": ref,
            "namespace": source,
            "seq": 1 + SOURCES.index(source),
            "first_name": first,
            "last_name": last,
            "birth_date": _written_birth(rng, person.born) if has_birth else None,
            "postcode": post if rng.random() < 0.85 else None,
        }
    )
    if person.emails and rng.random() < (0.75 if source == "loyalty" else 0.92):
        planted.values.append((ref, "email", _written_email(rng, _pick(rng, person.emails)), ""))
    if rng.random() < (0.92 if source in ("crm", "loyalty") else 0.75):
        planted.values.append((ref, "phone", _written_phone(rng, _pick(rng, person.phones)), "US"))
    if source == "loyalty" or (source in ("crm", "shop") and rng.random() < 0.3):
        planted.values.append((ref, "card", person.card, ""))
    if source == "crm" and rng.random() < 0.1:
        planted.values.append((ref, "tax", person.tax, ""))


def _pick(rng: random.Random, values: list[str]) -> str:
    """Mostly the first: the others were given once."""
    return values[0] if len(values) == 1 or rng.random() < 0.7 else rng.choice(values)


def _written_name(rng: random.Random, person: Person) -> tuple[str | None, str | None]:
    first: str | None = person.first
    last: str | None = person.last
    chance = rng.random()
    if chance < 0.04 and person.first.lower() in _SHORT:
        first = rng.choice(_SHORT[person.first.lower()])
    elif chance < 0.06:
        first = person.first[0] + "."
    elif chance < 0.075:
        first = None
    elif chance < 0.09:
        first = _typo(rng, person.first)
    elif chance < 0.12 and person.first in _CYRILLIC and person.last in _CYRILLIC:
        first, last = _CYRILLIC[person.first], _CYRILLIC[person.last]
    elif chance < 0.15:
        first, last = (last, first) if chance < 0.13 else (None, f"{person.first} {person.last}")
    return _written_last(rng, person, first, last)


def _written_last(
    rng: random.Random, person: Person, first: str | None, last: str | None
) -> tuple[str | None, str | None]:
    chance = rng.random()
    if last == person.last and chance < 0.015:
        last = _typo(rng, person.last)
    elif last == person.last and chance < 0.02:
        last = rng.choice(_FAMILIES)  # married
    if chance > 0.9:
        first, last = (first or "").upper() or None, (last or "").upper() or None
    return first, last


def _written_birth(rng: random.Random, born: date) -> date:
    chance = rng.random()
    if chance < 0.01 and born.day <= 12:
        return born.replace(month=born.day, day=born.month)
    if chance < 0.02:
        return born.replace(year=born.year + rng.choice([-1, 1, 10, -10]), day=min(born.day, 28))
    return born


def _written_email(rng: random.Random, email: str) -> str:
    local, domain = email.split("@")
    chance = rng.random()
    if chance < 0.015:
        return f"{_typo(rng, local)}@{domain}"
    if chance < 0.025:
        return f"{local}@{_typo(rng, domain)}"
    if chance < 0.06 and domain == "gmail.com":
        local = f"{local}+{rng.choice(['shop', 'news', 'x'])}"
    elif chance < 0.1 and domain == "gmail.com":
        local, domain = f"{local[:2]}.{local[2:]}", "googlemail.com"
    return (
        f"{local}@{domain}".upper() if chance > 0.9 else f" {local}@{domain}" if chance > 0.85 else f"{local}@{domain}"
    )


def _written_phone(rng: random.Random, phone: str) -> str:
    if rng.random() < 0.01:
        place = rng.randrange(5, 12)
        phone = phone[:place] + str((int(phone[place]) + rng.randrange(1, 9)) % 10) + phone[place + 1 :]
    a, b, c = phone[2:5], phone[5:8], phone[8:]
    return rng.choice([phone, f"({a}) {b}-{c}", f"{a}-{b}-{c}", f"+1 {a} {b} {c}", f"1{a}{b}{c}"])


def _phone(rng: random.Random) -> str:
    return f"+1{rng.choice(('202', '212', '305', '312', '415', '503', '617', '702', '718', '805'))}{rng.randrange(2, 10)}{_digits(rng, 6)}"


def _digits(rng: random.Random, length: int) -> str:
    return f"{rng.randrange(10 ** (length - 1), 10**length)}"


def _typo(rng: random.Random, text: str) -> str:
    place = rng.randrange(1, len(text))
    kind = rng.randrange(4)
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    if kind == 0:
        return text[:place] + letter + text[place:]
    if kind == 1:
        return text[:place] + text[place + 1 :]
    if kind == 2 and place + 1 < len(text):
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + letter + text[place + 1 :]


@dataclass(frozen=True)
class Quality:
    """Pairs of records: `joined` by us, `true`, `findable` (see `quality`), and how many of each are right."""

    joined: int
    right: int
    true: int
    findable: int
    found: int

    @property
    def precision(self) -> float:
        return self.right / self.joined

    @property
    def recall(self) -> float:
        """Of the findable pairs."""
        return self.found / self.findable

    @property
    def plain_recall(self) -> float:
        return self.right / self.true


def quality(planted: Planted, client_of: dict[str, str], shared: list[list[str]]) -> Quality:
    """Count pairs; `shared`: the records of each value that several have (normalised as the rules see it).

    A pair is findable when its two records are of one person and connected by that person's records, each sharing with
    the next a mailbox that is no role's, a phone, a card, a tax number, or birth date and postcode.
    """
    import numpy as np

    from perennial.identity.groups import components

    refs = list(planted.truth)
    number = {ref: index for index, ref in enumerate(refs)}
    truth = np.array([planted.truth[ref] for ref in refs])
    ours = np.array([number[client_of.get(ref, ref)] for ref in refs])
    links: list[tuple[int, int]] = []
    for group in shared:
        first_of: dict[int, int] = {}
        own = sorted(number[ref] for ref in group)
        links += [(first_of.setdefault(int(truth[index]), index), index) for index in own]
    a, b = (np.array(ends, dtype=np.int64) for ends in zip(*links, strict=True))
    reach = components(len(refs), a, b)

    def pairs(*labels: Any) -> int:
        _, sizes = np.unique(np.stack(labels, axis=1), axis=0, return_counts=True)
        return int((sizes * (sizes - 1) // 2).sum())

    return Quality(pairs(ours), pairs(ours, truth), pairs(truth), pairs(reach), pairs(reach, ours))
