"""Checks that a merged model computes what base and adapter compute together, on a few probe prompts."""

from dataclasses import dataclass
from typing import Any

from tunewright_trainer.errors import RunError

PROBES = (
    "The capital of France is",
    "def fibonacci(n):",
    "Write one sentence about the sea.",
    '{"name": "Ada", "year": 1815}',
    "1 + 1 = 2, 2 + 2 = 4, 4 + 4 =",
)
"""Prose, code, an instruction, JSON and numbers, so that different parts of the vocabulary are compared."""

TOLERANCE_IN_EPSILONS = 16
"""The merge rounds each weight to the model's type, half an epsilon at most; through the layers the relative difference of the logits grows to some epsilons
(measured: 2 bf16 epsilons on SmolLM2-135M, 30 layers). 16 epsilons (0.125 in bf16, 2e-6 in fp32) leave room for deeper models, and a merge
that went wrong is off by 1 and more. What is finer than that, merge_weights.py sees."""


@dataclass(frozen=True)
class Comparison:
    """Relative L2 differences of the logits: merged against base with adapter, and base with adapter against base alone."""

    error: float
    adapter_effect: float
    tolerance: float


def probe_logits(model: Any, tokenizer: Any) -> list[Any]:
    """Return the logits (tokens by vocabulary, float32 on the CPU) of each probe prompt."""
    import torch

    results = []
    with torch.no_grad():
        for text in PROBES:
            ids = tokenizer(text, return_tensors="pt").input_ids.to(model.device)
            results.append(model(input_ids=ids, use_cache=False).logits[0].float().cpu())
    return results


def compare(base: list[Any], adapted: list[Any], merged: list[Any], epsilon: float) -> Comparison:
    """Compare the logits of the three models; `epsilon` is that of the type the merged model computes in."""
    return Comparison(_relative(adapted, merged), _relative(base, adapted), TOLERANCE_IN_EPSILONS * epsilon)


def check(comparison: Comparison, finite: bool) -> None:
    """Raise RunError unless the merged model is as good as base and adapter: NotFinite for NaN, InternalError for other logits."""
    if not finite:
        raise RunError("NotFinite", "the merged model has NaN or infinite weights or logits; the adapter is broken, train it again with a lower learningRate")
    if comparison.error > comparison.tolerance:
        raise RunError(
            "InternalError",
            f"the merged model does not compute what base and adapter compute: relative difference {comparison.error:.4g} on probe prompts, "
            f"allowed {comparison.tolerance:.4g}; nothing was published",
        )
    if comparison.adapter_effect > comparison.tolerance and comparison.error > comparison.adapter_effect / 2:
        raise RunError("InternalError", "the merged model is nearer to the base than to base and adapter; nothing was published")


def all_finite(model: Any, logits: list[Any]) -> bool:
    """Return whether every weight of `model` and every logit is a finite number."""
    import torch

    return all(bool(torch.isfinite(tensor).all()) for tensor in (*model.parameters(), *logits))


def _relative(reference: list[Any], other: list[Any]) -> float:
    import torch

    left, right = torch.cat([tensor.flatten() for tensor in reference]), torch.cat([tensor.flatten() for tensor in other])
    return float((left - right).norm() / left.norm())
