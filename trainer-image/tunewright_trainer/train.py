"""The verb `train`: a LoRA adapter by TRL's SFTTrainer, resumable at any moment, published with its manifest."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.contract.run_result import ArtifactRef, RunResult, TrainMetrics
from tunewright.contract.run_spec import TrainSpec
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, find_published, publish, reference, staging, verify
from tunewright_trainer.checkpoints import checkpoint_path, finish_checkpoint, newest_checkpoint
from tunewright_trainer.data.prepared import EVAL_FILE, TRAIN_FILE, read_rendered
from tunewright_trainer.data.template import ChatTemplate, load_tokenizer
from tunewright_trainer.errors import RunError, StopRequested
from tunewright_trainer.locate import model_digest, resolve_model
from tunewright_trainer.log import log
from tunewright_trainer.models import copy_tokenizer, device, dtype_of, load_model
from tunewright_trainer.progress import ProgressBoard
from tunewright_trainer.stop import StopSignal
from tunewright_trainer.train_settings import best_step, last_value, lora_arguments, made_with, trainer_arguments
from tunewright_trainer.versions import inputs_digest, versions

if TYPE_CHECKING:
    from datasets import Dataset

METRICS_FILE = "training.json"


def run_train(spec: TrainSpec, board: ProgressBoard, stop: StopSignal) -> RunResult:
    """Train and publish; an adapter that an earlier attempt published is returned at once, and its checkpoints go on from the newest."""
    output, inputs = Path(spec.output_dir), inputs_digest(spec)
    checkpoints = Path(spec.checkpoint_dir) / spec.owner.uid
    published = find_published(output, spec.owner, inputs)
    if published is not None:
        log(f"{output} holds this adapter already")
        metrics = TrainMetrics.model_validate(json.loads((output / METRICS_FILE).read_bytes()))
        shutil.rmtree(checkpoints, ignore_errors=True)
        return _succeeded(metrics, reference(output, published))

    board.phase("Loading", 0)
    verify(Path(spec.data_dir), spec.data_digest)
    base = resolve_model(spec.model)
    tokenizer = load_tokenizer(base)
    template = ChatTemplate(tokenizer)
    train_rows = token_rows(Path(spec.data_dir) / TRAIN_FILE, template, spec.hyperparameters.max_length)
    eval_rows = token_rows(Path(spec.data_dir) / EVAL_FILE, template, spec.hyperparameters.max_length)
    if not train_rows:
        raise RunError("EmptyDataset", f"{spec.data_dir}/{TRAIN_FILE} has no rows")
    resumable = newest_checkpoint(checkpoints, spec.owner, inputs)
    metrics = _train(spec, board, stop, base, tokenizer, train_rows, eval_rows, checkpoints, inputs, resumable)

    board.phase("Saving", 97)
    kept = checkpoint_path(checkpoints, metrics.best_step if metrics.best_step is not None else metrics.step)
    artifact = _publish(spec, base, kept, metrics, inputs)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return _succeeded(metrics, artifact)


def token_rows(path: Path, template: ChatTemplate, max_length: int) -> list[dict[str, list[int]]]:
    """Return `input_ids` and `labels` of each row of a prepared file; labels are -100 on the prompt, so that only the completion is learned.

    Raises RunError BadConfiguration for a row over `max_length`: it would be cut, and the model would learn answers without an end.
    """
    rows = []
    for number, rendered in enumerate(read_rendered(path), start=1):
        prompt, completion = template.token_ids(rendered)
        if len(prompt) + len(completion) > max_length:
            tokens = len(prompt) + len(completion)
            raise RunError(
                "BadConfiguration", f"{path.name} line {number} has {tokens} tokens, maxLength is {max_length}: prepare the data with the same maxLength"
            )
        rows.append({"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion})
    return rows


def _train(
    spec: TrainSpec, board: ProgressBoard, stop: StopSignal, base: Path, tokenizer: Any, train_rows: list[dict[str, list[int]]],
    eval_rows: list[dict[str, list[int]]], checkpoints: Path, inputs: str, resumable: tuple[Path, int] | None,
) -> TrainMetrics:  # fmt: skip
    """Run the training loop. A signal raises StopRequested, with the checkpoint of the last whole step on disk."""
    from tunewright_trainer.train_watch import TrainWatch

    def on_saved(step: int) -> None:
        finish_checkpoint(checkpoint_path(checkpoints, step), spec.owner, inputs)

    resumed_from = resumable[1] if resumable else None
    watch = TrainWatch(board, stop, on_saved)
    trainer = _build_trainer(spec, base, tokenizer, train_rows, eval_rows, checkpoints)
    trainer.add_callback(watch)
    if resumable is not None:
        log(f"resuming from {resumable[0].name}")
        board.update(resumed_from_step=resumed_from)
    with stop.deferred():
        try:
            trainer.train(resume_from_checkpoint=str(resumable[0]) if resumable else None)
            if eval_rows and not watch.stopped and not _is_evaluated(trainer.state):
                # The run was stopped between its last step and that step's evaluation.
                trainer.evaluate()
        except StopRequested:
            watch.stopped = True
        if watch.stopped:
            _save_if_new(trainer, watch.saved_step, resumed_from, on_saved)
            raise StopRequested
    state = trainer.state
    loss = last_value(state.log_history, "loss")
    if loss is None:
        raise RunError("InternalError", "training ended without a single step")
    best = best_step(state.log_history)
    if best is not None and not checkpoint_path(checkpoints, best).is_dir():
        raise RunError("InternalError", f"the checkpoint of the best step {best} is gone")
    return TrainMetrics(
        step=state.global_step, total_steps=state.max_steps, loss=loss, eval_loss=_eval_loss_at(state.log_history, best), best_step=best,
        tokens_per_second=watch.tokens_per_second, train_seconds=round(watch.seconds, 1), resumed_from_step=resumed_from,
    )  # fmt: skip


def _build_trainer(
    spec: TrainSpec, base: Path, tokenizer: Any, train_rows: list[dict[str, list[int]]], eval_rows: list[dict[str, list[int]]], checkpoints: Path,
) -> Any:  # fmt: skip
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    values = spec.hyperparameters
    model = load_model(base, dtype_of(values.precision))
    # With a cache, packed rows see each other: position ids alone separate them only on the path without one.
    model.config.use_cache = False
    _check_targets(model, spec.lora.target_modules)
    arguments = trainer_arguments(values, checkpoints, bool(eval_rows), model.num_parameters(), device() == "cuda")
    # The adapter's first weights are drawn inside SFTTrainer, before it sets the seed.
    set_seed(values.seed)
    trainer = SFTTrainer(
        model=model, args=SFTConfig(**arguments), train_dataset=_dataset(train_rows), eval_dataset=_dataset(eval_rows) if eval_rows else None,
        processing_class=tokenizer, peft_config=LoraConfig(**lora_arguments(spec.lora)),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


def _dataset(rows: list[dict[str, list[int]]]) -> "Dataset":
    from datasets import Dataset

    return Dataset.from_list(rows)


def _check_targets(model: Any, wanted: tuple[str, ...]) -> None:
    import torch

    present = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)} - {"lm_head"}
    absent = [name for name in wanted if name not in present]
    if absent:
        raise RunError("BadConfiguration", f"the model has no module `{absent[0]}`; targetModules can be {', '.join(sorted(present))}")


def _save_if_new(trainer: Any, saved: int | None, resumed_from: int | None, on_saved: Any) -> None:
    """Save the last whole step unless its checkpoint is there: a signal may come in an evaluation, which transformers runs before it saves."""
    step = trainer.state.global_step
    if step > 0 and step not in (saved, resumed_from):
        trainer._save_checkpoint(trainer.model, trial=None)
        on_saved(step)
        log(f"saved the checkpoint of step {step}")


def _is_evaluated(state: Any) -> bool:
    return _eval_loss_at(state.log_history, state.global_step) is not None


def _eval_loss_at(log_history: list[dict[str, float]], step: int | None) -> float | None:
    return next((entry["eval_loss"] for entry in log_history if entry["step"] == step and "eval_loss" in entry), None)


def _publish(spec: TrainSpec, base: Path, checkpoint: Path, metrics: TrainMetrics, inputs: str) -> ArtifactRef:
    """Publish the adapter of `checkpoint`: its own files, so what was evaluated is what is published."""
    output = Path(spec.output_dir)
    with staging(output) as directory:
        shutil.copyfile(checkpoint / "adapter_model.safetensors", directory / "adapter_model.safetensors")
        config = json.loads((checkpoint / "adapter_config.json").read_bytes())
        # peft wrote the path in this container, which means nothing elsewhere.
        config["base_model_name_or_path"] = spec.model.uri
        (directory / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (directory / METRICS_FILE).write_text(metrics.to_json() + "\n", encoding="utf-8")
        copy_tokenizer(base, directory)
        details = {INPUTS_KEY: inputs, **made_with(spec), **versions("torch", "transformers", "trl", "peft")}
        provenance = Provenance("Adapter", spec.owner, details, spec.model.uri, model_digest(base, spec.model), parents=(spec.data_digest,))
        return publish(directory, output, provenance)


def _succeeded(metrics: TrainMetrics, artifact: ArtifactRef) -> RunResult:
    evaluated = f", eval loss {metrics.eval_loss:.4f} at step {metrics.best_step}" if metrics.eval_loss is not None else ""
    message = f"trained {metrics.step} steps, loss {metrics.loss:.4f}{evaluated}"
    return RunResult(verb="train", outcome="Succeeded", message=message, artifact=artifact, train=metrics)
