"""Duplicates and the split."""

from hypothesis import given
from hypothesis import strategies as st

from tunewright_trainer.data.dedupe import drop_duplicates
from tunewright_trainer.data.read import Located
from tunewright_trainer.data.rows import Message, Row
from tunewright_trainer.data.split import split

TEXT = st.text(alphabet="abc", min_size=1, max_size=3)
ROWS = st.lists(st.tuples(TEXT, TEXT), max_size=60, unique=True).map(lambda pairs: [row(*pair) for pair in pairs])
FRACTION = st.floats(min_value=0.01, max_value=0.9)


def row(prompt, answer, category=None):
    return Row((Message("user", prompt), Message("assistant", answer)), category)


def located(*rows):
    return [Located("d.jsonl", line, value) for line, value in enumerate(rows, start=1)]


def cut(rows, fraction, seed=1):
    return split(rows, lambda value: value, fraction, seed)


def test_first_of_equal_rows_stays():
    rows = located(row("a", "b"), row("a", "c"), row("a", "b", "other category"), row("ab", "c"), row("a", "bc"))
    kept, dropped = drop_duplicates(rows)
    assert [item.line for item in kept] == [1, 2, 4, 5]
    assert dropped == 1


def test_input_makes_a_row_distinct():
    from tunewright_trainer.data.rows import parse_row

    rows = located(*(parse_row({"instruction": "Sum", "input": text, "output": "3"}) for text in ("1 2", "2 1")))
    assert drop_duplicates(rows)[1] == 0


@given(ROWS, FRACTION, st.integers(0, 5))
def test_every_row_is_on_one_side(rows, fraction, seed):
    train, evaluation = cut(rows, fraction, seed)
    assert sorted(map(repr, train + evaluation)) == sorted(map(repr, rows))
    if len(rows) >= 2:
        assert train
        assert evaluation


@given(ROWS, FRACTION, st.integers(0, 5), st.randoms(use_true_random=False))
def test_order_does_not_matter(rows, fraction, seed, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert set(cut(rows, fraction, seed)[1]) == set(cut(shuffled, fraction, seed)[1])


@given(ROWS, FRACTION)
def test_no_prompt_on_both_sides(rows, fraction):
    train, evaluation = cut(rows, fraction)
    prompts = {value.prompt for value in rows}
    if len(prompts) > 1:
        assert not {value.prompt for value in train} & {value.prompt for value in evaluation}


def test_the_fraction_is_met_for_distinct_prompts():
    rows = [row(str(number), "x") for number in range(200)]
    assert len(cut(rows, 0.05)[1]) == 10
    assert len(cut(rows, 0.001)[1]) == 1
    assert cut(rows, 0.05, seed=1) != cut(rows, 0.05, seed=2)


def test_one_prompt_for_all_rows():
    train, evaluation = cut([row("same", str(number)) for number in range(20)], 0.1)
    assert (len(train), len(evaluation)) == (18, 2)


def test_no_evaluation():
    rows = [row("a", "b"), row("b", "c")]
    assert cut(rows, 0) == (rows, [])
    assert cut(rows[:1], 0.5) == (rows[:1], [])
