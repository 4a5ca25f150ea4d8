"""Checks a written merge tensor by tensor against the files it was made from: merged = base + scaling * B A, up to rounding.

Independent of peft's own merging code, exact for weak adapters too (whose effect on logits can drown in bf16), and it holds one tensor at a time.
"""

import json
import math
from pathlib import Path
from typing import Any

from tunewright_trainer.errors import RunError
from tunewright_trainer.log import log

_PREFIX = "base_model.model."
# Fields of adapter_config.json that change the formula; an adapter with one of them is checked by the probe prompts alone.
_OTHER_FORMULAS = ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "modules_to_save", "layer_replication", "lora_bias", "megatron_config")


def check_weights(merged: Path, base: Path, adapter: Path) -> int | None:
    """Raise RunError InternalError for the first tensor that is off; return the number of adapted tensors, None for an adapter of another formula.

    Allowed is one epsilon of (|base| + |change|): the change and the sum are each rounded once to the merged type, by half an epsilon.
    """
    import torch

    config = json.loads((adapter / "adapter_config.json").read_bytes())
    special = [field for field in _OTHER_FORMULAS if config.get(field)]
    if special or config.get("peft_type") != "LORA":
        log(f"weights are not compared one by one: the adapter uses {special[0] if special else config.get('peft_type')}")
        return None
    changes = _changes(adapter, config)
    bases, results = _Tensors(base), _Tensors(merged)
    for name in sorted(results.names):
        if name not in bases.names:
            continue  # a head written out that is tied to the embedding in the base
        before, after = bases.get(name), results.get(name)
        if name not in changes:
            if not torch.equal(before.to(after.dtype), after):
                raise RunError("InternalError", f"the merge changed {name}, which the adapter does not touch; nothing was published")
            continue
        low, high, scaling = changes.pop(name)
        change = scaling * (high.float() @ low.float())
        allowed = torch.finfo(after.dtype).eps * (before.float().abs() + change.abs()) + torch.finfo(after.dtype).tiny
        if bool(((after.float() - before.float() - change).abs() > allowed).any()):
            raise RunError("InternalError", f"the merged {name} is not base plus adapter; nothing was published")
    if changes:
        raise RunError("InternalError", f"the adapter changes {min(changes)}, which the merged model does not have; nothing was published")
    return _adapted_count(adapter)


def scaling_of(config: dict[str, Any]) -> float:
    """Return what the product of an adapter's two matrices is multiplied by."""
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


class _Tensors:
    """The tensors of a model directory, read one at a time."""

    def __init__(self, directory: Path) -> None:
        from safetensors import safe_open

        self._files: dict[str, Any] = {}
        for path in sorted(directory.glob("*.safetensors")):
            file: Any = safe_open(str(path), framework="pt")
            self._files |= dict.fromkeys(file.keys(), file)
        self.names = frozenset(self._files)

    def get(self, name: str) -> Any:
        return self._files[name].get_tensor(name)


def _changes(adapter: Path, config: dict[str, Any]) -> dict[str, tuple[Any, Any, float]]:
    """Return A, B and scaling by the name of the weight they change."""
    tensors = _Tensors(adapter)
    scaling = scaling_of(config)
    changes = {}
    for name in tensors.names:
        if name.endswith(".lora_A.weight"):
            module = name.removesuffix(".lora_A.weight")
            changes[f"{module.removeprefix(_PREFIX)}.weight"] = (tensors.get(name), tensors.get(f"{module}.lora_B.weight"), scaling)
    return changes


def _adapted_count(adapter: Path) -> int:
    return sum(name.endswith(".lora_A.weight") for name in _Tensors(adapter).names)
