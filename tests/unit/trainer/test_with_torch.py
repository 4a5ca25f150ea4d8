"""All verbs on a made-up model of 2 layers, with the real libraries. Runs where the trainer's packages are installed (extra `trainer`)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tunewright.contract.manifest import Manifest  # noqa: E402
from tunewright.contract.run_spec import (  # noqa: E402
    EvaluateSpec,
    Hyperparameters,
    LoraParameters,
    MergeSpec,
    ModelSource,
    Owner,
    PrepareSpec,
    Source,
    TrainSpec,
)
from tunewright_trainer.data.prepare import run_prepare  # noqa: E402
from tunewright_trainer.data.prepared import read_rendered  # noqa: E402
from tunewright_trainer.data.template import ChatTemplate, load_tokenizer  # noqa: E402
from tunewright_trainer.errors import RunError, StopRequested  # noqa: E402
from tunewright_trainer.evaluate import run_evaluate  # noqa: E402
from tunewright_trainer.generate import answer_prompts  # noqa: E402
from tunewright_trainer.merge import run_merge  # noqa: E402
from tunewright_trainer.merge_weights import check_weights  # noqa: E402
from tunewright_trainer.model_safety import check_model_directory  # noqa: E402
from tunewright_trainer.models import load_adapter, load_model  # noqa: E402
from tunewright_trainer.progress import ProgressBoard  # noqa: E402
from tunewright_trainer.stop import StopSignal  # noqa: E402
from tunewright_trainer.train import run_train, token_rows  # noqa: E402

pytestmark = pytest.mark.trainer

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ROOT = Path(__file__).parents[3]


def make_model(directory, seed=0):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["<pad>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<pad>", bos_token="<|im_start|>", additional_special_tokens=["<|im_start|>", "<|im_end|>"]
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, eos_token_id=2, bos_token_id=1, pad_token_id=0, tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def owner(name):
    return Owner(kind="Test", namespace="team", name=name, uid=f"u-{name}")


def read_digest(directory):
    return Manifest.model_validate_json((directory / "tunewright.json").read_bytes()).digest()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base, a prepared data set, and an adapter trained without interruption."""
    root = tmp_path_factory.mktemp("world")
    make_model(root / "base")
    rows = [{"prompt": f"Say {word} {number}", "completion": word.upper(), "category": word} for word in ("yes", "no") for number in range(16)]
    (root / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_prepare(
        PrepareSpec(
            owner=owner("data"), dataset=Source(uri="pvc://d/d.jsonl", path=str(root / "d.jsonl")), model=base_of(root), output_dir=str(root / "data"),
            eval_fraction=0.2, seed=1, max_length=128, max_invalid_fraction=0,
        ),
        ProgressBoard("prepare"),
    )  # fmt: skip
    result = run_train(train_spec(root, "adapter"), ProgressBoard("train"), StopSignal())
    assert result.train is not None
    assert (result.train.step, result.train.total_steps) == (8, 8)
    return root


def base_of(root, name="base"):
    return Source(uri="hf://acme/tiny", path=str(root / name))


def train_spec(root, name, **changes):
    values = {
        "epochs": 1.0, "max_steps": 8, "learning_rate": 3e-2, "batch_size": 2, "gradient_accumulation_steps": 1, "scheduler": "Cosine", "warmup_ratio": 0.1,
        "weight_decay": 0.0, "max_length": 128, "packing": True, "precision": "FP32", "checkpoint_steps": 3, "seed": 5,
    }  # fmt: skip
    return TrainSpec(
        owner=owner(name), model=changes.pop("model", base_of(root)), data_dir=str(root / "data"), data_digest=read_digest(root / "data"),
        checkpoint_dir=str(root / "checkpoints"), output_dir=str(root / name),
        lora=LoraParameters(rank=4, alpha=8, dropout=0.1, target_modules=changes.pop("targets", ("q_proj", "down_proj"))),
        hyperparameters=Hyperparameters(**values | changes),
    )  # fmt: skip


class StopAt(StopSignal):
    """A SIGTERM that comes while a given step (or its evaluation) is being done."""

    def __init__(self, board, step, phase):
        super().__init__()
        self._board, self._step, self._phase = board, step, phase

    @property
    def requested(self):
        reading = self._board.reading()
        return (reading.step or 0) >= self._step and reading.phase == self._phase

    @requested.setter
    def requested(self, value):
        pass


@pytest.mark.parametrize(("step", "phase", "saved"), [(4, "Training", 4), (3, "Evaluating", 3), (8, "Evaluating", 8), (8, "Training", 8)])
def test_a_run_that_was_stopped_ends_with_the_same_weights(world, step, phase, saved):
    spec = train_spec(world, f"stopped-{step}-{phase}")
    board = ProgressBoard("train")
    with pytest.raises(StopRequested):
        run_train(spec, board, StopAt(board, step, phase))
    checkpoints = world / "checkpoints" / spec.owner.uid
    assert max(int(path.name.split("-")[1]) for path in checkpoints.glob("checkpoint-*")) == saved
    assert not Path(spec.output_dir).exists()
    result = run_train(spec, ProgressBoard("train"), StopSignal())
    assert result.train.resumed_from_step == saved
    assert (Path(spec.output_dir) / "adapter_model.safetensors").read_bytes() == (world / "adapter" / "adapter_model.safetensors").read_bytes()
    assert not checkpoints.exists()


def test_the_artifact_of_a_run(world):
    files = sorted(path.name for path in (world / "adapter").iterdir())
    assert files == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "tunewright.json",
    ]
    manifest = Manifest.model_validate_json((world / "adapter" / "tunewright.json").read_bytes())
    assert (manifest.kind, manifest.base_uri, manifest.parents) == ("Adapter", "hf://acme/tiny", (read_digest(world / "data"),))
    assert manifest.made_with["version.trl"]
    assert json.loads((world / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "hf://acme/tiny"
    again = run_train(train_spec(world, "adapter"), ProgressBoard("train"), StopSignal())
    assert again.artifact.digest == manifest.digest()


def test_only_answer_and_end_token_are_learned(world):
    tokenizer = load_tokenizer(world / "base")
    rows = token_rows(world / "data" / "train.jsonl", ChatTemplate(tokenizer), 128)
    for row, rendered in zip(rows, read_rendered(world / "data" / "train.jsonl"), strict=True):
        assert tokenizer.decode([label for label in row["labels"] if label != -100]) == rendered.completion
        assert rendered.completion in ("YES<|im_end|>\n", "NO<|im_end|>\n")
        assert tokenizer.decode(row["input_ids"]) == rendered.prompt + rendered.completion


def test_packed_rows_do_not_see_each_other(world):
    """The same eval loss packed (several rows in one) and unpacked: position ids separate the rows."""
    # One batch of all rows, so that both losses are the mean over the same tokens.
    common = {"max_steps": 1, "learning_rate": 1e-9, "batch_size": 8}
    packed = run_train(train_spec(world, "packed", **common), ProgressBoard("train"), StopSignal())
    single = run_train(train_spec(world, "single", packing=False, **common), ProgressBoard("train"), StopSignal())
    assert packed.train.eval_loss == pytest.approx(single.train.eval_loss, abs=1e-4)


def test_a_loss_that_is_no_number_ends_the_run(world):
    make_model(world / "nan")
    from safetensors.torch import load_file, save_file

    tensors = load_file(world / "nan" / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, world / "nan" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match="at step 1") as caught:
        run_train(train_spec(world, "to-nan", model=base_of(world, "nan")), ProgressBoard("train"), StopSignal())
    assert caught.value.reason == "NotFinite"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("q_proj", "query")}, r"no module `query`; targetModules can be down_proj, gate_proj"),
        ({"max_length": 20}, "prepare the data with the same maxLength"),
    ],
)
def test_wrong_parameters(world, changes, message):
    with pytest.raises(RunError, match=message) as caught:
        run_train(train_spec(world, "wrong", **changes), ProgressBoard("train"), StopSignal())
    assert caught.value.reason == "BadConfiguration"


def adapter_of(world):
    return Source(uri="pvc://a/adapter", path=str(world / "adapter"), digest=read_digest(world / "adapter"))


@pytest.fixture(scope="module")
def merged(world):
    spec = MergeSpec(owner=owner("merge"), model=ModelSource(base=base_of(world), adapter=adapter_of(world)), output_dir=str(world / "merged"))
    board = ProgressBoard("merge")
    result = run_merge(spec, board)
    assert run_merge(spec, board).artifact == result.artifact
    return world / "merged"


def test_a_merged_model_answers_as_base_and_adapter(world, merged):
    check_model_directory(merged)
    tokenizer = load_tokenizer(merged)
    ids = torch.tensor([tokenizer.encode("<|im_start|>user\nSay yes 3<|im_end|>\n")])
    with torch.no_grad():
        folded = load_model(merged, torch.float32).eval()(ids).logits
        base = load_model(world / "base", torch.float32)
        plain = base.eval()(ids).logits.clone()
        beside = load_adapter(base, world / "adapter").eval()(ids).logits
    assert (folded - beside).norm() / beside.norm() < 0.02
    assert (plain - beside).norm() / beside.norm() > 0.1
    assert load_model(merged, "auto").dtype == torch.bfloat16
    assert json.loads((merged / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.v_proj.weight"])
def test_a_wrong_weight_is_found(world, merged, tmp_path, name):
    from safetensors.torch import load_file, save_file

    assert check_weights(merged, world / "base", world / "adapter") == 4
    tensors = load_file(merged / "model.safetensors")
    tensors[name][0, 0] += 0.05
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(RunError, match="nothing was published"):
        check_weights(tmp_path, world / "base", world / "adapter")


def test_a_merge_that_did_nothing_is_found(world):
    with pytest.raises(RunError, match="is not base plus adapter"):
        check_weights(world / "base", world / "base", world / "adapter")


def test_an_adapter_of_another_base_is_refused(world):
    make_model(world / "other", seed=9)
    spec = MergeSpec(owner=owner("m2"), model=ModelSource(base=base_of(world, "other"), adapter=adapter_of(world)), output_dir=str(world / "never"))
    with pytest.raises(RunError, match="name the base it was trained on"):
        run_merge(spec, ProgressBoard("merge"))
    assert not (world / "never").exists() or not list((world / "never").iterdir())


def evaluate_spec(world, name, model, baseline):
    return EvaluateSpec(
        owner=owner(name), model=model, baseline=baseline, dataset=Source(uri="pvc://d/eval", path=str(world / "data" / "eval.jsonl")), response_format="Text",
        max_new_tokens=8, batch_size=4, precision="FP32", output_dir=str(world / name),
    )  # fmt: skip


def test_evaluation_with_a_shared_base(world, merged):
    adapted, plain = ModelSource(base=base_of(world), adapter=adapter_of(world)), ModelSource(base=base_of(world))
    board = ProgressBoard("evaluate")
    result = run_evaluate(evaluate_spec(world, "e1", adapted, plain), board)
    assert board.reading().step == board.reading().total_steps == 2 * result.scores.model[0].count
    answers = [json.loads(line) for line in (world / "e1" / "answers.jsonl").read_text().splitlines()]
    assert [answer["index"] for answer in answers] == list(range(len(answers)))
    assert any(answer["answer"] != answer["baselineAnswer"] for answer in answers)
    assert {score.category for score in result.scores.model} <= {None, "yes", "no"}
    # The sides do not touch each other: the baseline alone answers the same, as does the adapter as baseline of the base.
    turned = run_evaluate(evaluate_spec(world, "e2", plain, adapted), ProgressBoard("evaluate"))
    assert (turned.scores.model, turned.scores.baseline) == (result.scores.baseline, result.scores.model)
    apart = run_evaluate(evaluate_spec(world, "e3", plain, None), ProgressBoard("evaluate"))
    assert apart.scores.model == result.scores.baseline


def test_batched_answers_equal_single_ones(world):
    tokenizer = load_tokenizer(world / "base")
    model = load_model(world / "base", torch.float32)
    prompts = [tokenizer.encode(text) for text in ("a", "a longer prompt", "of", "several lengths, this the longest")]
    together = answer_prompts(model, tokenizer, prompts, 12, 4, lambda count: None)
    assert together == [answer_prompts(model, tokenizer, [prompt], 12, 1, lambda count: None)[0] for prompt in prompts]
    assert together == answer_prompts(model, tokenizer, prompts, 12, 3, lambda count: None)


def test_sigterm_to_the_process(world, tmp_path):
    """The whole container: killed in the middle it ends with 75 and a checkpoint, started again it ends with 0."""
    spec = train_spec(world, "process", max_steps=4000, epochs=1000.0)
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer-image'}", "TUNEWRIGHT_TERMINATION_LOG": str(tmp_path / "result"), "TUNEWRIGHT_PROGRESS_PORT": "0",
        "TUNEWRIGHT_RUN_SPEC": spec.to_json(),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "tunewright_trainer"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    for line in process.stdout:
        if "step 5/4000" in line:
            break
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    watchdog.cancel()
    assert process.returncode == 75, output
    assert time.monotonic() - begin < 20
    assert json.loads((tmp_path / "result").read_text())["outcome"] == "Stopped"
    assert (world / "checkpoints" / spec.owner.uid).is_dir()
