"""The next product and the next purchase by category: training when due, the day's tables, all scores side by side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from perennial.contracts.next_steps import (
    CLIENT_NEXT_PRODUCTS,
    CLIENT_NEXT_PURCHASES,
    NEXT_PRODUCTS_TABLE,
    NEXT_PURCHASES_TABLE,
    WIDE_TABLE,
)
from perennial.contracts.records import DayRun
from perennial.contracts.scores import DECLARED_SCORES
from perennial.core.errors import ContractViolation
from perennial.core.settings import Settings
from perennial.ledger import cards as ledger_cards
from perennial.ledger.checks import record_check
from perennial.ledger.engine import open_ledger
from perennial.pipeline.models import ScoreState, figures_of, write_card
from perennial.pipeline.next_watch import check_next_product
from perennial.pipeline.watching import told
from perennial.warehouse.engine import Published, open_published, publish_table

if TYPE_CHECKING:
    from perennial.scoring.next_product.beside import Champion
    from perennial.scoring.next_product.training import Lines

SCORE = "next_product"
MAX_LINES = 1_500_000  # that training reads: about 100 MB; of more, those of a sample of clients
CHUNK_LINES = 200_000


def next_product_state(settings: Settings, run: DayRun) -> ScoreState:
    """Which model of the next product is in use on the run's date."""
    cards = ledger_cards.cards_until(open_ledger(settings), SCORE, run.as_of)
    same = [card for card in cards if card.card.get("level") == settings.scoring.next_product_level]
    days = settings.scoring.churn_horizon_days
    return ScoreState(
        SCORE,
        run.as_of,
        days,
        ledger_cards.champion(same, horizon_days=days),
        ledger_cards.last_refused(same, horizon_days=days),
        ledger_cards.waiting(same, horizon_days=days),
    )


def train_next_product(settings: Settings, run: DayRun, published: Published) -> list[str]:
    """Train the next product when there is no model or an old one; gives sentences for people.

    Idempotent: the same published lines give the same version.
    """
    state = next_product_state(settings, run)
    tried = [card.trained_as_of for card in (state.used, state.refused, state.waiting) if card is not None]
    if tried and (run.as_of - max(tried)).days < settings.scoring.train_every_days:
        return [f"{SCORE}: not due"]
    from perennial.scoring.next_product.training import train_products

    trained = train_products(
        _lines(settings, run, published),
        as_of=run.as_of,
        horizon_days=settings.scoring.churn_horizon_days,
        level=settings.scoring.next_product_level,
        seed=settings.scoring.seed,
        champion=_champion(settings, state),
    )
    waits = settings.scoring.promotion == "approval"
    refused = trained.refused or (None if waits else trained.worse)
    if refused:
        card = {**trained.card, "verdict": {"status": "refused", "reason": refused}}
        write_card(settings, run, SCORE, card, None, "refused")
        return [f"{SCORE}: refused, {refused}"]
    stored = write_card(settings, run, SCORE, trained.card, trained.scorer, "challenger" if waits else "champion")
    told = "waits for a person" if waits else "is the champion"
    return [f"{SCORE}: {stored.model_version} {told} ({figures_of(stored.card)})"]


def _champion(settings: Settings, state: ScoreState) -> Champion | None:
    """The model in use, to be judged beside its challenger; None where it cannot be read here any more."""
    from perennial.scoring import store
    from perennial.scoring.due import version_problems
    from perennial.scoring.next_product.beside import Champion

    used = state.used
    if used is None or version_problems(used.card, used.model_version):
        return None
    return Champion(store.load(settings.home / used.artefact).model, used.model_version, used.trained_as_of)


def _lines(settings: Settings, run: DayRun, published: Published) -> Lines | None:
    """The lines of training: of all clients, or of as many as MAX_LINES allows, by the hash of their id."""
    from perennial.scoring.next_product.history import lines_of
    from perennial.scoring.next_product.training import days_needed, lines_from

    days = days_needed(settings.scoring.churn_horizon_days)
    since = {"after": run.as_of - timedelta(days=days), "until": run.as_of}
    counted = published.query(
        "select count(*) as n from fct_order_lines where client_id is not null and line_kind = 'sale' "
        "and ordered_on > cast($after as date) and ordered_on <= cast($until as date)",
        since,
    )
    found = int(counted.column("n")[0].as_py())
    share = min(1.0, MAX_LINES / max(found, 1))
    level = settings.scoring.next_product_level
    batches = list(lines_of(published, run.as_of, level=level, days=days, share=share))
    return lines_from(pa.Table.from_batches(batches)) if batches else None


def publish_next(settings: Settings, run: DayRun, version: str) -> tuple[str, dict[str, int], list[str]]:
    """Publish the next products, the next purchases by category and the wide view beside what `version` holds.

    Gives the newest version, rows by table, and sentences for people. Without a model of the next product its table has
    no rows of the day, with a note.
    """
    rows: dict[str, int] = {}
    state = next_product_state(settings, run)
    notes = [state.sentence] if state.used is None else []
    for name, schema, made in (
        (NEXT_PRODUCTS_TABLE, CLIENT_NEXT_PRODUCTS, _products),
        (NEXT_PURCHASES_TABLE, CLIENT_NEXT_PURCHASES, _purchases),
    ):
        with open_published(settings, version) as published:
            batches = _counted(made(settings, run, published, notes), rows, name)
            version = publish_table(
                settings, run, name, pa.RecordBatchReader.from_batches(schema, batches), step="scores"
            )
    with open_published(settings, version) as published:
        sql, day = _wide_sql(), {"as_of": run.as_of}
        schema = published.query(f"select * from ({sql}) as wide limit 0", day).schema
        batches = _counted(published.batches(sql, day), rows, WIDE_TABLE)
        wide = pa.RecordBatchReader.from_batches(schema, batches)
        version = publish_table(settings, run, WIDE_TABLE, wide, step="scores")
    return version, rows, notes


def _counted(batches: Iterator[pa.RecordBatch], rows: dict[str, int], name: str) -> Iterator[pa.RecordBatch]:
    rows[name] = 0
    for batch in batches:
        rows[name] += batch.num_rows
        yield batch


def _products(settings: Settings, run: DayRun, published: Published, notes: list[str]) -> Iterator[pa.RecordBatch]:
    """Proposals of all clients, chunk by chunk (L26); none where the watch stops the model (L6), which `notes` tell."""
    used = next_product_state(settings, run).used
    if used is None:
        return
    from perennial.scoring import store
    from perennial.scoring.due import version_problems
    from perennial.scoring.next_product.history import chunks_of, known_items, lines_of
    from perennial.scoring.next_product.scorer import table_of
    from perennial.scoring.next_product.words import names_of
    from perennial.scoring.threads import one_thread

    problems = version_problems(used.card, used.model_version)
    if problems:
        raise ContractViolation(problems)
    scorer = store.load(settings.home / used.artefact)
    keys = scorer.item_keys()
    names = names_of(published, keys, scorer.level)
    view = scorer.view(run.as_of, _alive(settings, run, published))
    known_items(published, keys)
    check = check_next_product(settings, run, published, used, scorer, view)
    record_check(open_ledger(settings), check)
    notes += told(check)
    if check.verdict == "stopped":
        return
    lines = lines_of(published, run.as_of, level=scorer.level, rows=CHUNK_LINES, known=True)
    with one_thread():
        for history in chunks_of(lines):
            proposals = scorer.propose(history, view, names)
            yield table_of(proposals, history.clients, names, run.as_of, used.model_version, CLIENT_NEXT_PRODUCTS)


def _alive(settings: Settings, run: DayRun, published: Published) -> pa.Array:
    """The products that anyone bought within the last horizon, or the last 28 days if that is longer."""
    days = max(28, settings.scoring.churn_horizon_days)
    item = "l.product_key" if settings.scoring.next_product_level == "product" else "p.category"
    join = "" if item.startswith("l.") else "inner join dim_products as p on p.product_key = l.product_key"
    found = published.query(
        f"select distinct {item} as item from fct_order_lines as l {join} where {item} is not null "
        "and l.line_kind = 'sale' and l.client_id is not null "
        "and l.ordered_on > cast($after as date) and l.ordered_on <= cast($until as date)",
        {"after": run.as_of - timedelta(days=days), "until": run.as_of},
    )
    return found.column("item").combine_chunks()


def _purchases(
    settings: Settings,  # noqa: ARG001
    run: DayRun,
    published: Published,
    notes: list[str],  # noqa: ARG001
) -> Iterator[pa.RecordBatch]:
    """Next purchases by product line of clients who buy from it regularly, chunk by chunk."""
    from perennial.scoring.next_purchase.renewal import PRIORS, ROWS, next_purchases

    day = {"as_of": run.as_of}
    priors = published.query(PRIORS, day)
    for batch in published.batches(ROWS, day, rows=CHUNK_LINES):
        dated = batch.append_column("as_of_date", pa.array([run.as_of] * batch.num_rows, pa.date32()))
        yield next_purchases(dated, priors, CLIENT_NEXT_PURCHASES)


def _wide_sql() -> str:
    """One row per client of the day: each score in a column, and what comes next."""
    pivot = ",\n    ".join(f"max(value) filter (where score = '{score}') as {score}" for score in DECLARED_SCORES)
    return f"""
with scores as (
    select
        client_id,
    {pivot},
        max(low) filter (where score = 'next_purchase_days') as next_purchase_days_low,
        max(high) filter (where score = 'next_purchase_days') as next_purchase_days_high
    from client_scores
    where as_of_date = cast($as_of as date)
    group by client_id
),
new_ones as (
    select client_id, min(rank) as rank
    from {NEXT_PRODUCTS_TABLE}
    where as_of_date = cast($as_of as date) and kind <> 'repeat'
    group by client_id
)
select
    m.client_id,
    cast($as_of as date) as as_of_date,
    {", ".join("s." + score for score in DECLARED_SCORES)},
    s.next_purchase_days_low,
    s.next_purchase_days_high,
    p.product_name as next_product,
    p.kind as next_product_kind,
    p.probability as next_product_probability,
    n.product_name as next_new_product,
    n.product_line as next_new_product_line,
    n.probability as next_new_product_probability
from client_metrics as m
left join scores as s on s.client_id = m.client_id
left join {NEXT_PRODUCTS_TABLE} as p
    on p.client_id = m.client_id and p.as_of_date = cast($as_of as date) and p.rank = 1
left join new_ones as f on f.client_id = m.client_id
left join {NEXT_PRODUCTS_TABLE} as n
    on n.client_id = f.client_id and n.rank = f.rank and n.as_of_date = cast($as_of as date)
order by m.client_id
"""
