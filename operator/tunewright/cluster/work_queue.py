"""The work queue: a key waits once however often it is added, is never worked on twice at once, and backs off on errors."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

BACKOFF_FIRST_SECONDS: Final = 0.5
BACKOFF_LAST_SECONDS: Final = 60.0


def backoff_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row (1 or more): doubled each time, up to a minute."""
    return float(min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures - 1, 16)))


@dataclass
class _Due:
    at: float
    serial: int


class WorkQueue(Generic[KeyT]):
    """Keys that are due now or later. `add` moves a key only forward in time, so a requeue never delays an event."""

    def __init__(self) -> None:
        self._due: dict[KeyT, _Due] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._serial = itertools.count()
        self._running: dict[KeyT, float] = {}
        self._again: dict[KeyT, float] = {}
        self._failures: dict[KeyT, int] = {}
        self._not_before: dict[KeyT, float] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """The number of keys that wait."""
        return len(self._due)

    def stalled_seconds(self) -> float:
        """Return how long the longest-kept key has been worked on, or has been due without being taken."""
        now = asyncio.get_running_loop().time()
        return max([0.0, *(now - since for since in self._running.values()), *(now - due.at for due in self._due.values())])

    def add(self, key: KeyT, delay: float = 0.0) -> None:
        """Make `key` due in `delay` seconds, or earlier if it already was."""
        at = max(asyncio.get_running_loop().time() + delay, self._not_before.get(key, 0.0))
        if key in self._running:
            self._again[key] = min(at, self._again.get(key, at))
            return
        due = self._due.get(key)
        if due is not None and due.at <= at:
            return
        serial = next(self._serial)
        self._due[key] = _Due(at, serial)
        heapq.heappush(self._heap, (at, serial, key))
        self._changed.set()

    async def work(self, handle: Callable[[KeyT], Awaitable[float | None]], on_error: Callable[[KeyT, Exception, float], None]) -> None:
        """Take keys for ever, one at a time; run several of these for several workers.

        `handle` returns when to come back, in seconds, or None; an exception is reported and the key comes back after its back-off,
        or later if the exception's `retry_after` says so: until then no event brings it back either.
        """
        while True:
            key = await self._take()
            delay: float | None = None
            try:
                delay = await handle(key)
                self._failures.pop(key, None)
                self._not_before.pop(key, None)
            except Exception as error:
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                asked = float(getattr(error, "retry_after", 0.0))
                delay = max(backoff_seconds(failures), asked)
                self._not_before[key] = asyncio.get_running_loop().time() + asked
                on_error(key, error, delay)
            finally:
                self._running.pop(key, None)
                again = self._again.pop(key, None)
                if again is not None:
                    # An event that came while the key was failing waits out the back-off all the same.
                    wait = max(0.0, again - asyncio.get_running_loop().time())
                    delay = wait if key not in self._failures else max(wait, delay or 0.0)
                if delay is not None:
                    self.add(key, delay)

    async def _take(self) -> KeyT:
        """Wait for the next key that is due."""
        loop = asyncio.get_running_loop()
        while True:
            while self._heap:
                at, serial, key = self._heap[0]
                due = self._due.get(key)
                if due is None or due.serial != serial:
                    heapq.heappop(self._heap)  # the key was moved forward; this is its old place
                    continue
                if at <= loop.time():
                    heapq.heappop(self._heap)
                    del self._due[key]
                    self._running[key] = loop.time()
                    return key
                break
            self._changed.clear()
            timeout = self._heap[0][0] - loop.time() if self._heap else None
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue
