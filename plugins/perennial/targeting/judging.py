"""Proposed -> eligible -> allowed: every candidate of every due card and the first rule that refuses her (L7).

One statement per card over `t_people`: what the card says stands in it as bound values, so nothing is joined per pair
but what few have (sent today, on the list, contacted before by the card).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import pyarrow as pa

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.core.ids import unit_hex_sql, unit_threshold
from perennial.targeting import policy as contact_policy
from perennial.targeting.catalogue import SCORES_TABLE
from perennial.targeting.flags import AUDIENCE, EXIT, OCCASION, WHEN, Flags
from perennial.targeting.reach import Reach, channel_sql, unreached_sql
from perennial.targeting.schedule import cool_down_days, sending_times
from perennial.targeting.series import Stage, stages
from perennial.targeting.session import Binder, Session, make_table

_BASES = {
    "value_90d": "t.value_90d",
    "churn_risk_x_value_90d": "t.churn_risk * t.value_90d",
    "revenue_365d_daily_x_90": "coalesce(cast(t.revenue_365d as double precision), 0) / 365 * 90",
}


_NAMES = pa.schema(
    [
        ("campaign_no", pa.int32()),
        ("campaign_id", pa.string()),
        ("not_before", pa.timestamp("us")),
        ("not_after", pa.timestamp("us")),
    ]
)
_AT_ONCE = 64  # cards in one statement


@dataclass(frozen=True)
class Judging:
    """What all cards of the day are judged by.

    `cards`: the due ones, in the order of preference; `every`: all cards; `segments`: conditions by name. `missing`:
    cards that stand on scores the day lacks; `measured`: cards with a score of their own effect; `kept`, `members`,
    `contacted`: cards with such rows; `pilots`: what the gate says of cards that begin with a pilot; `flags`: what the
    cards ask of a client; `zone`: the company's.
    """

    policy: PolicyFile
    cards: tuple[Campaign, ...]
    every: tuple[Campaign, ...]
    reach: Reach
    segments: Mapping[str, str]
    missing: frozenset[str]
    measured: frozenset[str]
    kept: frozenset[str]
    members: frozenset[str]
    contacted: frozenset[str]
    pilots: Mapping[str, str]
    as_of: date
    salt: str
    flags: Flags
    zone: str

    @cached_property
    def contacting(self) -> tuple[Campaign, ...]:
        """The cards whose clients were contacted on the days that count."""
        return tuple(card for card in self.every if card.id in self.contacted)

    @cached_property
    def kind_numbers(self) -> Mapping[tuple[int, str], int]:
        """The number of each kind."""
        return {kind: place for place, kind in enumerate(self.kinds)}

    @cached_property
    def kinds(self) -> list[tuple[int, str]]:
        """(number of the card, channel) by kind."""
        return [(number, channel) for number, card in enumerate(self.cards) for channel in card.channels]


def judge(session: Session, judging: Judging) -> None:
    """Make `t_judged`, one row per candidate: campaign_no, client_no, channel, kind, value, cost, next_product,
    held_arm, series_step, and `rule`, null for those who may be allocated; and `p_names`, the campaigns' ids and
    sending times by number. Needs `t_people`, `t_path`.
    """  # noqa: D205
    session.register("p_names", pa.Table.from_pylist(list(_names(judging)), schema=_NAMES))
    make_table(session, "t_judged", _NOBODY)
    for first in range(0, len(judging.cards), _AT_ONCE):
        binder = Binder("j")
        numbers = range(first, min(first + _AT_ONCE, len(judging.cards)))
        parts = [_Card(judging, no, binder, stage).statement() for no in numbers for stage in stages(judging.cards[no])]
        session.execute(f"insert into t_judged {' union all '.join(parts)}", binder.values)


def _names(judging: Judging) -> Iterator[dict[str, object]]:
    for number, card in enumerate(judging.cards):
        not_before, not_after = sending_times(card, judging.as_of, judging.zone)
        yield {"campaign_no": number, "campaign_id": card.id, "not_before": not_before, "not_after": not_after}


_NOBODY = (
    "select cast(0 as integer) as campaign_no, client_no, "
    "cast('' as varchar) as channel, cast(0 as integer) as kind, cast(0 as double precision) as value, "
    "cast(0 as double precision) as cost, cast('' as varchar) as next_product, cast('' as varchar) as held_arm, "
    "cast('' as varchar) as series_step, cast('' as varchar) as rule from t_people where false"
)


class _Card:
    """The statement of one card, of a series for one of its steps."""

    def __init__(self, judging: Judging, number: int, binder: Binder, stage: Stage) -> None:
        self.judging, self.number, self.binder, self.stage = judging, number, binder, stage
        self.card = stage.card
        self.is_kept = self.card.id in judging.kept
        self.is_member = self.card.id in judging.members
        self.is_essential = judging.policy.is_essential(self.card.purpose)

    def statement(self) -> str:
        reached = (
            f"select t.*, {channel_sql(self.judging.policy, self.card, self.judging.reach, kept=self.is_kept)} "
            f"as channel{', k.arm as kept_arm' if self.is_kept else ''}{self._way()} from t_people as t "
            f"{self._kept()} {self._path()} where {self._is_candidate()}"
        )
        valued = f"select t.*, {self._amounts()}{self._more_columns()} from ({reached}) as t {' '.join(self._joins())}"
        return (
            f"select {self.number}, t.client_no, t.channel, {self._kind()}, "
            f"t.value, t.cost, t.next_product, t.held_arm, {self._step()}, "
            f"case {' '.join(self._rules())} end from ({valued}) as t"
        )

    @cached_property
    def _campaign_id(self) -> str:
        return self.binder.bind(self.card.id, "varchar")

    def _step(self) -> str:
        step = self.stage.step_id
        return "cast(null as varchar)" if step is None else self.binder.bind(step, "varchar")

    def _path(self) -> str:
        """Where the client stands in the series, for its steps."""
        if self.stage.series is None:
            return ""
        return f"left join t_path as way on way.client_id = t.client_id and way.campaign_id = {self._campaign_id}"

    def _way(self) -> str:
        return ", way.last_on as stepped_on, way.over_on" if self.stage.series else ""

    def _is_candidate(self) -> str:
        """In the audience on her occasion; of a series who is to take this step; and who had the campaign today."""
        flags = self.judging.flags
        terms = [flags.sql(self.card.id, AUDIENCE), flags.sql(self.card.id, OCCASION)]
        comes_in = " and ".join(term for term in terms if term)
        is_also = self.is_kept and self.card.list_type == "send"
        condition = f"({comes_in} or k.client_id is not null)" if is_also else f"({comes_in})"
        if self.stage.series is None:
            return condition
        place = self.stage.place
        return f"way.next_no = {place}" if place else f"(way.next_no is null and {condition})"

    def _kept(self) -> str:
        if not self.is_kept:
            return ""
        return f"left join t_kept as k on k.client_id = t.client_id and k.campaign_id = {self._campaign_id}"

    def _joins(self) -> list[str]:
        found = []
        if self.is_member:
            on = f"mem.client_id = t.client_id and mem.channel = t.channel and mem.campaign_id = {self._campaign_id}"
            found.append(f"left join t_members as mem on {on}")
        if self._waits:
            last = f"select client_id, contacted_on from t_last where campaign_id = {self._campaign_id}"
            found.append(f"left join ({last}) as last on last.client_id = t.client_id")
        found += [self._after(place, after) for place, after in enumerate(self._distances)]
        if self._wants_product:
            on = f"nxt.client_id = t.client_id and nxt.campaign_id = {self._campaign_id}"
            found.append(f"left join t_next as nxt on {on}")
        if self._is_measured:
            score = self.binder.bind(f"response_{self.card.id}", "varchar")
            day = self.binder.bind(self.judging.as_of, "date")
            rows = f"select client_id, value from {SCORES_TABLE} where score = {score} and as_of_date = {day}"
            found.append(f"left join ({rows}) as resp on resp.client_id = t.client_id")
        return found

    def _after(self, place: int, distance: contact_policy.Distance) -> str:
        listed = ", ".join(self.binder.bind(name, "varchar") for name in sorted(distance.after))
        since = self.binder.bind(self.judging.as_of - timedelta(days=distance.days), "date")
        rows = f"select distinct client_id from t_contacts where campaign_id in ({listed}) and contacted_on > {since}"
        return f"left join ({rows}) as d{place} on d{place}.client_id = t.client_id"

    def _more_columns(self) -> str:
        held = [name for name, is_there in (("t.kept_arm", self.is_kept), ("mem.arm", self.is_member)) if is_there]
        columns = [f"{'coalesce(' + ', '.join(held) + ')' if held else 'cast(null as varchar)'} as held_arm"]
        columns.append(f"{'nxt.next_product' if self._wants_product else 'cast(null as varchar)'} as next_product")
        columns += ["mem.arm as member_arm"] if self.is_member else []
        columns += ["last.contacted_on as last_on"] if self._waits else []
        columns += [f"d{place}.client_id is not null as near{place}" for place in range(len(self._distances))]
        return "".join(f", {column}" for column in columns)

    def _amounts(self) -> str:
        """Rounded to six places: enough for money, and free of the last bit in which engines may differ."""
        worth, bind = self.card.expected_value, self._number
        effect = bind(worth.prior_effect)
        if self._is_measured:
            effect = f"coalesce(resp.value, {effect})"
        channels = self.judging.policy.channels
        costs = " ".join(f"when '{name}' then {bind(channels[name].cost)}" for name in self.card.channels)
        contact, offer = f"case t.channel {costs} end", bind(self.card.offer.cost)
        basis = _BASES[worth.basis] if worth.amount is None else bind(worth.amount)
        share = bind(worth.margin_share)
        return (
            f"round({contact} + {offer} * {effect}, 6) as cost, {basis} is null as lacks_basis, "
            f"round(({basis}) * {effect} * {share} - {contact} - {offer} * {effect}, 6) as value"
        )

    def _number(self, value: float) -> str:
        return self.binder.bind(float(value), "double precision")

    def _kind(self) -> str:
        kinds = self.judging.kind_numbers
        whens = " ".join(f"when '{name}' then {kinds[self.number, name]}" for name in self.card.channels)
        return f"case t.channel {whens} end"

    @property
    def _wants_product(self) -> bool:
        return self.card.next_product != "none"

    @property
    def _waits(self) -> bool:
        return cool_down_days(self.card) > 0 and self.card.id in self.judging.contacted

    @property
    def _is_measured(self) -> bool:
        return self.card.expected_value.use_measured and self.card.id in self.judging.measured

    @cached_property
    def _distances(self) -> Sequence[contact_policy.Distance]:
        """Of campaigns that contacted somebody: what the others are kept apart from never happened."""
        if self.is_essential:
            return ()
        return contact_policy.distances(self.judging.policy, self.card, self.judging.contacting)

    def _rules(self) -> list[str]:
        """The rules in their order; the first that holds refuses."""
        return [*self._eligible(), *self._allowed(), "else cast(null as varchar)"]

    def _eligible(self) -> list[str]:
        judging, policy = self.judging, self.judging.policy
        unreached = unreached_sql(policy, self.card, judging.reach)
        rules = [*self._ended(), f"when t.channel is null then {unreached}"]
        rules += ["when t.kept_arm is not null then 'already_sent_today'"] if self.is_kept else []
        rules += ["when t.member_arm is not null then 'already_in_list'"] if self.is_member else []
        if policy.min_age_years:
            rules.append(f"when t.age < {policy.min_age_years} then 'too_young'")
        if not self.is_essential:
            rules += [f"when t.c{index} then '{case.rule}'" for index, case in enumerate(policy.open_cases)]
            rules.append("when t.spoken_on is not null then 'account_contacted'")
        lacks = "true" if self.card.id in judging.missing else "t.lacks_basis"
        return [*rules, f"when {lacks} then 'score_missing'", *self._pilot()]

    def _ended(self) -> list[str]:
        """What ends a series for a client, judged before anything else, for it holds from then on."""
        series = self.stage.series
        if series is None:
            return []
        leaves = self.judging.flags.sql(self.card.id, EXIT)
        rules = [f"when {leaves} then 'series_exited'"] if leaves else []
        if self.stage.place:
            latest = self._ago(self.stage.after_days + series.lapse_days)
            rules.append(f"when t.stepped_on < {latest} then 'series_lapsed'")
        # What was sent today has not ended: a step is exited from before it, not by it.
        return [rule.replace("when ", "when t.kept_arm is null and ", 1) for rule in rules] if self.is_kept else rules

    def _on_the_way(self) -> list[str]:
        """Of a series: whether she may come in again, whether the step is due, and what it waits for."""
        if self.stage.series is None:
            return []
        if self.stage.place:
            rules = [f"when t.stepped_on > {self._ago(self.stage.after_days)} then 'step_not_due'"]
        else:
            again = self.card.re_entry_days
            since = "true" if again is None else f"t.over_on > {self._ago(again)}"
            rules = [f"when t.over_on is not null and {since} then 're_entry'"]
        holds = self.judging.flags.sql(self.card.id, WHEN, str(self.stage.step_id))
        return [*rules, f"when not {holds} then 'step_waits'"] if holds else rules

    def _ago(self, days: int) -> str:
        return self.binder.bind(self.judging.as_of - timedelta(days=days), "date")

    def _out_of_hours(self) -> list[str]:
        """The card's sending times and the client's own hours have nothing in common."""
        channels = [channel for channel in self.card.channels if is_quiet_channel(self.judging.policy, channel)]
        not_before, not_after = sending_times(self.card, self.judging.as_of, self.judging.zone)
        if not channels or not_before is not_after is None:
            return []
        ends = (("t.not_after <= ", not_before), ("t.not_before >= ", not_after))
        terms = [f"{text}{self.binder.bind(moment, 'timestamp')}" for text, moment in ends if moment is not None]
        listed = ", ".join(f"'{channel}'" for channel in channels)
        return [f"when t.channel in ({listed}) and ({' or '.join(terms)}) then 'quiet_hours'"]

    def _pilot(self) -> list[str]:
        state = self.judging.pilots.get(self.card.id)
        if state is None or self.card.pilot is None or state == "roll_out":
            return []
        if state == "stop":
            return ["when true then 'pilot_stopped'"]
        salt = self.binder.bind(f"{self.judging.salt}|pilot|{self.card.id}|", "varchar")
        below = self.binder.bind(unit_threshold(self.card.pilot.share), "varchar")
        return [f"when {unit_hex_sql(f'{salt} || t.client_id')} >= {below} then 'pilot_waits'"]

    def _allowed(self) -> list[str]:
        judging, policy = self.judging, self.judging.policy
        rules = self._on_the_way()
        if self._waits:
            since = self.binder.bind(judging.as_of - timedelta(days=cool_down_days(self.card)), "date")
            rules.append(f"when t.last_on > {since} then 'cool_down'")
        rules += [f"when t.near{place} then '{one.rule}'" for place, one in enumerate(self._distances)]
        rules += ["when t.next_product is null then 'no_next_product'"] if self._wants_product else []
        if not self.is_essential:
            minimum = self.binder.bind(float(policy.minimum_expected_value), "double precision")
            rules.append(f"when t.value < {minimum} then 'below_minimum_value'")
            rules += self._quiet()
        rules += self._out_of_hours()
        return [*rules, *contact_policy.exhausted_sql(policy, self.card, judging.segments, self.binder)]

    def _quiet(self) -> list[str]:
        channels = [channel for channel in self.card.channels if is_quiet_channel(self.judging.policy, channel)]
        if not channels:
            return []
        listed = ", ".join(f"'{channel}'" for channel in channels)
        return [f"when t.is_quiet and t.channel in ({listed}) then 'quiet_day'"]


def is_quiet_channel(policy: PolicyFile, channel: str) -> bool:
    """Whether quiet days and hours hold for the channel."""
    named = policy.quiet.channels
    return channel in named if named else any(n == channel and c.address != "none" for n, c in policy.channels.items())
