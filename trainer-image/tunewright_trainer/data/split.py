"""Splits rows in training and evaluation by their content and a seed, so that their order does not matter."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from tunewright_trainer.data.dedupe import messages_key, row_key
from tunewright_trainer.data.rows import Row

T = TypeVar("T")


def split(rows: Sequence[T], row_of: Callable[[T], Row], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Return (training, evaluation), both in the order of `rows`.

    `fraction` (0 to below 1) of the rows, rounded, goes to evaluation; with 2 rows or more and a fraction above 0 each side has one at least.
    Rows with the same prompt stay on one side, so that no evaluation prompt was trained on; only when all rows have the same prompt are they split one by one.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the evaluation fraction is {fraction}, it must be at least 0 and below 1")
    if fraction == 0 or len(rows) < 2:
        return list(rows), []
    groups: dict[bytes, list[int]] = {}
    for index, item in enumerate(rows):
        groups.setdefault(messages_key(row_of(item).prompt), []).append(index)
    if len(groups) == 1:
        groups = {row_key(row_of(item)): [index] for index, item in enumerate(rows)}
    chosen = _choose(groups, min(len(rows) - 1, max(1, round(fraction * len(rows)))), seed)
    return [item for index, item in enumerate(rows) if index not in chosen], [item for index, item in enumerate(rows) if index in chosen]


def _choose(groups: dict[bytes, list[int]], wanted: int, seed: int) -> set[int]:
    """Return the rows of the first groups in the order of their seeded hashes, until `wanted` is reached; a group too big for the rest is passed over."""
    order = sorted(groups, key=lambda key: hashlib.sha256(str(seed).encode() + b":" + key).digest())
    chosen: set[int] = set()
    for key in order:
        if len(chosen) + len(groups[key]) <= wanted:
            chosen.update(groups[key])
    if not chosen:
        # Every group is bigger than what is wanted: the smallest one comes closest. It is never all rows, there are two groups at least.
        chosen.update(groups[min(order, key=lambda key: len(groups[key]))])
    return chosen
