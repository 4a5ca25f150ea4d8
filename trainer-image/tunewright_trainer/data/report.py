"""The report of a prepared data set, `report.json`: counts, problems with their lines, and how long the rows are in tokens."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunewright.contract.run_result import DataCounts
from tunewright_trainer.data.read import Problem

LISTED_PROBLEMS = 100


def build_report(
    counts: DataCounts, problems: Sequence[Problem], too_long: Sequence[tuple[str, int, int]], lengths: Sequence[int], max_length: int
) -> dict[str, Any]:
    """Return the report as JSON-ready data. `too_long` has (file, line, tokens); `lengths` are the tokens of the rows kept."""
    return {
        "counts": counts.model_dump(mode="json", by_alias=True),
        "reasons": dict(sorted(Counter(problem.reason for problem in problems).items())),
        "problems": [asdict(problem) for problem in problems[:LISTED_PROBLEMS]],
        "tooLong": [{"file": file, "line": line, "tokens": tokens} for file, line, tokens in too_long[:LISTED_PROBLEMS]],
        "maxLength": max_length,
        "tokens": summary(lengths),
        "histogram": histogram(lengths),
    }


def summary(lengths: Sequence[int]) -> dict[str, int]:
    """Return total, least, median, 95th percentile (nearest rank) and greatest number of tokens a row."""
    if not lengths:
        return {}
    ordered = sorted(lengths)
    rank = max(0, -(-95 * len(ordered) // 100) - 1)
    return {"total": sum(ordered), "min": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "p95": ordered[rank], "max": ordered[-1]}


def histogram(lengths: Sequence[int]) -> list[dict[str, int]]:
    """Return the rows in buckets of doubling width: up to 16 tokens, up to 32 and so on; empty buckets at the ends are left out."""
    if not lengths:
        return []
    buckets: Counter[int] = Counter(max(16, 1 << (length - 1).bit_length()) for length in lengths)
    bounds = [1 << power for power in range(min(buckets).bit_length() - 1, max(buckets).bit_length())]
    return [{"upTo": bound, "rows": buckets[bound]} for bound in bounds]
