"""One client on one day: metrics, scores with reasons, segments, and for each campaign in or out, and by which rule.

CLIENT is our id (c and 15 hexadecimal digits) or the source's own key. No name and no address is shown.
"""

from __future__ import annotations

import argparse
from typing import Any

from perennial.commands import output

_IN, _OUT = "in", "out"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("client", metavar="CLIENT", help="our id, or the source's key")
    parser.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: the newest)")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print all that decided about the client."""
    from perennial.commands.days import newest_run
    from perennial.core.settings import load_settings
    from perennial.pipeline.explain import explain

    settings = load_settings()
    told = explain(settings, args.client, newest_run(settings, args.as_of, "published"))
    if args.json:
        output.print_json(told)
    else:
        _show(told)
    return 0


def _show(told: dict[str, Any]) -> None:
    print(f"Client {told['client_id']} (key {told.get('client_key', '')}) on {told['as_of']}, run {told['run_id']}\n")
    output.print_table(("metric", "value"), list(told["metrics"].items()), title="Metrics")
    for score in told["scores"]:
        print(f"\n{score['score']} {score['value']:.3f} ({score['model_version']})")
        for reason in score["reasons"]:
            print(f"  {reason}")
    for score, why in told["no_score"].items():
        print(f"\nno {score}: {why or 'not told'}")
    _show_next(told)
    segments = [
        (one["segment"], _IN if one["in"] else _OUT, one["since"], _failing(one, "terms")) for one in told["segments"]
    ]
    _section("Segments", ("segment", "", "since", "because it does not hold that"), segments)
    consents = [(one["channel"], one["purpose"], one["status"]) for one in told["consents"]]
    _section("Consents", ("channel", "purpose", "status"), consents)
    contacts = [(one["campaign_id"], one["channel"], one["contacted_on"]) for one in told["contacts"]]
    _section("Contacts that caps and cool-downs count", ("campaign", "channel", "day"), contacts)
    campaigns = [
        (
            one["campaign"],
            _IN if one["in"] else _OUT,
            one["outcome"],
            one["rule"],
            one["why"],
            _failing(one, "audience"),
        )
        for one in told["campaigns"]
    ]
    columns = ("campaign", "", "outcome", "rule", "why", "audience: it does not hold that")
    _section("Campaigns", columns, campaigns)


def _show_next(told: dict[str, Any]) -> None:
    products = [
        (one["rank"], one["product_name"], one["kind"], f"{one['probability']:.1%}", one["reason"])
        for one in told["next_products"]
    ]
    _section("Next products", ("rank", "product", "kind", "probability", "because"), products)
    purchases = [
        (one["category"], *(_days(one[key]) for key in ("days", "low", "high"))) for one in told["next_purchases"]
    ]
    _section("Next purchases, in days", ("category", "median", "80 % from", "to"), purchases)


def _days(days: float | None) -> str:
    return "-" if days is None else f"{days:.0f}"


def _section(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    print()
    if rows:
        output.print_table(columns, rows, title=title)
    else:
        print(f"{title}: none")


def _failing(one: dict[str, Any], key: str) -> str:
    """The terms of a rule that the client does not meet, with the values found."""
    failing = [term for term in one[key] if not term["holds"]]
    return "; ".join(f"{term['term']} ({_values(term['values'])})" for term in failing)


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} is {value}" for name, value in values.items())
