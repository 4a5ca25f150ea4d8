"""Many requests at once to a server of `api_server.py`, as the admin."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from support.api_server import Body

_AT_ONCE: Final = 32


class AsyncApi:
    """A pool of connections; `send` waits while too many requests are under way."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, token: str, watches: int) -> AsyncIterator["AsyncApi"]:
        """Connect for the block; each of the `watches` keeps a connection to itself."""
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        connector = aiohttp.TCPConnector(ssl=tls, limit=_AT_ONCE + watches)
        headers = {"Authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector, headers=headers, read_bufsize=2**22, timeout=timeout) as http:
            yield cls(http)

    async def send(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> tuple[int, Body]:
        """Return the code and the body of the answer, whatever it is."""
        data = None if body is None else json.dumps(body)
        async with self._slots, self._http.request(method, path, data=data, headers={"Content-Type": content_type}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def must(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Body:
        """Send what the server must accept; RuntimeError has its refusal."""
        code, answer = await self.send(method, path, body, content_type)
        if code >= 300:
            raise RuntimeError(f"{method} {path}: {code} {answer}")
        return answer

    async def watch(self, collection: str) -> AsyncIterator[Body]:
        """Yield the events of a collection, first those that make up what is there.

        The server ends a watch that does not keep up; it goes on from the last event. RuntimeError when that is too long ago.
        """
        since = ""
        while True:
            query = {"watch": "1", "timeoutSeconds": "3600", **({"resourceVersion": since} if since else {})}
            async with self._http.get(collection, params=query) as stream:
                if stream.status == 429:  # its cache is not filled yet
                    await asyncio.sleep(float(stream.headers.get("Retry-After", "1")))
                    continue
                stream.raise_for_status()
                async for line in stream.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"the watch of {collection}: {event['object']}")
                    yield event
                    since = event["object"]["metadata"]["resourceVersion"]
