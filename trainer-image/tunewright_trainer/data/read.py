"""Reads JSONL line by line; each line becomes a row or a problem with its file and line number."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tunewright_trainer.data.rows import Row, RowError, RowReason, parse_row
from tunewright_trainer.errors import RunError


@dataclass(frozen=True)
class Located:
    """A row and where it was: the file's name and the line, counted from 1."""

    file: str
    line: int
    row: Row


@dataclass(frozen=True)
class Problem:
    """A line that cannot be used. `message` is short and never has the row's content."""

    file: str
    line: int
    reason: RowReason
    message: str


def data_files(path: Path) -> list[Path]:
    """Return the file itself, or the *.jsonl of a directory in the order of their names; raises RunError DatasetNotFound."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RunError("DatasetNotFound", f"the data set {path} is not there; check the path below the volume")
    files = sorted(file for file in path.glob("*.jsonl") if file.is_file())
    if not files:
        raise RunError("DatasetNotFound", f"the directory {path} has no *.jsonl file")
    return files


def read_lines(path: Path) -> Iterator[Located | Problem]:
    """Yield a row or a problem for each line of `path` (a file, or a directory of *.jsonl) that is not blank."""
    for file in data_files(path):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield _parse_line(file.name, number, line.rstrip(b"\r\n"))


def _parse_line(file: str, number: int, line: bytes) -> Located | Problem:
    try:
        return Located(file, number, parse_row(_load(line)))
    except RowError as error:
        return Problem(file, number, error.reason, str(error))


def _load(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RowError("NotUTF8", f"not UTF-8 at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise RowError("NotJSON", f"not JSON ({error.msg.removesuffix(' at')} at column {error.colno})") from error
    except (RecursionError, ValueError) as error:
        raise RowError("NotJSON", "not JSON (nested too deep, or a number that JSON does not have)") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def describe(problems: list[Problem], rows: int, allowed_fraction: float, several_files: bool) -> str:
    """Return the sentence for a data set with too many invalid rows: its first lines, the share, and what is allowed."""
    named = "; ".join(f"{f'{problem.file} ' if several_files else ''}line {problem.line}: {problem.message}" for problem in problems[:5])
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    verb = "row is" if rows == 1 else "rows are"
    return f"{named}{more}; {len(problems)} of {rows} {verb} invalid ({len(problems) / rows:.1%}), allowed {_percent(allowed_fraction)}"


def _percent(fraction: float) -> str:
    return f"{fraction * 100:g}%"
