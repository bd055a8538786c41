import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perennial.delivery.formulas import escaped_texts, restored_texts, safe_batch, safe_texts

SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
INVISIBLE = " \u00a0\u200b\ufeff\u3000\x00\x1f\u2060\u3164\u202e"

hostile = st.builds(
    "".join,
    st.tuples(
        st.text(st.sampled_from(INVISIBLE), max_size=3),
        st.sampled_from(SIGNS),
        st.text(max_size=8),
    ),
)


def one(text):
    return safe_texts(pa.array([text], pa.string()))[0].as_py()


def is_number(text):
    digits = text[1:] if text[:1] in "+-" else text
    whole, _, fraction = digits.replace(",", ".", 1).partition(".")
    parts = [whole, fraction] if "." in digits.replace(",", ".", 1) else [whole]
    return all(part.isascii() and part.isdigit() for part in parts)


@settings(deadline=None)
@given(hostile)
@example("=cmd|' /C calc'!A0")
@example("\t=1+1")
@example("+1\n")
@example("-1+1")
@example("@SUM(A1)")
def test_L23_a_cell_that_begins_like_a_formula_gets_an_apostrophe(text):
    assert one(text) == (text if is_number(text) else f"'{text}")


@settings(deadline=None)
@given(st.from_regex(r"\A[+-]?[0-9]{1,15}([.,][0-9]{1,4})?\Z"))
def test_numbers_stay_numbers(text):
    assert one(text) == text


@settings(deadline=None)
@given(st.text(max_size=12))
def test_only_an_apostrophe_is_ever_added(text):
    assert one(text) in (text, f"'{text}")


@settings(deadline=None)
@given(st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1), st.text(max_size=8))
def test_a_cell_that_begins_with_a_letter_or_digit_is_left_as_it_is(head, tail):
    assert one(head + tail) == head + tail


def test_nulls_stay_nulls_and_other_types_stay_as_they_are():
    batch = pa.RecordBatch.from_pydict({"text": ["=1", None, "a"], "number": [-1, None, 2]})
    assert safe_batch(batch).to_pydict() == {"text": ["'=1", None, "a"], "number": [-1, None, 2]}


@settings(deadline=None)
@given(st.lists(st.one_of(hostile, st.builds("{}{}".format, st.text("'", max_size=3), hostile), st.text(max_size=6))))
@example(["'+1", "+1", "'=x", "''", "'"])
def test_L23_what_was_escaped_for_a_spreadsheet_comes_back_as_it_was(texts):
    cells = escaped_texts(pa.array(texts, pa.string()))
    assert restored_texts(cells).to_pylist() == texts
    assert safe_texts(cells).to_pylist() == cells.to_pylist()
