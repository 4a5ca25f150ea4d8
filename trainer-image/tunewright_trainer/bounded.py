"""Bounds time and memory of what runs inside, in this process: for code of others that is interpreted here, such as chat templates."""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

_AGAIN_SECONDS: Final = 0.1
"""A library that swallows the exception gets it again."""


class TooMuch(Exception):
    """What ran inside took too long or too much memory; the message says which."""


@contextmanager
def bounded(seconds: float, more_bytes: int) -> Iterator[None]:
    """Raise TooMuch in what runs inside after `seconds`, or when it takes `more_bytes` of memory. Main thread only, as every handler of signals."""

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("only the main thread can be bounded")
    is_inside = True

    def end(number: int, frame: FrameType | None) -> None:
        if is_inside:
            raise TooMuch(f"ran for more than {seconds:g} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, end)
    # The limit is on what is mapped, which torch and CUDA have much of; so it is counted from what there is now.
    limit = _mapped_bytes() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard))
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    try:
        yield
    except MemoryError as error:
        raise TooMuch(f"took more than {more_bytes >> 20} MiB of memory") from error
    finally:
        is_inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _mapped_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()
