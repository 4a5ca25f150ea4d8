import ast
import importlib.util
import json
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
import yaml

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"


def load_make_data():
    spec = importlib.util.spec_from_file_location("make_data", QUICKSTART / "make_data.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


make_data = load_make_data()


def function(source):
    return ast.parse(source).body[0]


@pytest.fixture(scope="module")
def documents():
    return {document["metadata"]["name"]: document for document in yaml.safe_load_all((QUICKSTART / "00-data.yaml").read_text())}


@pytest.fixture(scope="module")
def train(documents):
    return [json.loads(line) for line in documents["quickstart-train"]["data"]["train.jsonl"].splitlines()]


@pytest.fixture(scope="module")
def held_out(documents):
    return [json.loads(line) for line in documents["quickstart-heldout"]["data"]["heldout.jsonl"].splitlines()]


def test_the_committed_file_passes_its_own_check(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_data.py", "--check"])
    assert make_data.main() == 0, capsys.readouterr().err


def test_two_config_maps_with_the_documented_keys(documents):
    assert {name: (document["kind"], list(document["data"])) for name, document in documents.items()} == {
        "quickstart-train": ("ConfigMap", ["train.jsonl"]),
        "quickstart-heldout": ("ConfigMap", ["heldout.jsonl"]),
    }


def test_rows_have_the_layout_and_the_number_that_the_example_promises(train, held_out):
    assert {tuple(row) for row in train} == {("instruction", "input", "output")}
    assert {tuple(row) for row in held_out} == {("instruction", "input", "output", "category")}
    assert (len(train), len(held_out)) == (make_data.TRAIN_ROWS, make_data.HELD_OUT_ROWS)


def test_an_answer_says_what_the_source_says(train, held_out):
    for row in train + held_out:
        answer = json.loads(row["output"])
        assert list(answer) == ["name", "parameters", "summary"]
        parsed = function(row["input"].split('\n"""', 1)[0] + " ...")
        assert answer["name"] == parsed.name
        assert answer["parameters"] in (make_data.parameter_names(parsed, False), make_data.parameter_names(parsed, True))
        assert len(answer["summary"]) in make_data.SUMMARY_LENGTH


def test_no_function_and_no_docstring_is_in_both_halves(train, held_out):
    def docstrings(rows):
        return {" ".join(row["input"].split('"""', 1)[1].split()) for row in rows}

    def names(rows):
        return {json.loads(row["output"])["name"] for row in rows}

    assert not names(train) & names(held_out)
    assert not docstrings(train) & docstrings(held_out)


def test_each_category_has_enough_rows_to_compare(held_out):
    counts = Counter(row["category"] for row in held_out)
    assert set(counts) == {"NoParameters", "OneParameter", "SeveralParameters"}
    assert min(counts.values()) >= 15


def test_kubectl_apply_can_keep_its_copy(documents):
    for document in documents.values():
        assert len(json.dumps(document)) < 256 * 1024


@pytest.mark.parametrize(
    ("source", "is_method", "expected"),
    [
        ("def f(): pass", False, []),
        ("def f(self, a): pass", True, ["a"]),
        ("def f(self, a): pass", False, ["self", "a"]),
        ("def f(a, /, b, *rest, c=1, **more): pass", False, ["a", "b", "rest", "c", "more"]),
        ("def f(*, c): pass", False, ["c"]),
        ("async def f(cls): pass", True, []),
    ],
)
def test_parameter_names(source, is_method, expected):
    assert make_data.parameter_names(function(source), is_method) == expected


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return it.  Then more.", "Return it."),
        ("Return it\nin two lines.\n\nMore.", "Return it in two lines."),
        ("No full stop\n\nSecond paragraph.", "No full stop"),
        ("Use e.g. Alpha or i.e. Beta. Done.", "Use e.g. Alpha or i.e. Beta."),
        ("Version 3.11 works.", "Version 3.11 works."),
    ],
)
def test_first_sentence(docstring, expected):
    assert make_data.first_sentence(docstring) == expected


def test_the_library_of_any_supported_python_gives_enough_rows_and_always_the_same():
    library = Path(sysconfig.get_path("stdlib"))
    rows = make_data.collect(library)
    assert len(rows) > 1500
    first = make_data.render(*make_data.split(rows))
    assert first == make_data.render(*make_data.split(list(reversed(rows))))
    make_data.check(*make_data.read_rows(first))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("quickstart-heldout", "other"), "quickstart-heldout"),
        (lambda text: text.replace("---\n", ""), "two documents"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "rows are expected"),
    ],
)
def test_a_damaged_file_is_named(damage, message):
    with pytest.raises(ValueError, match=message):
        make_data.check(*make_data.read_rows(damage((QUICKSTART / "00-data.yaml").read_text())))
