"""The next product: what is known as of a day, what goes together, how lists are judged, odd shops, and leaks."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from perennial.contracts.next_steps import CLIENT_NEXT_PRODUCTS
from perennial.core.settings import Drift
from perennial.scoring import store
from perennial.scoring.next_product.beside import Champion, watched_values, worse_than
from perennial.scoring.next_product.candidates import new_ones, popular_ones, repeats
from perennial.scoring.next_product.history import chunks_of, history_of, since_epoch
from perennial.scoring.next_product.items import going_together, items_of, most_bought
from perennial.scoring.next_product.judging import figures_by_client, mean_figures
from perennial.scoring.next_product.pairs import pairs_at
from perennial.scoring.next_product.scorer import KINDS, table_of
from perennial.scoring.next_product.training import lines_from, train_products
from perennial.scoring.next_product.words import Names
from perennial.scoring.watch import watch_values

AS_OF = date(2017, 10, 1)
SCHEMA = pa.schema(
    [
        ("client_id", pa.string()),
        ("item", pa.string()),
        ("ordered_on", pa.date32()),
        ("cancelled_on", pa.date32()),
        ("revenue", pa.float64()),
        ("units", pa.float64()),
    ]
)


def lines(*rows, price=None) -> pa.Table:
    """Rows (client, product, days before AS_OF[, cancelled so many days before]), one unit each."""
    made = []
    for client, item, ago, *cancelled in rows:
        void = AS_OF - timedelta(days=cancelled[0]) if cancelled else None
        cost = (price or {}).get(item, 1.0)
        made.append(
            {
                "client_id": client,
                "item": item,
                "ordered_on": AS_OF - timedelta(days=ago),
                "cancelled_on": void,
                "revenue": cost,
                "units": 1.0,
            }
        )
    return pa.Table.from_pylist(sorted(made, key=lambda row: row["client_id"]), schema=SCHEMA)


def known(table, ago=0):
    """(pairs as of so many days before AS_OF, keys)."""
    keys = pa.array(sorted(set(table.column("item").to_pylist())))
    return pairs_at(history_of(table, keys), since_epoch(AS_OF) - ago, len(keys)), keys


def random_shop(clients=260, days=240, products=12, seed=3) -> pa.Table:
    """Clients with two favourites each; who has p0 comes to buy p1 a while later, p2 goes with p3."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(clients):
        name = f"c{number:04d}"
        favourites = random.choice(np.arange(4, products), 2, replace=False)
        bought = np.flatnonzero(random.random(days) < 0.08)
        rows += [(name, f"p{random.choice(favourites):02d}", days - 1 - int(day)) for day in bought]
        if number % 3 == 0:
            start = int(random.integers(20, days - 5))
            rows += [(name, "p00", start), (name, "p01", max(0, start - 15))]
        if number % 4 == 0:
            start = int(random.integers(5, days))
            rows += [(name, "p02", start), (name, "p03", start)]
    return lines(*rows)


@pytest.fixture(scope="module")
def shop():
    return random_shop()


@pytest.fixture(scope="module")
def trained(shop):
    return train_products(lines_from(shop), as_of=AS_OF, horizon_days=28, level="product", seed=1)


def proposed(trained, table, alive=None):
    """The rows that the trained model proposes to the clients of the table."""
    scorer = trained.scorer
    keys = scorer.item_keys()
    names = Names(keys, keys, pa.nulls(len(keys), pa.string()), np.zeros(len(keys), dtype=np.int64))
    view = scorer.view(AS_OF, keys if alive is None else pa.array(alive))
    history = history_of(table, keys)
    made = scorer.propose(history, view, names)
    return table_of(made, history.clients, names, AS_OF, "m", CLIENT_NEXT_PRODUCTS).to_pylist()


def test_several_lines_of_one_day_are_one_day_of_purchase():
    pairs, _ = known(lines(("a", "tea", 3), ("a", "tea", 3), ("a", "tea", 10)))
    assert pairs.days.tolist() == [2]
    assert (pairs.last_age.tolist(), pairs.first_age.tolist()) == ([3], [10])
    assert pairs.revenue.tolist() == [3]
    assert pairs.long[0] == pytest.approx(np.exp(-3 / 112) + np.exp(-10 / 112))


def test_L3_what_was_cancelled_later_still_counts_on_the_day_before_nobody_knew():
    table = lines(("a", "tea", 20, 10))
    assert len(known(table, ago=15)[0]) == 1
    assert len(known(table, ago=10)[0]) == 0


def test_a_purchase_of_a_year_ago_is_forgotten():
    assert len(known(lines(("a", "tea", 365)))[0]) == 0
    assert len(known(lines(("a", "tea", 364)))[0]) == 1


def test_batches_that_cut_a_client_in_two_give_whole_clients():
    table = lines(*((f"c{n}", "tea", day) for n in range(7) for day in range(5)))
    table = table.set_column(1, "item", pa.array([0] * table.num_rows, pa.int64()))
    chunks = list(chunks_of(table.to_batches(max_chunksize=3)))
    names = [name for chunk in chunks for name in chunk.clients.to_pylist()]
    assert names == [f"c{n}" for n in range(7)]
    assert sum(len(chunk) for chunk in chunks) == table.num_rows


def test_products_of_the_same_buyers_go_together_by_the_shrunk_cosine():
    rows = [(f"c{n}", item, 1) for n in range(10) for item in ("tea", "milk")] + [("x", "rope", 1), ("c0", "rope", 1)]
    pairs, keys = known(lines(*rows))
    items = items_of(pairs, len(keys), 28)
    together = going_together(pairs, items, most_bought(items)).toarray()
    milk, rope, tea = (keys.to_pylist().index(name) for name in ("milk", "rope", "tea"))
    assert together[tea, milk] == pytest.approx(10 / (10 + 10) * np.sqrt(11 / 15))
    assert together[tea, rope] == pytest.approx(1 / np.sqrt(20 * 12) * np.sqrt(3 / 7))
    assert together.diagonal().sum() == 0


def test_new_products_are_never_ones_that_the_client_has_and_repeats_always_are(shop):
    pairs, keys = known(shop)
    items = items_of(pairs, len(keys), 28)
    have = set(zip(pairs.row.tolist(), pairs.item.tolist(), strict=True))
    new = new_ones(pairs, items, going_together(pairs, items, most_bought(items)))
    again = repeats(pairs, items)
    rows, popular = popular_ones(pairs, items, 3)
    assert len(new)
    assert not have & set(zip(new.row.tolist(), new.item.tolist(), strict=True))
    assert not have & set(zip(rows.tolist(), popular.tolist(), strict=True))
    assert set(zip(again.row.tolist(), again.item.tolist(), strict=True)) <= have
    assert np.isfinite(new.X).all()
    assert np.isfinite(again.X).all()


def test_hit_rate_recall_ndcg_and_mrr_by_hand():
    row, score = np.array([0, 0, 0, 1, 1]), np.array([0.9, 0.5, 0.7, 0.3, 0.2])
    hit, wanted = np.array([0.0, 1.0, 1.0, 0.0, 0.0]), np.array([4.0, 1.0, 0.0])
    figures = mean_figures(figures_by_client(row, score, hit, wanted, k=2))
    best = 1 + 1 / np.log2(3)
    assert figures == pytest.approx({"hit_rate": 0.5, "recall": 1 / 8, "ndcg": 1 / np.log2(3) / best / 2, "mrr": 0.25})


def test_training_beats_or_equals_the_baselines_and_says_so_on_its_card(trained):
    assert trained.refused is None
    figures = trained.card["figures_at_test"]
    assert figures["repeat"]["model"]["ndcg"] >= figures["repeat"]["personal_then_global_frequency"]["ndcg"] - 0.01
    assert figures["new"]["model"]["ndcg"] > figures["new"]["most_popular"]["ndcg"]
    assert trained.card["verdict"] == {"status": "champion", "reason": None}


def test_L2_equal_lines_give_an_equal_artefact_and_it_survives_the_store(shop, trained, tmp_path):
    again = train_products(lines_from(shop), as_of=AS_OF, horizon_days=28, level="product", seed=1)
    content = store.artefact_bytes(trained.scorer)
    assert store.artefact_bytes(again.scorer) == content
    path = store.save(tmp_path, f"next_product-{store.digest(content)}.skops", content)
    stored = type(trained)(trained.card, store.load(path))
    assert proposed(stored, shop) == proposed(trained, shop)


def test_nothing_after_the_day_changes_the_training(shop, trained):
    future = lines(*((f"c{n:04d}", f"p{n % 5:02d}", -1 - n % 20) for n in range(200)))
    table = pa.concat_tables([shop, future]).sort_by("client_id")
    again = train_products(lines_from(table), as_of=AS_OF, horizon_days=28, level="product", seed=1)
    for key in ("figures_at_test", "selection", "chosen", "calibration"):
        assert again.card[key] == trained.card[key]
    assert proposed(again, shop) == proposed(trained, shop)


def test_proposals_are_ranked_in_each_client_with_probabilities_kinds_and_reasons(shop, trained):
    rows = proposed(trained, shop)
    assert {row["kind"] for row in rows} <= set(KINDS)
    by_client: dict[str, list] = {}
    for row in rows:
        by_client.setdefault(row["client_id"], []).append(row)
        assert 0 <= row["probability"] <= 1
        assert row["amount"] >= 0
        assert row["reason"]
    for found in by_client.values():
        assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
        chances = [row["probability"] for row in found]
        assert chances == sorted(chances, reverse=True)
        assert len({row["product_id"] for row in found}) == len(found)


def test_who_has_tea_is_told_that_milk_is_bought_with_it(shop, trained):
    rows = proposed(trained, lines(("z", "p02", 3)))
    reasons = {row["product_id"]: row["reason"] for row in rows}
    assert reasons["p03"] == "bought with p02 by clients like this"
    assert reasons["p02"] == "bought on 1 days, last 3 days ago"


def test_a_dearer_product_of_the_same_kind_is_an_up_sell(shop):
    price = {"p03": 1.5, "p01": 20.0}
    paid = pa.array([price.get(item, 1.0) for item in shop.column("item").to_pylist()])
    table = shop.set_column(4, "revenue", paid)
    trained = train_products(lines_from(table), as_of=AS_OF, horizon_days=28, level="product", seed=1)
    rows = {row["product_id"]: row for row in proposed(trained, lines(("y", "p02", 3)))}
    assert (rows["p03"]["kind"], rows["p03"]["reason"]) == ("up_sell", "the dearer choice beside p02, which they buy")
    dear = {row["product_id"]: row for row in proposed(trained, lines(("z", "p00", 3)))}["p01"]
    assert dear["kind"] == "cross_sell"  # twenty times the price is no step up


def test_a_discontinued_product_is_proposed_to_nobody(shop, trained):
    keys = trained.scorer.item_keys().to_pylist()
    everything = proposed(trained, shop)
    without = proposed(trained, shop, alive=[key for key in keys if key != "p05"])
    assert "p05" in {row["product_id"] for row in everything}
    assert "p05" not in {row["product_id"] for row in without}


def test_a_client_who_has_everything_gets_repeats_only(shop, trained):
    everything = lines(*(("z", key, 2) for key in trained.scorer.item_keys().to_pylist()))
    assert {row["kind"] for row in proposed(trained, everything)} == {"repeat"}


def test_a_client_with_one_order_gets_proposals(trained):
    rows = proposed(trained, lines(("z", "p06", 100)))
    assert {"repeat", "cross_sell"} <= {row["kind"] for row in rows}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (lines(), "too little history"),
        (random_shop(clients=30), "clients bought before the test cut and after it"),
        (random_shop(clients=150, days=60), "too little history"),
        (lines(*((f"c{n:03d}", "tea", day) for n in range(150) for day in (3, 40, 90))), "one product only"),
    ],
)
def test_a_shop_too_small_or_too_young_is_refused_with_the_reason(table, sentence):
    trained = train_products(lines_from(table), as_of=AS_OF, horizon_days=28, level="product", seed=1)
    assert trained.scorer is None
    assert sentence in trained.refused
    assert trained.card["verdict"]["status"] == "refused"


def _with_champion(shop, trained, learned_until, model=None):
    champion = Champion(model or trained.scorer.model, "next_product-of-before", learned_until)
    return train_products(
        lines_from(shop), as_of=AS_OF, horizon_days=28, level="product", seed=1, final=False, champion=champion
    )


class _Reversed:
    """A model that turns another's order round."""

    def __init__(self, model, kinds):
        self.model, self.kinds = model, kinds

    def probability(self, kind, candidates):
        chance = self.model.probability(kind, candidates)
        return 1 - chance if kind in self.kinds else chance


def test_the_champion_is_judged_on_the_same_candidates_and_a_worse_challenger_is_named(shop, trained):
    test = AS_OF - timedelta(days=28)
    beside = _with_champion(shop, trained, test)
    assert beside.card["champion"]["is_fair"]
    assert set(beside.card["figures_at_test"]["new"]) == {"model", "champion", "most_popular", "co_purchase"}
    assert beside.worse is None
    weaker = _Reversed(trained.scorer.model, ("repeat", "new"))
    figures = _with_champion(shop, trained, test, weaker).card["figures_at_test"]["repeat"]
    assert figures["champion"]["ndcg"] < figures["model"]["ndcg"]
    assert worse_than(np.zeros(50), np.ones(50) - np.arange(50) / 100)


def test_a_champion_that_has_learned_after_the_test_cut_is_flattered_and_stands_in_nobodys_way(shop, trained):
    beside = _with_champion(shop, trained, AS_OF - timedelta(days=7))
    assert not beside.card["champion"]["is_fair"]
    assert "flattered" in beside.card["champion"]["note"]
    assert beside.worse is None


def test_the_watch_is_calm_on_the_day_of_training_and_warns_when_clients_have_changed(shop, trained):
    keys = trained.scorer.item_keys()
    view = trained.scorer.view(AS_OF, keys)
    history = history_of(shop.combine_chunks(), keys)
    calm = watch_values(trained.card, watched_values(trained.scorer.model, history, view), Drift())
    assert calm.verdict == "passed", calm.sentences
    few = history_of(shop.filter(pc.less(shop.column("item"), "p01")).combine_chunks(), keys)
    changed = watch_values(trained.card, watched_values(trained.scorer.model, few, view), Drift())
    assert changed.verdict != "passed"
    assert any("drifted" in sentence for sentence in changed.sentences)
