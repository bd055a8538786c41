"""A day's plan in words: what people should know beside its numbers, and what each rule means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from perennial.targeting.config import Targeting
from perennial.targeting.scan import sizes
from perennial.targeting.schedule import not_due
from perennial.targeting.session import Session


def day_notes(
    session: Session, targeting: Targeting, as_of: date, missing_scores: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """One sentence each: cards not due, due cards without scores or candidates, segments that hold everyone."""
    return (*_cards(session, targeting, as_of, missing_scores), *_segments(session, targeting))


def _cards(
    session: Session, targeting: Targeting, as_of: date, missing: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    found = session.query("select distinct campaign_id from t_outcomes").column("campaign_id").to_pylist()
    for card in targeting.campaigns:
        reason = not_due(card, as_of)
        if reason:
            yield f"{card.id}: {reason}, no candidates"
        elif missing[card.id]:
            scores = " and no ".join(missing[card.id])
            yield f"{card.id}: no {scores} of {as_of}, so its candidates are refused (score_missing)"
        elif card.id not in found:
            yield f"{card.id}: nobody is in its audience today"


def _segments(session: Session, targeting: Targeting) -> Iterator[str]:
    clients = session.query("select count(*) as n from t_clients").column("n")[0].as_py()
    for name, size in sizes(session, targeting).items():
        if size == clients > 0:
            yield f"segment {name} holds everyone ({clients} clients): it selects nothing"


_SENTENCES = {
    "allocated": "got one of today's contacts",
    "already_sent_today": "an earlier revision of this day has decided and sent it",
    "already_in_list": "stays on the campaign's list",
    "withdrawn": "withdrew consent in every channel of the campaign that is open to them",
    "no_address": "has no address in any channel of the campaign",
    "no_consent": "gave no consent to any channel of the campaign that reaches them",
    "score_missing": "has no score for this day, and the campaign stands on it",
    "suppressed": "must not be addressed, whatever was consented to",
    "consent_too_young": "gave the consent too few days ago",
    "too_young": "is younger than the policy's least age",
    "open_complaint": "has a complaint that is not settled",
    "open_ticket": "has a service ticket that is not closed",
    "account_contacted": "another person of the company was contacted within the policy's days",
    "other_contact_person": "another person of the company is contacted today",
    "pilot_waits": "waits for the verdict on the campaign's pilot",
    "pilot_stopped": "the campaign's pilot was stopped",
    "quiet_day": "nobody of the client's country is contacted on this day",
    "campaign_budget": "the campaign's budget went to clients who expect more",
    "day_budget": "the day's budget went to contacts that expect more",
    "series_exited": "left the series: what ends it holds",
    "series_lapsed": "left the series: its next step could not be sent for too long",
    "re_entry": "has been through the series, and may not come in again yet",
    "step_not_due": "is in the series, and its next step is not due yet",
    "step_waits": "is in the series, and what its next step waits for does not hold yet",
    "quiet_hours": "may not be contacted in the hours in which the campaign is sent",
    "no_event": "what the campaign waits for did not happen to them on the days that count",
    "cool_down": "had this campaign too recently",
    "no_next_product": "there is no product left to propose",
    "below_minimum_value": "the expected value of a contact is below the policy's minimum",
    "daily_limit": "the campaign's contacts of the day went to clients who expect more",
    "not_in_audience": "the audience's rule does not hold",
    "not_anniversary": "it is not their anniversary",
    "not_planned": "the day has not been planned",
    "config_changed": "was no candidate by the config of the run, and would be one by the config of now",
}


def sentence(rule: str) -> str:
    """What a rule of `campaign_outcomes` (or of `explain`) means for a client."""
    if rule.startswith("lost_to_"):
        return f"the contact of the day went to {rule.removeprefix('lost_to_')}"
    if rule.startswith("capacity_"):
        return f"the day's capacity of the channel {rule.removeprefix('capacity_')} went to contacts that expect more"
    if rule.startswith("gap_"):
        days, _, after = rule.removeprefix("gap_").partition("d_after_")
        return f"was contacted by {after} less than {days} days ago"
    if rule.startswith("exclusive_"):
        return f"had another campaign of the group {rule.removeprefix('exclusive_')} too recently"
    if rule.startswith("cap_"):
        *channel, contacts, _, days = rule.removeprefix("cap_").split("_")
        by = f" by {' '.join(channel)}" if channel else ""
        return f"was contacted{by} {contacts} times or more within {days.removesuffix('d')} days, the policy's cap"
    return _SENTENCES.get(rule, rule)
