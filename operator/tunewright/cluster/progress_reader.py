"""Reads `/progress` of running Pods: at a bounded rate, with a short patience, and never as a reason to fail or to wait."""

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from pydantic import ValidationError

from tunewright.cluster.cache import ResourceKey
from tunewright.contract.progress import Progress
from tunewright.contract.run_spec import PROGRESS_PORT

_LEAST_SECONDS_BETWEEN: Final = 4.0
_PATIENCE: Final = aiohttp.ClientTimeout(total=3.0)
_MOST_BYTES: Final = 16384
_AT_ONCE: Final = 128
"""So many that hundreds of silent Pods, which are waited for to the end, leave room for those that answer."""


@dataclass(frozen=True)
class _Answer:
    at: float
    reading: Progress | None


class ProgressReader:
    """Keeps the last answer of each Pod and asks in the background; whoever got no answer or an old one is woken by `wake` when there is another."""

    def __init__(self, wake: Callable[[ResourceKey], None]) -> None:
        self._wake = wake
        self._last: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Stop asking and close the connections."""
        asking = tuple(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def readings(self, key: ResourceKey, addresses: Mapping[str, str]) -> dict[str, Progress | None]:
        """Return the last answer of each Pod (uid to address), None for one that did not answer; a Pod not asked before is missing.

        Pods that were not asked just now are asked again, so that a burst of events asks each once.
        """
        now = asyncio.get_running_loop().time()
        for uid, address in addresses.items():
            last = self._last.get(uid)
            if uid not in self._asking and (last is None or now - last.at >= _LEAST_SECONDS_BETWEEN):
                self._asking[uid] = asyncio.create_task(self._refresh(key, uid, address))
        return self.last(addresses)

    def last(self, uids: Iterable[str]) -> dict[str, Progress | None]:
        """Return what those Pods answered last, of those that were ever asked, and ask none."""
        return {uid: self._last[uid].reading for uid in uids if uid in self._last}

    def forget(self, uid: str) -> None:
        """Drop the answer of a Pod that is gone."""
        self._last.pop(uid, None)
        asking = self._asking.pop(uid, None)
        if asking is not None:
            asking.cancel()

    async def _refresh(self, key: ResourceKey, uid: str, address: str) -> None:
        """Ask one Pod, and wake its resource if it says something else than before."""
        try:
            async with self._slots:
                reading = await self._ask(address)
            before, self._last[uid] = self._last.get(uid), _Answer(asyncio.get_running_loop().time(), reading)
        finally:
            if self._asking.get(uid) is asyncio.current_task():
                del self._asking[uid]
        if before is None or before.reading != reading:
            self._wake(key)

    async def _ask(self, address: str) -> Progress | None:
        """Send the request; what is not a Progress counts as no answer."""
        host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        if self._session is None:
            # The slots are the one limit: waiting for a place in the connector would count as a Pod's silence.
            self._session = aiohttp.ClientSession(timeout=_PATIENCE, connector=aiohttp.TCPConnector(limit=0, force_close=True))
        try:
            async with self._session.get(f"http://{host}:{PROGRESS_PORT}/progress", allow_redirects=False) as response:
                if response.status != 200:
                    return None
                return Progress.model_validate_json(await response.content.read(_MOST_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None
