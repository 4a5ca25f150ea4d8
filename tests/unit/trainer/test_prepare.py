"""The verb prepare on a made-up tokenizer: the counts add up, and every failure says what to do."""

import importlib.util
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.weight_files import weights
from tunewright.contract.manifest import Manifest
from tunewright.contract.run_spec import Owner, PrepareSpec, Source
from tunewright_trainer.data import prepare
from tunewright_trainer.data.prepare import first_rows, prepare_rows, run_prepare, too_few
from tunewright_trainer.data.report import histogram, summary
from tunewright_trainer.data.rows import Message, Row
from tunewright_trainer.data.template import ChatTemplate
from tunewright_trainer.errors import RunError
from tunewright_trainer.progress import ProgressBoard


@pytest.fixture(scope="module", autouse=True)
def jinja2():
    """The one class of jinja2 that is caught, where jinja2 is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("jinja2") is None:
            patch.setitem(sys.modules, "jinja2", ModuleType("jinja2"))
            patch.setitem(sys.modules, "jinja2.exceptions", ModuleType("jinja2.exceptions"))
            patch.setattr(sys.modules["jinja2.exceptions"], "TemplateError", type("TemplateError", (Exception,), {}), raising=False)
        yield


class CharacterTokenizer:
    """One token a character; a chat template like ChatML's."""

    chat_template = "made up"
    eos_token = "<end>"

    def __init__(self, render=None):
        self._render = render

    def apply_chat_template(self, turns, tokenize, add_generation_prompt):
        if self._render is not None:
            return self._render(turns, add_generation_prompt)
        text = "".join(f"[{turn['role']}]{turn['content']}<end>\n" for turn in turns)
        return text + ("[assistant]" if add_generation_prompt else "")

    def encode(self, text, add_special_tokens):
        return list(text.encode())


TEMPLATE = ChatTemplate(CharacterTokenizer())
OWNER = Owner(kind="FineTuneJob", namespace="team", name="bot", uid="u-1")


def spec(tmp_path, **changes):
    fields = {"eval_fraction": 0.1, "seed": 1, "max_length": 200, "max_invalid_fraction": 0.0, "output_dir": str(tmp_path / "out"), "owner": OWNER}
    return PrepareSpec(
        dataset=Source(uri="pvc://data/d.jsonl", path=str(tmp_path / "d.jsonl")), model=Source(uri="hf://a/b", path=str(tmp_path / "model")), **fields | changes
    )


def write(tmp_path, *rows):
    (tmp_path / "d.jsonl").write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def pair(number, length=10):
    return {"prompt": f"question {number}", "completion": "x" * length}


def prepared(tmp_path, *rows, **changes):
    write(tmp_path, *rows)
    return prepare_rows(tmp_path / "d.jsonl", TEMPLATE, spec(tmp_path, **changes), ProgressBoard("prepare"))


def test_counts(tmp_path):
    rows = [pair(number) for number in range(20)] + [pair(0), pair(99, length=500), "{"]
    result = prepared(tmp_path, *rows, max_invalid_fraction=0.1)
    counts = result.counts
    assert (counts.rows, counts.invalid, counts.duplicates, counts.too_long, counts.train, counts.evaluation) == (23, 1, 1, 1, 18, 2)
    assert counts.train_tokens == sum(len((row.rendered.prompt + row.rendered.completion).encode()) for row in result.train)
    assert result.too_long[0][:2] == ("d.jsonl", 22)


LINE = st.one_of(
    st.builds(lambda number, length: json.dumps(pair(number, length)), st.integers(0, 8), st.sampled_from([1, 5, 300])),
    st.sampled_from(["", "{", "[]", '{"prompt": "x"}']),
)


@given(lines=st.lists(LINE, max_size=25), fraction=st.floats(0, 0.9))
def test_counts_always_add_up(tmp_path_factory, lines, fraction):
    directory = tmp_path_factory.mktemp("p")
    try:
        counts = prepared(directory, *lines, max_invalid_fraction=1.0, eval_fraction=fraction).counts
    except RunError as error:
        assert error.reason == "EmptyDataset"
        return
    assert counts.rows == sum(bool(line) for line in lines)
    assert counts.rows == counts.invalid + counts.duplicates + counts.too_long + counts.train + counts.evaluation


def test_too_many_invalid_rows(tmp_path):
    rows = [pair(number) for number in range(198)]
    rows[2:2] = ['{"prompt": "x" "y"}']
    rows[8:8] = ['{"prompt": "x", "completion": ""}']
    with pytest.raises(RunError) as caught:
        prepared(tmp_path, *rows)
    assert caught.value.reason == "BadData"
    assert str(caught.value) == (
        "line 3: not JSON (Expecting ',' delimiter at column 16); line 9: the answer is empty; 2 of 200 rows are invalid (1.0%), allowed 0%"
    )
    assert prepared(tmp_path, *rows, max_invalid_fraction=0.01).counts.invalid == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the data set is empty"),
        (["", "  "], "the data set is empty"),
        ([pair(1)] * 50, "only 1 distinct row is left of 50: the others are duplicates"),
        ([pair(1)], "the data set has only 1 row"),
        ([pair(1, 500), pair(2, 500)], r"no row is left of 2: 2 over maxLength \(200 tokens\)"),
        ([pair(1), pair(1), pair(2, 500)], r"only 1 distinct row is left of 3: 1 duplicates, 1 over maxLength"),
    ],
)
def test_nothing_to_train_on(tmp_path, rows, message):
    with pytest.raises(RunError, match=message) as caught:
        prepared(tmp_path, *rows)
    assert caught.value.reason == "EmptyDataset"


def test_no_row_is_left():
    assert too_few(0, 3, 1, 1, 1, 64) == "no row is left of 3: 1 duplicates, 1 over maxLength (64 tokens), 1 invalid"


@pytest.fixture
def without_transformers(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "model/model.safetensors").write_bytes(weights(1.0))
    monkeypatch.setattr(prepare, "load_tokenizer", lambda directory: CharacterTokenizer())


def test_published_once(tmp_path, without_transformers):
    write(tmp_path, *(pair(number) | {"category": "a"} for number in range(20)))
    first = run_prepare(spec(tmp_path), ProgressBoard("prepare"))
    out = tmp_path / "out"
    manifest = Manifest.model_validate_json((out / "tunewright.json").read_text())
    assert first.artifact.digest == manifest.digest()
    assert [entry.path for entry in manifest.files] == ["eval.jsonl", "report.json", "train.jsonl"]
    line = json.loads((out / "train.jsonl").read_text().splitlines()[0])
    assert set(line) == {"prompt", "completion", "messages", "category"}
    assert line["prompt"] == "[user]question 0<end>\n[assistant]"
    assert line["completion"] == "xxxxxxxxxx<end>\n"
    modified = (out / "train.jsonl").stat().st_mtime_ns
    assert run_prepare(spec(tmp_path), ProgressBoard("prepare")) == first
    assert (out / "train.jsonl").stat().st_mtime_ns == modified


def test_changed_data_is_prepared_again(tmp_path, without_transformers):
    write(tmp_path, *(pair(number) for number in range(20)))
    first = run_prepare(spec(tmp_path), ProgressBoard("prepare"))
    write(tmp_path, *(pair(number) for number in range(21)))
    second = run_prepare(spec(tmp_path), ProgressBoard("prepare"))
    assert (first.data.rows, second.data.rows) == (20, 21)
    assert first.artifact.digest != second.artifact.digest
    assert run_prepare(spec(tmp_path, seed=2), ProgressBoard("prepare")).artifact.digest != second.artifact.digest


def test_prepared_rows_are_a_data_set_again(tmp_path, without_transformers):
    write(tmp_path, *(pair(number) for number in range(20)))
    run_prepare(spec(tmp_path), ProgressBoard("prepare"))
    rows = first_rows(tmp_path / "out" / "eval.jsonl", None)
    assert len(rows) == 2
    assert all(item.row.answer == "x" * 10 for item in rows)
    assert len(first_rows(tmp_path / "out" / "train.jsonl", 3)) == 3


def test_evaluation_rows_must_all_be_good(tmp_path):
    write(tmp_path, pair(1), "{")
    with pytest.raises(RunError, match=r"line 2: not JSON .* 1 of 2 rows are invalid") as caught:
        first_rows(tmp_path / "d.jsonl", None)
    assert caught.value.reason == "BadData"
    assert len(first_rows(tmp_path / "d.jsonl", 1)) == 1


ROW = Row((Message("user", "Hi"), Message("assistant", "Hello")))


def test_the_end_token_is_trained_even_when_the_template_forgets_it():
    def render(turns, add_generation_prompt):
        return "".join(f"{turn['role']}: {turn['content']}\n" for turn in turns) + ("assistant: " if add_generation_prompt else "")

    assert ChatTemplate(CharacterTokenizer(render)).render(ROW).completion == "Hello\n<end>"


@pytest.mark.parametrize(
    ("render", "message"),
    [
        (lambda turns, generate: f"{len(turns)}{turns}", "differently"),
        (lambda turns, generate: "always the same", "leaves out the answer"),
    ],
)
def test_templates_that_cannot_be_split(render, message):
    with pytest.raises(Exception, match=message):
        ChatTemplate(CharacterTokenizer(render)).render(ROW)


def test_a_template_that_refuses_a_row_is_a_problem_of_that_row(tmp_path, monkeypatch):
    from jinja2.exceptions import TemplateError

    def render(turns, generate):
        if turns[0]["role"] == "system":
            raise TemplateError("System role not supported")
        return "".join(f"<{turn['content']}>" for turn in turns)

    chat = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}
    write(tmp_path, chat, *(pair(number) for number in range(9)))
    template = ChatTemplate(CharacterTokenizer(render))
    with pytest.raises(RunError, match="line 1: the chat template refuses it: System role not supported; 1 of 10 rows"):
        prepare_rows(tmp_path / "d.jsonl", template, spec(tmp_path), ProgressBoard("prepare"))


def test_histogram_and_summary():
    assert histogram([1, 16, 17, 100]) == [{"upTo": 16, "rows": 2}, {"upTo": 32, "rows": 1}, {"upTo": 64, "rows": 0}, {"upTo": 128, "rows": 1}]
    assert summary(list(range(1, 101))) == {"total": 5050, "min": 1, "median": 50, "p95": 95, "max": 100}
    assert histogram([]) == []
    assert summary([]) == {}


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_histogram_holds_every_row(lengths):
    assert sum(bucket["rows"] for bucket in histogram(lengths)) == len(lengths)


def test_no_chat_template(monkeypatch, tmp_path):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *args, **kwargs: SimpleNamespace(chat_template=None))
    from tunewright_trainer.data.template import load_tokenizer

    with pytest.raises(RunError, match="instruction-tuned") as caught:
        load_tokenizer(tmp_path)
    assert caught.value.reason == "NoChatTemplate"


def test_a_model_with_code_is_refused_before_any_gpu_is_asked_for(tmp_path, without_transformers):
    write(tmp_path, pair(1), pair(2))
    (tmp_path / "model/modeling_evil.py").write_text("")
    with pytest.raises(RunError, match=r"modeling_evil\.py") as caught:
        run_prepare(spec(tmp_path), ProgressBoard("prepare"))
    assert caught.value.reason == "UnsafeModel"
