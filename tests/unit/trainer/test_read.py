"""Lines of a file: rows and problems, each with its place."""

import json

import pytest

from tunewright_trainer.data.read import Located, Problem, data_files, describe, read_lines
from tunewright_trainer.errors import RunError

GOOD = b'{"prompt": "Hi", "completion": "Hello"}'


def write(path, *lines, end=b"\n"):
    path.write_bytes(end.join(lines) + end)
    return path


def test_line_numbers_count_blank_lines(tmp_path):
    items = list(read_lines(write(tmp_path / "d.jsonl", GOOD, b"", b"   ", GOOD, b"[]")))
    assert [(type(item), item.line) for item in items] == [(Located, 1), (Located, 4), (Problem, 5)]


def test_bom_and_windows_line_ends(tmp_path):
    items = list(read_lines(write(tmp_path / "d.jsonl", b"\xef\xbb\xbf" + GOOD, GOOD, end=b"\r\n")))
    assert [type(item) for item in items] == [Located, Located]


def test_last_line_without_line_end(tmp_path):
    (tmp_path / "d.jsonl").write_bytes(GOOD + b"\n" + GOOD)
    assert len(list(read_lines(tmp_path / "d.jsonl"))) == 2


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        (b'{"prompt": "a" "b"}', "NotJSON", "not JSON (Expecting ',' delimiter at column 16)"),
        (b'{"prompt": "a', "NotJSON", "not JSON (Unterminated string starting at column 12)"),
        (b"{'prompt': 1}", "NotJSON", "not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b'{"x": NaN}', "NotJSON", "not JSON (nested too deep, or a number that JSON does not have)"),
        (b"[" * 200_000, "NotJSON", "not JSON (nested too deep, or a number that JSON does not have)"),
        (b'{"prompt": "\xff"}', "NotUTF8", "not UTF-8 at byte 13"),
        (b'{"prompt": "a\x00"}', "NotJSON", "not JSON (Invalid control character at column 14)"),
        (b'{"prompt": "a", "completion": "\\ud83d"}', "NotUTF8", "`completion` has half a surrogate pair"),
        (b"7", "NotAnObject", "not an object but a number"),
        (b"\x00\x00", "NotJSON", "not JSON (Expecting value at column 1)"),
    ],
)
def test_each_problem_has_its_line(tmp_path, line, reason, message):
    first, second = read_lines(write(tmp_path / "d.jsonl", GOOD, line))
    assert isinstance(first, Located)
    assert second == Problem("d.jsonl", 2, reason, message)


def test_long_line(tmp_path):
    text = "x" * 10_000_000
    (item,) = read_lines(write(tmp_path / "d.jsonl", json.dumps({"prompt": "a", "completion": text}).encode()))
    assert item.row.answer == text


def test_directory_in_order_of_names(tmp_path):
    write(tmp_path / "b.jsonl", GOOD)
    write(tmp_path / "a.jsonl", GOOD, GOOD)
    write(tmp_path / "notes.txt", b"not read")
    assert [(item.file, item.line) for item in read_lines(tmp_path)] == [("a.jsonl", 1), ("a.jsonl", 2), ("b.jsonl", 1)]


def test_missing(tmp_path):
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(RunError) as caught:
            data_files(path)
        assert caught.value.reason == "DatasetNotFound"


def test_sentence_names_first_lines():
    problems = [Problem("d.jsonl", line, "NotJSON", "not JSON") for line in range(1, 8)]
    assert describe(problems[:2], 200, 0, False) == "line 1: not JSON; line 2: not JSON; 2 of 200 rows are invalid (1.0%), allowed 0%"
    assert describe(problems, 100, 0.05, False).endswith("line 5: not JSON; and 2 more; 7 of 100 rows are invalid (7.0%), allowed 5%")
    assert describe(problems[:1], 10, 0, True).startswith("d.jsonl line 1: not JSON; 1 of 10")
