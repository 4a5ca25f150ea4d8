"""Scores of answers against expected ones. Pure, and of the standard library only.

- exact match: JSON answers are compared as values (key order and spacing do not matter) where both sides parse; everything else as text after
  `normalise`. A JSON answer that does not parse never matches one that does.
- format compliance: whether the answer as a whole is of the format asked for (see `complies`).
- similarity: difflib's ratio of the normalised texts, 0 to 1, 1 for equal (see `similarity`).
"""

import json
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from tunewright.contract.run_result import Score

ResponseFormat = Literal["Text", "JSON", "Markdown"]

_MARKDOWN = re.compile(
    r"^\s{0,3}(#{1,6} \S|[-*+] \S|\d{1,9}[.)] \S|> ?\S|\|.*\||```|~~~)|\*\*[^*\n]+\*\*|__[^_\n]+__|`[^`\n]+`|\[[^\]\n]+\]\([^)\n]+\)|(?<!\*)\*[^*\s][^*\n]*\*(?!\*)",
    re.MULTILINE,
)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_BY_CHARACTER = 500
_MOST_WORDS = 300
"""Similarity compares at most 500 characters, of longer texts 300 words: difflib takes a minute for two texts of 4000 characters that repeat themselves,
as answers of small models do; with these limits it is below a second."""


@dataclass(frozen=True)
class ItemScore:
    """The scores of one answer; the booleans become shares in the totals."""

    exact_match: bool
    format_compliance: bool
    similarity: float


def score_item(expected: str, answer: str, response_format: ResponseFormat) -> ItemScore:
    """Score one answer."""
    return ItemScore(matches(expected, answer, response_format), complies(answer, response_format), similarity(expected, answer))


def normalise(text: str) -> str:
    """Return `text` in one case, with runs of white space as one blank, without punctuation and blanks at both ends."""
    return " ".join(text.casefold().split()).strip(string.punctuation + string.whitespace)


def matches(expected: str, answer: str, response_format: ResponseFormat) -> bool:
    """Return whether `answer` is the expected one in its format."""
    if response_format == "JSON":
        expected_ok, expected_value = parse_json(expected)
        answer_ok, value = parse_json(answer)
        if expected_ok:
            return answer_ok and _canonical(expected_value) == _canonical(value)
    wanted = normalise(expected)
    # An expected answer of punctuation only would match every other one of the kind.
    return normalise(answer) == wanted if wanted else answer.strip() == expected.strip()


def complies(answer: str, response_format: ResponseFormat) -> bool:
    """Return whether the whole answer is of the format.

    JSON: it parses, after white space at the ends is cut. Markdown: it has at least one construct (heading, list, quote, table, code, emphasis, link)
    and every code fence is closed. Text: it is not empty.
    """
    if not answer.strip():
        return False
    match response_format:
        case "JSON":
            return parse_json(answer)[0]
        case "Markdown":
            return _MARKDOWN.search(answer) is not None and _fences_closed(answer)
        case "Text":
            return True


def similarity(expected: str, answer: str) -> float:
    """Return difflib's ratio of the normalised texts, 0 to 1.

    Compared are the characters; when a text is longer than 500, the first 300 words, or the first 500 characters of a script without blanks.
    """
    left, right = normalise(expected), normalise(answer)
    if left == right:
        return 1.0
    if max(len(left), len(right)) > _BY_CHARACTER and all(_has_words(text) for text in (left, right)):
        return SequenceMatcher(None, left.split()[:_MOST_WORDS], right.split()[:_MOST_WORDS], autojunk=False).ratio()
    return SequenceMatcher(None, left[:_BY_CHARACTER], right[:_BY_CHARACTER], autojunk=False).ratio()


def _has_words(text: str) -> bool:
    return len(text) <= 20 * len(text.split())


def parse_json(text: str) -> tuple[bool, object]:
    """Return whether `text` is one JSON value (NaN and Infinity are not JSON), and the value."""
    try:
        return True, json.loads(text.strip(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False, None


def total(items: Sequence[ItemScore], category: str | None = None) -> Score:
    """Return the mean scores; raises ValueError for no items."""
    if not items:
        raise ValueError("there is nothing to score")
    count = len(items)
    return Score(
        category=category,
        count=count,
        exact_match=round(sum(item.exact_match for item in items) / count, 6),
        format_compliance=round(sum(item.format_compliance for item in items) / count, 6),
        similarity=round(sum(item.similarity for item in items) / count, 6),
    )


def totals(items: Sequence[ItemScore], categories: Sequence[str | None]) -> tuple[Score, ...]:
    """Return the total, then the scores by category in alphabetical order; items without category count in the total only."""
    groups: dict[str, list[ItemScore]] = {}
    for item, category in zip(items, categories, strict=True):
        if category is not None:
            groups.setdefault(category, []).append(item)
    return (total(items), *(total(groups[category], category) for category in sorted(groups)))


def _canonical(value: object) -> str:
    # Through text, since Python has 1 == True and 1 == 1.0; a float without fraction is the same JSON number as the integer.
    return json.dumps(_whole_numbers(value), sort_keys=True, ensure_ascii=False)


def _whole_numbers(value: object) -> object:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fences_closed(text: str) -> bool:
    fence: str | None = None
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found is None:
            continue
        marks, rest = found.group(1), found.group(2)
        if fence is None:
            fence = marks
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not rest.strip():
            fence = None
    return fence is None


def _refuse(name: str) -> float:
    raise ValueError(name)
