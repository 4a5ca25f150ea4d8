"""Scores of answers."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright_trainer.scoring import ItemScore, complies, matches, normalise, score_item, similarity, totals


@pytest.mark.parametrize(
    ("text", "normalised"),
    [("  Paris. ", "paris"), ("The  ANSWER\nis\t4", "the answer is 4"), ("Straße", "strasse"), ("'yes!'", "yes"), ("a.b", "a.b"), ("...", "")],
)
def test_normalise(text, normalised):
    assert normalise(text) == normalised


@pytest.mark.parametrize(
    ("expected", "answer", "kind", "result"),
    [
        ("Paris", " paris.", "Text", True),
        ("Paris", "Paris is it", "Text", False),
        ("+", "+", "Text", True),
        ("+", "-", "Text", False),
        ("", "", "Text", True),
        ('{"a": 1, "b": [1, 2]}', '{"b":[1,2],"a":1}', "JSON", True),
        ('{"a": 1}', '{"a": 1.0}', "JSON", True),
        ('{"a": 1}', '{"a": true}', "JSON", False),
        ('{"a": "X"}', '{"a": "x"}', "JSON", False),
        ("[1, 2]", "[2, 1]", "JSON", False),
        ('{"a": 1}', '```json\n{"a": 1}\n```', "JSON", False),
        ('{"a": 1}', '{"a": 1', "JSON", False),
        ("not json", "NOT JSON", "JSON", True),
        ("# Title", "# title", "Markdown", True),
    ],
)
def test_exact_match(expected, answer, kind, result):
    assert matches(expected, answer, kind) is result


@pytest.mark.parametrize(
    ("answer", "kind", "result"),
    [
        ('\n {"a": 1} ', "JSON", True),
        ("Here it is: {}", "JSON", False),
        ('{"a": NaN}', "JSON", False),
        ("[" * 100_000, "JSON", False),
        ("", "JSON", False),
        ("text", "Text", True),
        (" \n", "Text", False),
        ("# Title\ntext", "Markdown", True),
        ("- one\n- two", "Markdown", True),
        ("1. one", "Markdown", True),
        ("some **bold** word", "Markdown", True),
        ("see [here](https://example.com)", "Markdown", True),
        ("| a | b |\n|---|---|", "Markdown", True),
        ("```python\nx = 1\n```", "Markdown", True),
        ("```python\nx = 1\n", "Markdown", False),
        ("````\n```\n````", "Markdown", True),
        ("~~~\n```\n~~~", "Markdown", True),
        ("plain words only", "Markdown", False),
        ("2 * 3 * 4", "Markdown", False),
        ("", "Markdown", False),
    ],
)
def test_format_compliance(answer, kind, result):
    assert complies(answer, kind) is result


@given(st.text(max_size=50), st.text(max_size=50))
def test_similarity_is_a_share(left, right):
    assert 0 <= similarity(left, right) <= 1
    assert similarity(left, left) == 1


@given(st.text(max_size=40), st.sampled_from(["Text", "JSON", "Markdown"]))
def test_an_answer_matches_itself(text, kind):
    assert score_item(text, text, kind).exact_match


def test_answers_that_repeat_themselves_are_scored_fast():
    begin = time.monotonic()
    assert 0 < similarity("ab cd " * 5000, "ab ce " * 5000) < 1
    assert 0 < similarity("字" * 5000, "字符" * 2500) < 1
    assert 0 < similarity("a" * 5000, "a b " * 2000) < 1
    assert time.monotonic() - begin < 10


def test_totals_by_category():
    items = [ItemScore(True, True, 1.0), ItemScore(False, True, 0.5), ItemScore(False, False, 0.0)]
    scores = totals(items, ["b", "a", None])
    assert [(score.category, score.count, score.exact_match) for score in scores] == [(None, 3, 0.333333), ("a", 1, 0.0), ("b", 1, 1.0)]
    assert scores[0].format_compliance == 0.666667
    assert scores[0].similarity == 0.5
