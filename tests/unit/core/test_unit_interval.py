from __future__ import annotations

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from perennial.core.ids import unit_hex_sql, unit_interval, unit_threshold

shares = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.1, 0.5, 2**-52, 1 - 2**-53])
texts = st.text(st.characters(exclude_categories=["C"]), max_size=20)


@given(texts, shares)
def test_L8_sql_draws_the_same_arm_as_python(text, share):
    query = f"select {unit_hex_sql('$text')} < $threshold"
    [(below,)] = duckdb.execute(query, {"text": f"salt|{text}", "threshold": unit_threshold(share)}).fetchall()
    assert below == (unit_interval("salt", text) < share)


@given(texts)
def test_L8_the_threshold_is_exact_at_the_number_itself(text):
    number = unit_interval(text)
    [(digits,)] = duckdb.execute(f"select {unit_hex_sql('$text')}", {"text": text}).fetchall()
    assert digits == unit_threshold(number)
    assert 0 <= number < 1
