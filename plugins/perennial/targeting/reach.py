"""Through which channel may a client be reached: consent by channel and purpose (L9), address, suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting.session import Binder, Session, count, make_table

_ADDRESS = {"email": "coalesce(t.has_email, false)", "phone": "coalesce(t.has_phone, false)", "none": "true"}


@dataclass(frozen=True)
class Reach:
    """Which questions of consent the due cards ask, and which columns of `t_said` answer them.

    `asked`: (channel, purpose) by number; `young`, `suppressed`: whether such facts exist at all.
    """

    asked: tuple[tuple[str, str], ...]
    young: bool
    suppressed: bool

    def column(self, letter: str, channel: str, purpose: str) -> str:
        """`s<n>`: what was said; `y<n>`: whether a grant is too young."""
        return f"{letter}{self.asked.index((channel, purpose))}"

    def columns(self) -> list[str]:
        """Select terms over `said`, `young` and `suppressed` (outer joined)."""
        numbers = range(len(self.asked))
        terms = [f"said.s{number}" for number in numbers]
        terms += [f"coalesce(young.y{number}, false) as y{number}" for number in numbers if self.young]
        channels = sorted({channel for channel, _ in self.asked})
        terms += [f"coalesce(barred.x_{channel}, false) as x_{channel}" for channel in channels if self.suppressed]
        return terms

    def joins(self) -> list[str]:
        """Joins of those to `t` (t_clients)."""
        joined = ["left join t_said as said on said.client_id = t.client_id"]
        joined += ["left join t_young as young on young.client_id = t.client_id"] if self.young else []
        joined += ["left join t_barred as barred on barred.client_id = t.client_id"] if self.suppressed else []
        return joined


def read_reach(session: Session, cards: Sequence[Campaign]) -> Reach:
    """Make `t_said`, `t_young` and `t_barred`, one row per client, from `p_consents`, `p_young` and `p_suppressed`.

    What was said of a channel and purpose itself beats what was said of `all`; of several, a withdrawal (L9).
    """
    asked = tuple(sorted({(channel, card.purpose) for card in cards for channel in card.channels}))
    binder = Binder("said")
    columns = ""
    for number, (channel, purpose) in enumerate(asked):
        one, what = binder.bind(channel, "varchar"), binder.bind(purpose, "varchar")
        exact = f"channel = {one} and purpose = {what}"
        of_all = f"channel in ({one}, 'all') and purpose in ({what}, 'all')"
        columns += f", coalesce(max(status) filter (where {exact}), max(status) filter (where {of_all})) as s{number}"
    rows = "from p_consents where status in ('granted', 'withdrawn')"
    make_table(session, "t_said", f"select client_id{columns} {rows} group by client_id", binder.values)
    reach = Reach(asked, count(session, "p_young") > 0, count(session, "p_suppressed") > 0)
    _read_young(session, reach)
    _read_suppressed(session, reach)
    return reach


def _read_young(session: Session, reach: Reach) -> None:
    binder = Binder("young")
    columns = ""
    for number, (channel, purpose) in enumerate(reach.asked):
        one, what = binder.bind(channel, "varchar"), binder.bind(purpose, "varchar")
        columns += f", bool_or(channel in ({one}, 'all') and purpose in ({what}, 'all')) as y{number}"
    if reach.young:
        make_table(session, "t_young", f"select client_id{columns} from p_young group by client_id", binder.values)


def _read_suppressed(session: Session, reach: Reach) -> None:
    binder = Binder("barred")
    columns = ""
    for channel in sorted({channel for channel, _ in reach.asked}):
        columns += f", bool_or(channel in ({binder.bind(channel, 'varchar')}, 'all')) as x_{channel}"
    if reach.suppressed:
        make_table(
            session, "t_barred", f"select client_id{columns} from p_suppressed group by client_id", binder.values
        )


@dataclass(frozen=True)
class _Option:
    """One channel of a card as conditions over the columns of `t_people as t`."""

    channel: str
    has_address: str
    status: str
    young: str
    barred: str

    @property
    def is_open(self) -> str:
        terms = [self.has_address, f"{self.status} = 'granted'", f"not {self.young}", f"not {self.barred}"]
        return " and ".join(term for term in terms if term not in ("true", "not false"))


def _options(policy: PolicyFile, card: Campaign, reach: Reach) -> list[_Option]:
    options = []
    for channel in card.channels:
        rules = policy.channels[channel]
        # A withdrawal closes a channel even where no consent is needed (L9).
        default = "missing" if rules.consent == "required" else "granted"
        needs_age = reach.young and rules.consent == "required" and rules.min_consent_days > 0
        options.append(
            _Option(
                channel,
                _ADDRESS[rules.address],
                f"coalesce(t.{reach.column('s', channel, card.purpose)}, '{default}')",
                f"t.{reach.column('y', channel, card.purpose)}" if needs_age else "false",
                f"t.x_{channel}" if reach.suppressed else "false",
            )
        )
    return options


def channel_sql(policy: PolicyFile, card: Campaign, reach: Reach, *, kept: bool) -> str:
    """The first channel of the card that is open to the client, else null; what was sent today (`k`) keeps its own."""
    whens = []
    for option in _options(policy, card, reach):
        held = f" and (k.channel is null or k.channel = '{option.channel}')" if kept else ""
        whens.append(f"when {option.is_open}{held} then '{option.channel}'")
    return f"case {' '.join(whens)} end"


def unreached_sql(policy: PolicyFile, card: Campaign, reach: Reach) -> str:
    """Why no channel is open: the rule of a client for whom `channel_sql` is null."""
    options = _options(policy, card, reach)
    whens = []
    if reach.suppressed:
        whens.append(f"when {_some([option.barred for option in options])} then 'suppressed'")
    withdrawn = _some([f"{option.status} = 'withdrawn'" for option in options])
    addressed = _some([option.has_address for option in options])
    whens += [f"when {withdrawn} then 'withdrawn'", f"when not {addressed} then 'no_address'"]
    if reach.young:
        whens.append(f"when {_some([option.young for option in options])} then 'consent_too_young'")
    return f"case {' '.join(whens)} else 'no_consent' end"


def _some(conditions: Sequence[str]) -> str:
    return f"({' or '.join(conditions)})"
