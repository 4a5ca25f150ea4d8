"""The decisions of training, fetching and evaluating that need no torch."""

import json
import math

import pytest

from support.weight_files import weights
from tunewright.contract.run_spec import FetchSpec, Hyperparameters, LoraParameters, ModelSource, Owner, Source, TrainSpec
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, publish, staging
from tunewright_trainer.checkpoints import checkpoint_path, finish_checkpoint, newest_checkpoint
from tunewright_trainer.errors import RunError
from tunewright_trainer.evaluate import group_by_base
from tunewright_trainer.fetch import run_fetch
from tunewright_trainer.generate import batches, end_token_ids
from tunewright_trainer.locate import check_adapter_base, model_digest, resolve_dataset, resolve_model
from tunewright_trainer.progress import ProgressBoard
from tunewright_trainer.train_settings import best_step, last_value, made_with, not_finite, trainer_arguments
from tunewright_trainer.versions import inputs_digest

OWNER = Owner(kind="FineTuneJob", namespace="team", name="bot", uid="u-1")
OTHER = Owner(kind="FineTuneJob", namespace="team", name="other", uid="u-2")


def hyperparameters(**changes):
    fields = {
        "epochs": 1.0, "learning_rate": 2e-4, "batch_size": 2, "gradient_accumulation_steps": 1, "scheduler": "Cosine", "warmup_ratio": 0.1,
        "weight_decay": 0.0, "max_length": 64, "packing": True, "precision": "BF16", "checkpoint_steps": 5, "seed": 1,
    }  # fmt: skip
    return Hyperparameters(**fields | changes)


def train_spec(**changes):
    fields = {"owner": OWNER, "model": Source(uri="hf://a/b"), "data_dir": "/data", "data_digest": "sha256:1", "checkpoint_dir": "/c", "output_dir": "/o"}
    lora = LoraParameters(rank=8, alpha=16, dropout=0.0, target_modules=("q_proj", "v_proj"))
    return TrainSpec(**fields | {"lora": lora, "hyperparameters": hyperparameters()} | changes)


def test_inputs_do_not_depend_on_places_and_owner():
    assert inputs_digest(train_spec()) == inputs_digest(train_spec(output_dir="/elsewhere", owner=OTHER))
    assert inputs_digest(train_spec()) != inputs_digest(train_spec(hyperparameters=hyperparameters(seed=2)))
    assert inputs_digest(train_spec()) != inputs_digest(train_spec(data_digest="sha256:2"))


def test_trainer_arguments(tmp_path):
    arguments = trainer_arguments(hyperparameters(), tmp_path, True, 10**8, False)
    assert (arguments["lr_scheduler_type"], arguments["warmup_steps"], arguments["bf16"], arguments["max_steps"]) == ("cosine", 0.1, True, -1)
    assert (arguments["eval_strategy"], arguments["eval_steps"], arguments["gradient_checkpointing"]) == ("steps", 5, False)
    arguments = trainer_arguments(hyperparameters(scheduler="Constant", precision="FP32", max_steps=7), tmp_path, False, 8 * 10**9, True)
    assert (arguments["lr_scheduler_type"], arguments["eval_strategy"], arguments["bf16"]) == ("constant_with_warmup", "no", False)
    assert (arguments["gradient_checkpointing"], arguments["max_steps"]) == (True, 7)
    assert "eval_steps" not in arguments
    assert trainer_arguments(hyperparameters(scheduler="Constant", warmup_ratio=0.0), tmp_path, False, 1, False)["lr_scheduler_type"] == "constant"


def test_best_step():
    history = [{"step": 1, "loss": 3.0}, {"step": 2, "eval_loss": 1.0}, {"step": 4, "eval_loss": 0.5}, {"step": 6, "eval_loss": 0.5}, {"step": 6, "loss": 0.1}]
    assert best_step(history) == 4
    assert best_step(history[:1]) is None
    assert last_value(history, "loss") == 0.1
    assert last_value([], "loss") is None


@pytest.mark.parametrize(
    ("logs", "name"),
    [
        ({"loss": math.nan}, "loss"),
        ({"loss": 1.0, "grad_norm": math.inf}, "grad_norm"),
        ({"eval_loss": math.nan}, "eval_loss"),
        ({"loss": 1.0}, None),
        ({"epoch": math.nan}, None),
    ],
)
def test_not_finite(logs, name):
    assert not_finite(logs) == name


def test_the_manifest_names_the_parameters():
    text = made_with(train_spec())
    assert text["lora.targetModules"] == "q_proj,v_proj"
    assert text["learningRate"] == "0.0002"
    assert "maxSteps" not in text


def checkpoint(directory, step, owner=OWNER, inputs="i", finished=True):
    path = checkpoint_path(directory, step)
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_text(f"weights {step}")
    (path / "optimizer.pt").write_text(f"moments {step}")
    if finished:
        finish_checkpoint(path, owner, inputs)
    return path


def test_the_newest_checkpoint_that_verifies(tmp_path, capsys):
    assert newest_checkpoint(tmp_path / "absent", OWNER, "i") is None
    checkpoint(tmp_path, 2)
    good = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 12, inputs="other")
    (checkpoint(tmp_path, 14) / "optimizer.pt").unlink()
    (checkpoint(tmp_path, 16) / "adapter_model.safetensors").write_text("weights !!")
    checkpoint(tmp_path, 18, finished=False)
    checkpoint(tmp_path, 20, owner=OTHER)
    assert newest_checkpoint(tmp_path, OWNER, "i") == (good, 10)
    out = capsys.readouterr().out
    for step, why in ((20, "other data"), (18, "never finished"), (16, "differs"), (14, "optimizer.pt is missing"), (12, "other data")):
        assert f"skipping checkpoint-{step}: " in out
        assert why in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]


def test_every_checkpoint_is_broken(tmp_path):
    checkpoint(tmp_path, 2, finished=False)
    assert newest_checkpoint(tmp_path, OWNER, "i") is None


def test_batches_cover_every_prompt_once_longest_first():
    assert batches([3, 9, 1, 9, 5], 2) == [[1, 3], [4, 0], [2]]
    assert batches([], 2) == []


@pytest.mark.parametrize(("model", "tokenizer", "ends"), [(2, 2, [2]), ([2, 0], 7, [0, 2, 7]), (None, 3, [3]), (5, None, [5])])
def test_end_tokens(model, tokenizer, ends):
    assert end_token_ids(model, tokenizer) == ends


def test_a_shared_base_is_loaded_once():
    base, other = Source(uri="hf://a/b"), Source(uri="hf://c/d")
    tuned, merged = ModelSource(base=base, adapter=Source(uri="pvc://x/y")), ModelSource(base=other)
    assert group_by_base({"model": tuned, "baseline": ModelSource(base=base)}) == [{"model": tuned, "baseline": ModelSource(base=base)}]
    assert len(group_by_base({"model": merged, "baseline": ModelSource(base=base)})) == 2


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights(1.0))
    return directory


def adapter_of(tmp_path, base_digest):
    final = tmp_path / "adapter"
    with staging(final) as directory:
        (directory / "adapter_config.json").write_text("{}")
        (directory / "adapter_model.safetensors").write_bytes(weights(3.0))
        return final, publish(directory, final, Provenance("Adapter", OWNER, {INPUTS_KEY: "i"}, "hf://a/b", base_digest))


def test_an_adapter_goes_on_its_own_base_only(tmp_path, model):
    digest = model_digest(model, Source(uri="pvc://m/model"))
    final, _ = adapter_of(tmp_path, digest)
    check_adapter_base(final, digest)
    (model / "model.safetensors").write_bytes(weights(2.0))
    with pytest.raises(RunError, match="was trained on hf://a/b"):
        check_adapter_base(final, model_digest(model, Source(uri="pvc://m/model")))


def fetch_spec(tmp_path, model, **adapters):
    return FetchSpec(owner=OWNER, model=Source(uri="pvc://m/model", path=str(model)), adapters=adapters, output_dir=str(tmp_path / "out"))


def test_fetch_links_what_is_mounted(tmp_path, model):
    final, published = adapter_of(tmp_path, None)
    adapter = Source(uri="pvc://m/adapter", path=str(final), digest=published.digest)
    for _ in range(2):
        assert run_fetch(fetch_spec(tmp_path, model, bot=adapter), ProgressBoard("fetch")).outcome == "Succeeded"
    assert (tmp_path / "out" / "model").resolve() == model
    assert json.loads((tmp_path / "out" / "adapters" / "bot" / "adapter_config.json").read_text()) == {}
    (final / "adapter_model.safetensors").write_bytes(weights(4.0))
    with pytest.raises(RunError, match=r"adapter_model\.safetensors differs"):
        run_fetch(fetch_spec(tmp_path, model, bot=adapter), ProgressBoard("fetch"))


def test_fetch_refuses_names_that_leave_its_directory(tmp_path, model):
    with pytest.raises(RunError, match="cannot be an adapter's name"):
        run_fetch(fetch_spec(tmp_path, model, **{"../x": Source(uri="pvc://m/a", path=str(model))}), ProgressBoard("fetch"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source(uri="pvc://m/model"), "BadConfiguration"),
        (Source(uri="nonsense"), "BadConfiguration"),
        (Source(uri="hf://datasets/a/b"), "BadConfiguration"),
        (Source(uri="pvc://m/model", path="/absent"), "ModelNotFound"),
    ],
)
def test_models_that_are_nowhere(source, reason):
    with pytest.raises(RunError) as caught:
        resolve_model(source)
    assert caught.value.reason == reason


def test_a_digest_needs_a_manifest(model):
    with pytest.raises(RunError, match="no artifact") as caught:
        resolve_model(Source(uri="pvc://m/model", path=str(model), digest="sha256:1"))
    assert caught.value.reason == "DigestMismatch"


def test_the_file_of_an_artifact_is_verified_with_it(tmp_path):
    final, published = adapter_of(tmp_path, None)
    file = Source(uri="pvc://m/adapter", path=str(final / "adapter_config.json"), digest=published.digest)
    assert resolve_dataset(file) == final / "adapter_config.json"
    (final / "adapter_config.json").write_text("[]")
    with pytest.raises(RunError, match=r"adapter_config\.json differs"):
        resolve_dataset(file)
    with pytest.raises(RunError, match="check the path") as caught:
        resolve_dataset(Source(uri="configmap://a/b", path=str(tmp_path / "absent")))
    assert caught.value.reason == "DatasetNotFound"
