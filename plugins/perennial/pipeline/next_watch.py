"""The daily watch on the model of the next product, before anything of the day is proposed (L6)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.ledger.cards import StoredCard
from perennial.ledger.checks import ScoreCheck
from perennial.warehouse.engine import Published

if TYPE_CHECKING:
    from perennial.scoring.next_product.model import View
    from perennial.scoring.watch import Verdict, Watched

_FEW = 100  # lines: fewer tell nothing of the range of products


def check_next_product(  # noqa: PLR0917
    settings: Settings, run: DayRun, published: Published, used: StoredCard, scorer: Any, view: View
) -> ScoreCheck:
    """What may be said of the model on the run's date: age, drift of clients and chances, products it does not know.

    `scorer.item_keys()` must be registered (`history.known_items`). Reads a sample of clients by the hash of their id.
    """
    limits = settings.scoring.drift
    age, oldest = (run.as_of - used.trained_as_of).days, settings.scoring.stop_after_days
    unknown = _unknown_share(settings, run, published, scorer.level)
    stops = [f"the model is {age} days old, after {oldest} nothing is proposed"] if age > oldest else []
    warns: list[str] = []
    if unknown > limits.unseen_warn:
        stopping = unknown > limits.unseen_stop
        limit = f"{limits.unseen_stop:.0%} stops" if stopping else f"{limits.unseen_warn:.0%} warns"
        said = f"{unknown:.0%} of the latest lines are of products that the model does not know, {limit}"
        (stops if stopping else warns).append(said)
    watched = _watched(settings, run, published, used, scorer, view)
    if watched:
        (stops if watched.verdict == "stopped" else warns).extend(watched.sentences)
    figures = {"age_days": age, "unknown_products": round(unknown, 4), "features": watched.figures if watched else {}}
    verdict: Verdict = "stopped" if stops else "warned" if warns else "passed"
    return ScoreCheck(run.as_of, used.score, used.model_version, verdict, (*stops, *warns), figures)


def _watched(  # noqa: PLR0917
    settings: Settings, run: DayRun, published: Published, used: StoredCard, scorer: Any, view: View
) -> Watched | None:
    """Drift of a sample of today's clients; None for a card of before the watch, and where nobody bought anything."""
    from perennial.scoring.next_product.beside import WATCHED, watched_values
    from perennial.scoring.next_product.history import history_of, lines_of
    from perennial.scoring.threads import one_thread
    from perennial.scoring.watch import watch_values

    if "bins" not in used.card:
        return None
    share = min(1.0, WATCHED / max(int(used.card["rows"]["clients"]), 1))
    batches = list(lines_of(published, run.as_of, level=scorer.level, share=share, known=True))
    if not sum(batch.num_rows for batch in batches):
        return None
    with one_thread():
        values = watched_values(scorer.model, history_of(pa.Table.from_batches(batches).combine_chunks()), view)
    return watch_values(used.card, values, settings.scoring.drift)


def _unknown_share(settings: Settings, run: DayRun, published: Published, level: str) -> float:
    """The share of the last horizon's sale lines (28 days at least) whose product the model does not know."""
    from perennial.scoring.next_product.history import KNOWN

    days = max(28, settings.scoring.churn_horizon_days)
    item = "l.product_key" if level == "product" else "p.category"
    join = "" if level == "product" else "inner join dim_products as p on p.product_key = l.product_key"
    found = published.query(
        f"select count(*) as lines, count(k.place) as known from fct_order_lines as l {join} "
        f"left join {KNOWN} as k on k.item = {item} where l.line_kind = 'sale' and l.client_id is not null "
        f"and {item} is not null and l.ordered_on > cast($after as date) and l.ordered_on <= cast($until as date)",
        {"after": run.as_of - timedelta(days=days), "until": run.as_of},
    )
    lines, known = (int(found.column(name)[0].as_py()) for name in ("lines", "known"))
    return 1 - known / lines if lines >= _FEW else 0.0
