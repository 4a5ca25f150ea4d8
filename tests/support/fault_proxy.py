"""An HTTP proxy between the operator and a real API server, that does what `faults` says to requests and to the events of watches."""

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from support.faults import Answer, Cut, Delay, Event, EventFault, Fault, Hang, Request, first, understand
from tunewright.build.names import MANAGER

T = TypeVar("T")

_HOP: Final = frozenset({"host", "connection", "transfer-encoding", "content-length", "content-encoding", "accept-encoding", "keep-alive"})


@dataclass(frozen=True)
class Seen:
    """A request that came, and what was answered (0: nothing)."""

    request: Request
    code: int
    at: float


@dataclass(eq=False)
class Stream:
    """An open watch of the operator; two are never equal, whatever they have in common."""

    request: Request
    response: web.StreamResponse
    connection: asyncio.Transport | None
    silent: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    held: dict[tuple[str, str, str], list[bytes]] = field(default_factory=dict)

    async def write(self, line: bytes) -> None:
        """Send a line, unless the stream is half-open."""
        async with self.lock:
            if not self.silent:
                with contextlib.suppress(ConnectionError):
                    await self.response.write(line)


class FaultProxy:
    """Serves plain HTTP on a free port in a thread of its own; `faults` and `event_faults` may be changed at any time."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.faults: list[Fault] = []
        self.event_faults: list[EventFault] = []
        self.seen: list[Seen] = []
        self.events: list[Event] = []
        self.stale: dict[str, bytes] = {}
        self.opened = 0
        """Watches begun."""
        self._lists: dict[str, tuple[str, dict[str, str]]] = {}
        self._streams: set[Stream] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._timers: set[asyncio.Task[None]] = set()

    # For the tests, from their thread.

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        self._wait(self._start())

    def stop(self) -> None:
        """Close everything."""
        self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @contextmanager
    def fault(self, *faults: Fault) -> Iterator[None]:
        """Have faults for a while."""
        self.faults.extend(faults)
        try:
            yield
        finally:
            for each in faults:
                self.faults.remove(each)

    def requests(self, namespace: str | None = None, *verbs: str) -> list[Seen]:
        """Return what came, of a namespace and of some verbs."""
        return [each for each in list(self.seen) if namespace in (None, each.request.namespace) and (not verbs or each.request.verb in verbs)]

    def end_watches(self, matches: Callable[[Request], bool], line: dict[str, Any] | None = None, *, torn: bool = False) -> int:
        """End open watches, after one last `line`; `torn` breaks the connection in the middle of an event. Return how many."""
        return self._wait(self._end(matches, line, torn))

    def watches(self) -> int:
        """Return how many watches are open."""
        return len(self._streams)

    def silence_watches(self, matches: Callable[[Request], bool]) -> int:
        """Let open watches be half-open from now on: nothing comes, and nobody closes. Return how many."""

        async def silence() -> int:
            chosen = [each for each in self._streams if matches(each.request)]
            for each in chosen:
                each.silent = True
            return len(chosen)

        return self._wait(silence())

    def record_lists(self) -> dict[str, bytes]:
        """Return what the API server answers now to each list the operator has asked for; put it in `stale` to serve it again later."""
        return self._wait(self._record())

    # In the proxy's own loop.

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=True, read_bufsize=2**22
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        await self._end(lambda _: True, None, torn=True)
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        request = understand(incoming.method, incoming.path, incoming.query, incoming.headers, body)
        code = 0
        try:
            action = first(each.before(request) for each in list(self.faults))
            if isinstance(action, Delay):
                await asyncio.sleep(action.seconds)
            elif isinstance(action, Answer):
                code = action.code
                return web.Response(status=action.code, body=action.body(), content_type="application/json", headers=action.headers)
            elif isinstance(action, Hang):
                await asyncio.Event().wait()
            elif isinstance(action, Cut) and not action.sent:
                return _closed(incoming)
            # Kopf takes a list as it comes; what our own transport asks for is the newest, which no server may answer with an older one.
            by_kopf = request.verb == "list" and not incoming.headers.get("User-Agent", "").startswith(MANAGER)
            if by_kopf and incoming.path_qs in self.stale:
                code = 200
                return web.Response(body=self.stale[incoming.path_qs], content_type="application/json")
            headers = {key: value for key, value in incoming.headers.items() if key.lower() not in _HOP}
            if by_kopf:
                self._lists[incoming.path_qs] = (incoming.path_qs, headers)
            async with self._session.request(incoming.method, self.upstream + incoming.path_qs, data=body or None, headers=headers) as answer:
                code = answer.status
                if request.verb == "watch" and code == 200:
                    return await self._watch(incoming, request, answer)
                content = await answer.read()
                for each in list(self.faults):
                    each.after(request, code)
            if isinstance(action, Cut):
                code = 0
                return _closed(incoming)
            kept = CIMultiDict((key, value) for key, value in answer.headers.items() if key.lower() not in _HOP)
            return web.Response(status=code, body=content, headers=kept)
        except aiohttp.ClientError:
            return _closed(incoming)
        finally:
            self.seen.append(Seen(request, code, time.monotonic()))

    async def _watch(self, incoming: web.Request, request: Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(incoming)
        stream = Stream(request, response, incoming.transport)
        self._streams.add(stream)
        self.opened += 1
        try:
            async for line in _lines(answer):
                await self._pass_on(stream, line)
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            self._streams.discard(stream)
        return response

    async def _pass_on(self, stream: Stream, line: bytes) -> None:
        """Send one event of a watch, or do to it what a fault says."""
        if b'"type":"BOOKMARK"' in line[:40] or b'"type":"ERROR"' in line[:40]:
            await stream.write(line)
            return
        event = Event.parse(stream.request.resource, line)
        self.events.append(event)
        fault = next((each for each in self.event_faults if each.takes(event)), None)
        waiting = stream.held.pop(event.about, None)
        if waiting is not None:
            # The one held back: dropped now that it is superseded, or delivered before this one.
            for each in waiting:
                await stream.write(each)
        if fault is None:
            await stream.write(line)
        elif fault.how == "twice":
            await stream.write(line)
            await stream.write(line)
        else:
            stream.held[event.about] = [] if fault.how == "drop" else [line]
            timer = asyncio.create_task(self._release(stream, event, fault))
            self._timers.add(timer)
            timer.add_done_callback(self._timers.discard)

    async def _release(self, stream: Stream, event: Event, fault: EventFault) -> None:
        """Deliver an event held back that nothing has superseded in time."""
        deadline = time.monotonic() + fault.seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if event.about not in stream.held:
                fault.dropped = fault.how == "drop"
                return
        if stream.held.pop(event.about, None) is not None:
            await stream.write(event.line)

    async def _end(self, matches: Callable[[Request], bool], line: dict[str, Any] | None, torn: bool) -> int:
        chosen = [each for each in self._streams if matches(each.request)]
        for each in chosen:
            if line is not None:
                await each.write(json.dumps(line).encode() + b"\n")
            if torn:
                await each.write(b'{"type":"MODIFIED","object":{"kind":')
            # Without the last chunk the client sees a broken connection, not an end.
            if not torn:
                with contextlib.suppress(ConnectionError):
                    await each.response.write_eof()
            # Kept alive it would be used again, while the handler here still reads from the server.
            if each.connection is not None:
                each.connection.close()
            self._streams.discard(each)
        return len(chosen)

    async def _record(self) -> dict[str, bytes]:
        found = {}
        for path, headers in list(self._lists.values()):
            if "continue=" in path or "/namespaces/" in path:
                continue
            whole: dict[str, Any] = {}
            more = ""
            while not whole or more:
                async with self._session.get(self.upstream + path + more, headers=headers) as answer:
                    part = await answer.json()
                whole = {**part, "items": [*whole.get("items", []), *part["items"]]}
                token = part["metadata"].pop("continue", "")
                more = f"&continue={token}" if token else ""
            found[path] = json.dumps(whole).encode()
        return found


def _closed(incoming: web.Request) -> web.Response:
    """Close the connection; the answer is never sent."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=500)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the events of a watch, each with its newline."""
    rest = b""
    async for data in answer.content.iter_any():
        *whole, rest = (rest + data).split(b"\n")
        for each in whole:
            yield each + b"\n"
