"""Lists of a series: each row says which step it is, with that step's message and offer; declared defaults (L19)."""

from __future__ import annotations

from datetime import date

from factories import exports
from factories.published import card
from perennial.pipeline.export import export

STEPS = [
    {"id": "hello", "message": "m_hello"},
    {"id": "gift", "after_days": 2, "message": "m_gift", "offer": {"text": "a gift", "code": "G1", "valid_days": 3}},
]


def rows_of(tmp_path, people, targets, **values):
    settings = exports.settings_with(tmp_path, card("news", **values))
    exports.consent(settings, [one["client_id"] for one in people])
    run = exports.planned_day(settings, people, targets)
    export(settings, run)
    return {row["client_id"]: row for row in exports.rows_of(settings, "2017-10-01/news__email")}


def test_each_row_of_a_series_has_its_step_with_its_message_and_offer(tmp_path):
    people = [exports.person("a"), exports.person("b")]
    targets = [
        exports.target("news", "a", series_step="hello", step="assigned"),
        exports.target("news", "b", series_step="gift", step="assigned"),
    ]
    rows = rows_of(tmp_path, people, targets, series={"steps": STEPS}, offer={"text": "nothing yet"})
    told = {
        name: tuple(row[column] for column in ("step", "message", "offer_text", "offer_code", "valid_until"))
        for name, row in rows.items()
    }
    assert told == {
        "a": ("hello", "m_hello", "nothing yet", None, None),
        "b": ("gift", "m_gift", "a gift", "G1", date(2017, 10, 4)),
    }


def test_L19_a_missing_value_is_filled_by_the_cards_default_and_only_then(tmp_path):
    people = [exports.person("a", first_name=None), exports.person("b", first_name="Bo")]
    targets = [exports.target("news", "a"), exports.target("news", "b", next_product="TEA")]
    values = {"merge_fields": ["first_name", "next_product"], "next_product": "cross_sell"}
    rows = rows_of(tmp_path, people, targets, **values, merge_defaults={"first_name": "friend"})
    assert [(row["first_name"], row["next_product"]) for row in rows.values()] == [("friend", None), ("Bo", "TEA")]


def test_a_list_without_a_series_has_no_columns_of_one(tmp_path):
    rows = rows_of(tmp_path, [exports.person("a")], [exports.target("news", "a")])
    assert not {"step", "message"} & set(rows["a"])
