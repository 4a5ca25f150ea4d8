"""Reads `/progress` of running Pods: at a bounded rate, with a short patience, and never as a reason to fail."""

import asyncio
import ipaddress
from typing import Final

import aiohttp
from pydantic import ValidationError

from tunewright.contract.progress import Progress
from tunewright.contract.run_spec import PROGRESS_PORT

_LEAST_SECONDS_BETWEEN: Final = 4.0
_PATIENCE: Final = aiohttp.ClientTimeout(total=3.0)
_MOST_BYTES: Final = 16384
_AT_ONCE: Final = 32


class ProgressReader:
    """Keeps the last answer of each Pod, so that a burst of events asks it once."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Progress | None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def read(self, addresses: dict[str, str]) -> dict[str, Progress | None]:
        """Return the reading of each Pod (uid to address), None for one that does not answer."""
        readings = await asyncio.gather(*(self._read(uid, address) for uid, address in addresses.items()))
        return dict(zip(addresses, readings, strict=True))

    def forget(self, uid: str) -> None:
        """Drop the answer of a Pod that is gone."""
        self._last.pop(uid, None)

    async def _read(self, uid: str, address: str) -> Progress | None:
        """Ask one Pod, unless it was asked just now."""
        now = asyncio.get_running_loop().time()
        last = self._last.get(uid)
        if last is not None and now - last[0] < _LEAST_SECONDS_BETWEEN:
            return last[1]
        async with self._slots:
            reading = await self._ask(address)
        self._last[uid] = (now, reading)
        return reading

    async def _ask(self, address: str) -> Progress | None:
        """Send the request; what is not a Progress counts as no answer."""
        host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_PATIENCE)
        try:
            async with self._session.get(f"http://{host}:{PROGRESS_PORT}/progress", allow_redirects=False) as response:
                if response.status != 200:
                    return None
                return Progress.model_validate_json(await response.content.read(_MOST_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None
