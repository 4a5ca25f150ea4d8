"""From the contract's hyperparameters to the arguments of peft and TRL. Pure; the libraries are not imported."""

import math
from pathlib import Path
from typing import Any

from tunewright.contract.run_spec import Hyperparameters, LoraParameters, TrainSpec

RECOMPUTE_ABOVE_PARAMETERS = 1_000_000_000
"""Models above this size recompute activations in the backward pass: a fifth slower, about half the memory. Below, activations fit beside the weights."""

KEPT_CHECKPOINTS = 3
"""The newest, the one before it (the newest has no manifest yet while it is saved), and the best."""


def lora_arguments(lora: LoraParameters) -> dict[str, Any]:
    """Return the arguments of peft's LoraConfig."""
    return {
        "r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "target_modules": list(lora.target_modules), "bias": "none",
        "task_type": "CAUSAL_LM",
    }  # fmt: skip


def trainer_arguments(values: Hyperparameters, directory: Path, has_evaluation: bool, parameters: int, on_gpu: bool) -> dict[str, Any]:
    """Return the arguments of TRL's SFTConfig. `parameters` is the number of weights of the base model."""
    scheduler = {"Cosine": "cosine", "Linear": "linear", "Constant": "constant_with_warmup" if values.warmup_ratio > 0 else "constant"}[values.scheduler]
    every = {"eval_strategy": "steps", "eval_steps": values.checkpoint_steps, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    return {
        "output_dir": str(directory),
        "num_train_epochs": values.epochs,
        "max_steps": values.max_steps if values.max_steps is not None else -1,
        "learning_rate": values.learning_rate,
        "lr_scheduler_type": scheduler,
        "warmup_steps": values.warmup_ratio,  # a float below 1 is a ratio
        "weight_decay": values.weight_decay,
        "optim": "adamw_torch",
        "per_device_train_batch_size": values.batch_size,
        "per_device_eval_batch_size": values.batch_size,
        "gradient_accumulation_steps": values.gradient_accumulation_steps,
        "gradient_checkpointing": parameters > RECOMPUTE_ABOVE_PARAMETERS,
        "max_length": values.max_length,
        "packing": values.packing,
        "packing_strategy": "bfd",
        "bf16": values.precision == "BF16",
        "fp16": False,
        "use_cpu": not on_gpu,
        "seed": values.seed,
        "data_seed": values.seed,
        "save_strategy": "steps",
        "save_steps": values.checkpoint_steps,
        "save_total_limit": KEPT_CHECKPOINTS,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it hides the very values that end the run
        "prediction_loss_only": True,
        "dataloader_num_workers": 0,  # a Pod's /dev/shm has 64 MiB
        "dataloader_pin_memory": on_gpu,
        "report_to": "none",
        "disable_tqdm": True,
        **(every if has_evaluation else {"eval_strategy": "no"}),
    }


def best_step(log_history: list[dict[str, float]]) -> int | None:
    """Return the step with the least eval loss in transformers' log, the earlier one of equals; None when nothing was evaluated."""
    evaluated = [(entry["eval_loss"], int(entry["step"])) for entry in log_history if "eval_loss" in entry]
    return min(evaluated)[1] if evaluated else None


def last_value(log_history: list[dict[str, float]], name: str) -> float | None:
    """Return the last value of `name` in transformers' log."""
    return next((entry[name] for entry in reversed(log_history) if name in entry), None)


def not_finite(logs: dict[str, float]) -> str | None:
    """Return the name of the first value that is no number, of those that say that the weights are or will be broken."""
    return next((name for name in ("loss", "grad_norm", "eval_loss") if name in logs and not math.isfinite(logs[name])), None)


def made_with(spec: TrainSpec) -> dict[str, str]:
    """Return the parameters of a run as the text of its manifest."""
    values = {
        **spec.hyperparameters.model_dump(mode="json", by_alias=True),
        **{f"lora.{key}": value for key, value in spec.lora.model_dump(mode="json", by_alias=True).items()},
    }
    return {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in values.items() if value is not None}
