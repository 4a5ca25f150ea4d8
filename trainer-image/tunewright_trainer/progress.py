"""The board a verb writes its progress on; the HTTP server reads it from another thread."""

import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from tunewright.contract.progress import Progress
from tunewright_trainer.log import log, now_text

Verb = Literal["prepare", "train", "merge", "evaluate", "fetch"]


class ProgressBoard:
    """The latest reading of a run. Safe to use from several threads."""

    def __init__(self, verb: Verb, clock: Callable[[], str] = now_text) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reading = Progress(verb=verb, phase="Starting", percent=0, updated_time=clock())
        self._set_at = time.monotonic()

    def reading(self) -> Progress:
        """Return the latest figures as of now: a long step or an evaluation moves the ETA, and `updated_time` says when it was asked."""
        with self._lock:
            eta = self._reading.eta_seconds
            passed = int(time.monotonic() - self._set_at)
            return self._reading.model_copy(update={"updated_time": self._clock(), "eta_seconds": None if eta is None else max(0, eta - passed)})

    def update(self, **fields: Any) -> None:
        """Set fields of the reading by name; `percent` never goes back and stays below 100 until `done`. A None takes a value away."""
        with self._lock:
            before = self._reading
            merged = before.model_dump() | fields | {"updated_time": self._clock()}
            merged["percent"] = max(before.percent, min(99, int(merged["percent"])))
            self._reading = Progress.model_validate(merged)
            self._set_at = time.monotonic()

    def phase(self, name: str, percent: int | None = None) -> None:
        """Enter a phase and say so in the log."""
        log(f"phase {name}")
        self.update(phase=name, **({} if percent is None else {"percent": percent}))

    def done(self) -> None:
        """Set 100 percent: the result is published."""
        with self._lock:
            self._reading = self._reading.model_copy(update={"phase": "Done", "percent": 100, "eta_seconds": 0, "updated_time": self._clock()})


def share(done: float, total: float, first: int, last: int) -> int:
    """Return the percent between `first` and `last` that `done` of `total` stands for."""
    return first if total <= 0 else first + int((last - first) * min(1.0, done / total))


def eta(done: float, total: float, seconds: float) -> int | None:
    """Return the seconds left when `done` of `total` took `seconds`, or None before anything is done."""
    return None if done <= 0 else max(0, round((total - done) * seconds / done))
