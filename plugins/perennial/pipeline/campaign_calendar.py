"""The calendar of campaigns: which would address how many clients on which day, and what clashes. Text and HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, timedelta
from html import escape
from typing import Any

from perennial.contracts.targeting import Campaign
from perennial.pipeline.calendar_style import STYLE
from perennial.pipeline.campaign_forecast import Outlined, told_of
from perennial.targeting.clashes import is_price

Calendar = dict[str, Any]
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_KINDS = {"acquisition": "Acquisition", "development": "Development", "retention": "Retention", "win_back": "Win-back"}
_WEEKEND = 5
_LEVELS = 4


def calendar_of(outlined: Outlined) -> Calendar:
    """JSON-able: the days, each card in words with its numbers and days, the clashes, contacts by day."""
    first, last = outlined.foreseen.first_day, outlined.foreseen.last_day
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    told = {one["campaign"]: one for one in told_of(outlined)}
    campaigns = [{**_card_in_words(card, outlined.currency), **told[card.id]} for card in outlined.cards]
    totals = dict.fromkeys(days, 0)
    for one in campaigns:
        for cell in one["days"]:
            totals[cell["day"]] += cell["contacts"]
    return {
        "company": outlined.settings.company.name,
        "currency": outlined.currency,
        "as_of": outlined.run.as_of,
        "first_day": first,
        "last_day": last,
        "days": [{"day": day, "contacts": contacts} for day, contacts in totals.items()],
        "campaigns": sorted(campaigns, key=lambda one: (list(_KINDS).index(one["kind"]), one["campaign"])),
        "clashes": [asdict(clash) for clash in outlined.clashes],
    }


def _card_in_words(card: Campaign, currency: str) -> dict[str, Any]:
    return {
        "kind": card.kind,
        "nature": card.nature,
        "owner": card.owner,
        "goal": card.goal,
        "who": card.audience,
        "offer": card.offer.text,
        "offer_cost": card.offer.cost,
        "is_price": is_price(card),
        "channels": list(card.channels),
        "when": when_in_words(card),
        "limits": _limits_in_words(card, currency),
        "control_share": card.control_share,
        "success": f"{card.success_metric} within {card.success_window_days} days",
        "steps": [
            {"id": step.id, "after_days": step.after_days, "message": step.message, "when": step.when}
            for step in (card.series.steps if card.series else ())
        ],
        "exit_when": card.series.exit_when if card.series else None,
    }


def when_in_words(card: Campaign) -> str:
    """The card's schedule as a sentence."""
    schedule = card.schedule
    parts = []
    if schedule.weekdays is not None:
        parts.append("on " + ", ".join(day.capitalize() for day in schedule.weekdays))
    if schedule.cron is not None:
        parts.append(f"by the clock ({schedule.cron})")
    if schedule.anniversary_of is not None:
        before = f"{_days(schedule.days_before)} before " if schedule.days_before else "on "
        parts.append(f"{before}the anniversary of {schedule.anniversary_of}")
    event = schedule.event
    if event is not None and event.days_before is not None:
        parts.append(f"{_days(event.days_before)} before {event.name}")
    elif event is not None:
        parts.append(f"{_days(event.delay_days)} after {event.name}" if event.delay_days else f"at {event.name}")
    words = ", ".join(parts) or "every day"
    if card.starts_on or card.ends_on:
        words += f"; {card.starts_on or 'now'} to {card.ends_on or 'until further notice'}"
    return words


def _limits_in_words(card: Campaign, currency: str) -> str:
    parts = []
    if card.max_contacts_per_day is not None:
        parts.append(f"{card.max_contacts_per_day:,} contacts a day")
    if card.budget.money is not None:
        parts.append(f"{card.budget.money:,.0f} {currency} in all")
    if card.budget.contacts is not None:
        parts.append(f"{card.budget.contacts:,} contacts in all")
    if card.cool_down_days:
        parts.append(f"not again within {card.cool_down_days} days")
    if card.exclusivity:
        parts.append(f"one of “{card.exclusivity.group}” in {card.exclusivity.days} days")
    return ", ".join(parts) or "none"


def in_text(calendar: Calendar) -> str:
    """Day by day, for a terminal: who addresses how many; then the clashes."""
    lines = [f"{calendar['first_day']} to {calendar['last_day']}, if all stays as on {calendar['as_of']}", ""]
    for entry in calendar["days"]:
        day = entry["day"]
        cells = [
            f"{one['campaign']} {cell['contacts']:,}"
            for one in calendar["campaigns"]
            for cell in one["days"]
            if cell["day"] == day and cell["contacts"]
        ]
        flag = " !" if any(clash["first_day"] <= day <= clash["last_day"] for clash in calendar["clashes"]) else "  "
        lines.append(f"{_WEEKDAYS[day.weekday()]} {day}{flag} {', '.join(cells) or '-'}")
    lines.append("")
    lines += [f"{clash['message']} -> {clash['fix']}" for clash in calendar["clashes"]] or ["no clashes"]
    return "\n".join(lines)


def in_html(calendar: Calendar) -> str:
    """One file that needs nothing else: no script, no network."""
    title = f"Campaign calendar, {calendar['company']}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        *_head(calendar, title),
        *_clash_section(calendar),
        *_grid(calendar),
        "<h2>The cards</h2>",
        *(part for one in calendar["campaigns"] for part in _card(one, calendar["currency"])),
        f"<footer>{_note(calendar)}</footer></main></body></html>\n",
    ]
    return "\n".join(parts)


def _head(calendar: Calendar, title: str) -> Iterator[str]:
    currency = escape(calendar["currency"])
    campaigns = calendar["campaigns"]
    sums = {name: sum(one[name] for one in campaigns) for name in ("sent", "cost", "expected_value")}
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p class=lead>{_day(calendar['first_day'])} to {_day(calendar['last_day'])}</p><ul class=figures>"
    for value, words in (
        (f"{sum(1 for one in campaigns if one['contacts'])} of {len(campaigns)}", "campaigns address somebody"),
        (f"{sums['sent']:,}", "contacts are sent"),
        (f"{sums['cost']:,.0f} {currency}", "they cost"),
        (f"{sums['expected_value']:,.0f} {currency}", "more margin is expected, net of cost"),
        (str(len(calendar["clashes"])), "clash" if len(calendar["clashes"]) == 1 else "clashes"),
    ):
        yield f"<li><b>{value}</b><span>{words}</span></li>"
    yield "</ul>"


def _clash_section(calendar: Calendar) -> Iterator[str]:
    if not calendar["clashes"]:
        told = "no client would get two price offers in a week, and no contest stands beside another"
        yield f"<p class=fine>No clashes: {told}.</p>"
        return
    yield "<section class=clashes><h2>Clashes</h2><ul>"
    for clash in calendar["clashes"]:
        days = f"{_day(clash['first_day'])} to {_day(clash['last_day'])}"
        yield (
            f"<li><b>{escape(clash['message'])}</b><span class=when>{days}</span>"
            f"<span class=fix>What to do: {escape(clash['fix'])}</span></li>"
        )
    yield "</ul></section>"


def _grid(calendar: Calendar) -> Iterator[str]:
    days = [entry["day"] for entry in calendar["days"]]
    flagged = _flagged(calendar)
    most = max([1, *(cell["contacts"] for one in calendar["campaigns"] for cell in one["days"])])
    yield "<h2>Day by day</h2><div class=scroll><table class=grid><thead><tr><th class=name scope=col>Campaign</th>"
    for day in days:
        month = f"<i>{day:%b}</i>" if day == days[0] or day.day == 1 else "<i></i>"
        yield f"<th scope=col class='{_of_weekend(day)}'>{month}<span>{_WEEKDAYS[day.weekday()]}</span>{day.day}</th>"
    yield "<th scope=col class=sum>Contacts</th></tr></thead><tbody>"
    for one in calendar["campaigns"]:
        cells = {cell["day"]: cell for cell in one["days"]}
        yield (
            f"<tr class={one['kind']}><th class=name scope=row><a href='#{one['campaign']}'>{escape(one['name'])}</a>"
            f"<small>{_KINDS[one['kind']]}, {one['nature']}</small></th>"
        )
        for day in days:
            yield _cell(cells.get(day), day, most, is_flagged=(one["campaign"], day) in flagged)
        yield f"<td class=sum>{one['contacts']:,}</td></tr>"
    yield "</tbody><tfoot><tr><th class=name scope=row>All campaigns</th>"
    for entry in calendar["days"]:
        yield f"<td class='{_of_weekend(entry['day'])}'>{_short(entry['contacts'])}</td>"
    yield f"<td class=sum>{sum(entry['contacts'] for entry in calendar['days']):,}</td></tr></tfoot></table></div>"
    yield (
        "<p class=legend><span class=acquisition>Acquisition</span><span class=development>Development</span>"
        "<span class=retention>Retention</span><span class=win_back>Win-back</span>"
        "<span class=due>· due, but for nobody</span><span class=flag>framed: part of a clash</span></p>"
    )


def _flagged(calendar: Calendar) -> set[tuple[str, date]]:
    """The cells that are part of a clash."""
    return {
        (one["campaign"], cell["day"])
        for clash in calendar["clashes"]
        for one in calendar["campaigns"]
        for cell in one["days"]
        if one["campaign"] in clash["campaigns"]
        and cell["contacts"]
        and clash["first_day"] <= cell["day"] <= clash["last_day"]
    }


def _cell(cell: dict[str, Any] | None, day: date, most: int, *, is_flagged: bool) -> str:
    classes = _of_weekend(day)
    if cell is None:
        return f"<td class='{classes}'></td>"
    if not cell["contacts"]:
        return f"<td class='{classes} due' title='due, but for nobody'>·</td>"
    level = 1 + min(_LEVELS - 1, int(_LEVELS * (cell["contacts"] / most) ** 0.5))
    by = ", ".join(f"{name} {count:,}" for name, count in cell["channels"].items())
    flag = " flag" if is_flagged else ""
    words = f"{_day(day)}: {cell['contacts']:,} contacts ({by})"
    return f"<td class='{classes} l{level}{flag}' title='{escape(words)}'>{_short(cell['contacts'])}</td>"


def _card(one: dict[str, Any], currency: str) -> Iterator[str]:
    yield f"<article id='{one['campaign']}' class={one['kind']}><h3>{escape(one['name'])}</h3>"
    yield f"<p>{escape(one['goal'])}</p><dl>"
    price = f" (a price offer; {one['offer_cost']:,.2f} {currency} when it is taken)" if one["is_price"] else ""
    facts = [
        ("Who", f"<code>{escape(one['who'])}</code>"),
        ("Offer", escape(one["offer"]) + escape(price)),
        ("Channels", ", ".join(name.replace("_", " ") for name in one["channels"])),
        ("When", escape(one["when"])),
        ("Limits", escape(one["limits"])),
        ("Judged by", f"{escape(one['success'])}, against {one['control_share']:.0%} control"),
        ("Owner", escape(one["owner"])),
        ("Foreseen", _foreseen(one, currency)),
    ]
    if one["test"]:
        facts.append(("The test", escape(one["test"])))
    for name, text in facts:
        yield f"<dt>{name}</dt><dd>{text}</dd>"
    yield "</dl>"
    if one["steps"]:
        steps = (_step(step) for step in one["steps"])
        ends = f"<p>Ends early when <code>{escape(one['exit_when'])}</code></p>" if one["exit_when"] else ""
        yield f"<ol>{''.join(steps)}</ol>{ends}"
    if one["remarks"]:
        yield f"<p class=remark>{escape('; '.join(one['remarks']))}</p>"
    yield "</article>"


def _foreseen(one: dict[str, Any], currency: str) -> str:
    return (
        f"{one['clients']:,} clients of {one['audience']:,} in the audience ({one['reachable']:,} may be addressed), "
        f"{one['sent']:,} contacts sent for {one['cost']:,.2f} {currency}, "
        f"{one['expected_value']:,.2f} {currency} expected net of cost"
    )


def _step(step: dict[str, Any]) -> str:
    after = f"{_days(step['after_days'])} later" if step["after_days"] else "at once"
    when = f", when <code>{escape(step['when'])}</code>" if step["when"] else ""
    return f"<li>{escape(step['message'].replace('_', ' '))}, {after}{when}</li>"


def _note(calendar: Calendar) -> str:
    return (
        f"Foreseen from what was published of {_day(calendar['as_of'])}: as if every client stayed in the segments, "
        "consents and scores of that day, events went on as in the days before, and series ran to their last step. "
        "Caps, cool-downs, exclusivity and budgets are kept. Contacts count the control groups, who are not contacted; "
        "what is sent, and what it costs, does not."
    )


def _of_weekend(day: date) -> str:
    return "end" if day.weekday() >= _WEEKEND else "week"


def _day(day: date) -> str:
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {day:%b %Y}"


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def _short(number: int) -> str:
    """1,234 as 1.2k: a cell is narrow."""
    return f"{number:,}" if number < 1000 else f"{number / 1000:.1f}k" if number < 100_000 else f"{number // 1000}k"  # noqa: PLR2004
