"""Kopf's credentials: the token of now, waited for when the one before was refused."""

import asyncio
import dataclasses
import time
from typing import Any, Final

import kopf

from tunewright.cluster.work_queue import BACKOFF_LAST_SECONDS, backoff_seconds

_REREAD_SECONDS: Final = 1.0


class Login:
    """Reads the service account's token, or that of the kubeconfig outside a cluster, each time Kopf asks.

    Kopf asks again when a token is refused, never tries one again that it has seen refused, and ends when it is given no other. But tokens are
    rotated a little before or after the file is, and a server that cannot check a token just now refuses a good one. So the answer to a refusal is
    a new token as soon as there is one, or the same again after a back-off.
    """

    def __init__(self) -> None:
        self._last: kopf.ConnectionInfo | None = None
        self._asked = -BACKOFF_LAST_SECONDS
        self._refusals = 0
        self._logins = 0

    async def __call__(self, **more: Any) -> kopf.ConnectionInfo | None:
        """Return the credentials to use from now on."""
        now = time.monotonic()
        self._refusals = self._refusals + 1 if now - self._asked < 2 * BACKOFF_LAST_SECONDS else 0
        until = now + backoff_seconds(self._refusals) if self._refusals else now
        info = _read(**more)
        while info == self._last and time.monotonic() < until:
            await asyncio.sleep(_REREAD_SECONDS)
            info = _read(**more)
        self._asked, self._last = time.monotonic(), info
        self._logins += 1
        # What differs in its priority is not what Kopf has seen refused.
        return None if info is None else dataclasses.replace(info, priority=self._logins)


def _read(**more: Any) -> kopf.ConnectionInfo | None:
    """Read the credentials."""
    return kopf.login_with_service_account(**more) or kopf.login_with_kubeconfig(**more)
