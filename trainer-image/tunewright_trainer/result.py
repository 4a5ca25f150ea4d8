"""Writes the result where the kubelet reads it, cut to what fits there."""

from pathlib import Path

from tunewright.contract.run_result import MAX_RESULT_BYTES, EvaluationScores, RunResult


def fit(result: RunResult, limit: int = MAX_RESULT_BYTES) -> RunResult:
    """Return `result` cut to `limit` bytes of JSON: first categories of the scores go (the same for both models), then the message's end.

    Numbers and the artifact are never cut. Raises ValueError when they alone are over `limit`.
    """
    while _size(result) > limit and result.scores is not None and max(len(result.scores.model), len(result.scores.baseline)) > 1:
        keep = max(len(result.scores.model), len(result.scores.baseline)) - 1
        shorter = EvaluationScores(model=result.scores.model[:keep], baseline=result.scores.baseline[:keep])
        result = result.model_copy(update={"scores": shorter})
    while _size(result) > limit and result.message:
        # One character can take 4 bytes, and more when JSON escapes it, so the cut is measured again each time.
        excess = _size(result) - limit
        keep = max(0, len(result.message) - 1 - max(1, excess // 6))
        result = result.model_copy(update={"message": result.message[:keep].rstrip() + "…" if keep else ""})
    if _size(result) > limit:
        raise ValueError(f"a result without message and categories is {_size(result)} bytes, over {limit}")
    return result


def write_result(result: RunResult, path: Path) -> None:
    """Write `result` to the termination message at `path`; the file exists already in a Pod, as a mount that cannot be renamed over."""
    path.write_text(fit(result).to_json(), encoding="utf-8")


def _size(result: RunResult) -> int:
    return len(result.to_json().encode())
