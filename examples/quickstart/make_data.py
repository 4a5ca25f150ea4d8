#!/usr/bin/env python3
"""Writes 00-data.yaml: the quickstart's training and held-out rows, made from the documentation of Python's own standard library.

    python3 make_data.py            writes 00-data.yaml beside this file
    python3 make_data.py --check    says whether the committed file is well-formed (nothing is written)

Each row asks for one thing that is easy to check and that a small model cannot do untaught: read a function's name, signature and
docstring, and answer with a JSON object that holds its name, the names of its parameters and the first sentence of the docstring.
The sources are parsed, never imported. The same Python version gives the same bytes; another version has other functions, so
`--check` compares the form and not the bytes.
"""

import argparse
import ast
import hashlib
import json
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OUTPUT = Path(__file__).with_name("00-data.yaml")

INSTRUCTION = "Describe the function as JSON: name, parameters, summary."
# Tests, programs and generated tables; lib2to3 was removed in Python 3.13.
SKIPPED_FOLDERS = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "pydoc_data", "turtledemo"}
DOCSTRING_LENGTH = range(30, 601)
SUMMARY_LENGTH = range(10, 161)

SEED = 20
TRAIN_ROWS = 400
HELD_OUT_ROWS = 100
# `kubectl apply` keeps a copy of each object in an annotation, as JSON; an object's annotations may have 256 KiB.
MAX_ANNOTATION_BYTES = 250_000

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Row:
    """One question with its answer."""

    input: str
    output: str
    category: str
    name: str
    docstring: str


def main() -> int:
    """Writes or checks the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check the committed file, write nothing")
    if parser.parse_args().check:
        try:
            train, held_out = read_rows(OUTPUT.read_text())
            check(train, held_out)
        except ValueError as error:
            print(f"{OUTPUT.name}: {error}", file=sys.stderr)
            return 1
        print(f"{OUTPUT.name}: {len(train)} training rows and {len(held_out)} held-out rows are well-formed")
        return 0
    train, held_out = split(collect(Path(sysconfig.get_path("stdlib"))))
    text = render(train, held_out)
    check(train, held_out)
    OUTPUT.write_text(text)
    print(f"{OUTPUT.name}: {len(train)} training rows, {len(held_out)} held-out rows, {len(text.encode())} bytes")
    return 0


def collect(library: Path) -> list[Row]:
    """Every row that the standard library in this folder gives, each function name and each docstring once."""
    rows: list[Row] = []
    names: set[str] = set()
    docstrings: set[str] = set()
    for path in sorted(library.rglob("*.py"), key=lambda path: path.relative_to(library).parts):
        parts = path.relative_to(library).with_suffix("").parts
        if any(is_skipped(part) for part in parts):
            continue
        for function, is_method in functions(ast.parse(path.read_bytes())):
            row = make_row(function, is_method)
            if row and row.name not in names and row.docstring not in docstrings:
                names.add(row.name)
                docstrings.add(row.docstring)
                rows.append(row)
    return rows


def is_skipped(part: str) -> bool:
    """Private modules, tests, and folders named after the build's platform."""
    return part in SKIPPED_FOLDERS or part.startswith(("_", "test_", "config-"))


def functions(module: ast.Module) -> Iterator[tuple[Function, bool]]:
    """The public functions of a module and the public methods of its public classes, in the order of the source."""
    for statement in module.body:
        if isinstance(statement, Function):
            yield statement, False
        elif isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
            for member in statement.body:
                if isinstance(member, Function):
                    yield member, not any(isinstance(decorator, ast.Name) and decorator.id == "staticmethod" for decorator in member.decorator_list)


def make_row(function: Function, is_method: bool) -> Row | None:
    """The row of a function, or nothing if it is private or its docstring is too short, too long or not plain text."""
    docstring = ast.get_docstring(function)
    if function.name.startswith("_") or not docstring or len(docstring) not in DOCSTRING_LENGTH or not docstring.isascii():
        return None
    summary = first_sentence(docstring)
    if len(summary) not in SUMMARY_LENGTH:
        return None
    parameters = parameter_names(function, is_method)
    # The docstring without its line breaks' indentation, as a reader sees it; the signature as Python writes it back.
    keyword = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    source = f'{keyword} {function.name}({ast.unparse(function.args)}){returns}:\n"""{docstring}"""'
    answer = json.dumps({"name": function.name, "parameters": parameters, "summary": summary})
    category = ("NoParameters", "OneParameter", "SeveralParameters")[min(len(parameters), 2)]
    return Row(source, answer, category, function.name, " ".join(docstring.split()))


def parameter_names(function: Function, is_method: bool) -> list[str]:
    """The names in order, without the stars and without a method's own object."""
    arguments = function.args
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    if is_method and names:
        names = names[1:]
    if arguments.vararg:
        names.append(arguments.vararg.arg)
    names += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(arguments.kwarg.arg)
    return names


def first_sentence(docstring: str) -> str:
    """The first paragraph up to the first full stop that ends a sentence, in one line."""
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())
    return re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)\s+(?=[^a-z])", paragraph, maxsplit=1)[0]


def split(rows: list[Row]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The training rows and the held-out rows, drawn with a fixed seed; the order does not depend on where the library is."""
    if len(rows) < TRAIN_ROWS + HELD_OUT_ROWS:
        raise ValueError(f"the standard library gives only {len(rows)} rows")
    drawn = sorted(rows, key=lambda row: hashlib.sha256(row.input.encode()).digest())
    random.Random(SEED).shuffle(drawn)
    held_out = [{"instruction": INSTRUCTION, "input": row.input, "output": row.output, "category": row.category} for row in drawn[:HELD_OUT_ROWS]]
    train = [{"instruction": INSTRUCTION, "input": row.input, "output": row.output} for row in drawn[HELD_OUT_ROWS : HELD_OUT_ROWS + TRAIN_ROWS]]
    return train, held_out


HEADER = """\
# The quickstart's rows, written by make_data.py from the documentation of Python's standard library.
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  {key}: |
"""


def render(train: list[dict[str, str]], held_out: list[dict[str, str]]) -> str:
    """The two ConfigMaps. A JSON line holds no line break and only ASCII, so a literal block keeps it as it is."""
    documents = []
    for name, rows in (("train", train), ("heldout", held_out)):
        lines = "".join(f"    {json.dumps(row)}\n" for row in rows)
        documents.append(CONFIG_MAP.format(name=f"quickstart-{name}", key=f"{name}.jsonl") + lines)
    return HEADER + "---\n".join(documents)


def read_rows(text: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The rows of a file as `render` writes it; Python has no YAML reader of its own."""
    documents = text.split("\n---\n")
    if len(documents) != 2:
        raise ValueError(f"two documents are expected, there are {len(documents)}")
    found = []
    for name, document in zip(("train", "heldout"), documents, strict=True):
        marker = f"\n  {name}.jsonl: |\n"
        if f"\n  name: quickstart-{name}\n" not in document or marker not in document:
            raise ValueError(f"ConfigMap quickstart-{name} with the key {name}.jsonl is expected")
        found.append([json.loads(line) for line in document.split(marker)[1].splitlines()])
    return found[0], found[1]


def check(train: list[dict[str, str]], held_out: list[dict[str, str]]) -> None:
    """Raises ValueError for anything that would make the example misleading: a malformed row, or a row in both halves."""
    annotation = len(json.dumps("".join(f"{json.dumps(row)}\n" for row in train)))
    if annotation > MAX_ANNOTATION_BYTES:
        raise ValueError(f"`kubectl apply` would write an annotation of {annotation} bytes; {MAX_ANNOTATION_BYTES} leave room for the others")
    if (len(train), len(held_out)) != (TRAIN_ROWS, HELD_OUT_ROWS):
        raise ValueError(f"{TRAIN_ROWS} and {HELD_OUT_ROWS} rows are expected, there are {len(train)} and {len(held_out)}")
    for row in train + held_out:
        answer = json.loads(row["output"])
        if list(answer) != ["name", "parameters", "summary"] or not isinstance(answer["parameters"], list):
            raise ValueError(f"not an answer: {row['output']}")
        if f"def {answer['name']}(" not in row["input"] or answer["summary"] not in " ".join(row["input"].split()):
            raise ValueError(f"the answer does not follow from the input: {row['output']}")
    names = [json.loads(row["output"])["name"] for row in train + held_out]
    docstrings = [" ".join(row["input"].split('"""', 1)[1].split()) for row in train + held_out]
    if len(set(names)) != len(names) or len(set(docstrings)) != len(docstrings):
        raise ValueError("a function or a docstring occurs twice")


if __name__ == "__main__":
    sys.exit(main())
