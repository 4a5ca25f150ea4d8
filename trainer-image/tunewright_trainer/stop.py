"""SIGTERM: verbs end at once, training first finishes its step and saves a checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tunewright_trainer.errors import StopRequested
from tunewright_trainer.log import log


class StopSignal:
    """Whether SIGTERM came. Outside `deferred` the process ends at once; inside, the code asks `requested`."""

    def __init__(self) -> None:
        self.requested = False
        self._is_deferred = False
        self._end: Callable[[], None] | None = None

    def install(self, end: Callable[[], None]) -> None:
        """Handle SIGTERM and SIGINT from now on; main thread only.

        `end` ends the process. An exception would not do: pools of downloads and hashes wait for their threads before they let one pass,
        which takes longer than a Pod's grace period when a file is big.
        """
        self._end = end
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def check(self) -> None:
        """Raise StopRequested when a signal came."""
        if self.requested:
            raise StopRequested

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal only sets `requested`; nothing is raised at the end either: the code inside decides."""
        self.check()
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        already = self.requested
        self.requested = True
        if already:
            return
        log(f"got {signal.Signals(number).name}: " + ("saving a checkpoint after this step" if self._is_deferred else "stopping"))
        if not self._is_deferred and self._end is not None:
            self._end()
