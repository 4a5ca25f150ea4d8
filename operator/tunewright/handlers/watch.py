"""Kopf's handlers: indexes of what is seen, and keys into the work queue."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

import kopf

from tunewright.api import GROUP, VERSION
from tunewright.api.common import Kind
from tunewright.api.crd import DEFINITIONS
from tunewright.build.names import KIND_LABEL, NAME_LABEL, OWNER_UID_LABEL
from tunewright.build.settings import Settings
from tunewright.cluster.cache import Cache, ResourceKey
from tunewright.cluster.gather import Foreign
from tunewright.cluster.metrics import QUEUE_DEPTH, STALLED_SECONDS
from tunewright.cluster.progress_reader import ProgressReader
from tunewright.cluster.reconciler import Reconciler
from tunewright.cluster.sweep import sweep
from tunewright.cluster.transport import Transport
from tunewright.cluster.trim import trim
from tunewright.cluster.work_queue import WorkQueue
from tunewright.handlers.configuration import CHILDREN
from tunewright.handlers.login import Login
from tunewright.reconcile.references import references

_WORKERS: Final = 8
_SWEEP_SECONDS: Final = 300.0
"""How often it is looked for what is gone without a word, if no list gives a reason to look sooner."""
_SWEEP_AFTER_LIST_SECONDS: Final = 3.0
"""How long after the last object of a list: what the list had is then seen, what it had not is looked for."""


class Runtime:
    """The operator's parts that live as long as it does."""

    def __init__(self, settings: Settings, namespaces: Collection[str] = ()) -> None:
        self.settings = settings
        self.namespaces = namespaces
        self.indexed = asyncio.Event()
        """Set when all there was at the start is in the indexes: nothing is decided on a part of it."""
        self.queue: WorkQueue[ResourceKey] | None = None
        self.cache: Cache | None = None
        self._transport: Transport | None = None
        self._reader: ProgressReader | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._listed = asyncio.Event()

    async def start(self, resources: Any, children: Any, dependents: Any) -> None:
        """Connect, and start the workers on Kopf's indexes."""
        self.indexed.clear()
        self.queue = WorkQueue()
        self.cache = Cache(resources, children, dependents)
        self._transport = await Transport.connect()
        self._reader = ProgressReader(self.queue.add)
        reconciler = Reconciler(self.cache, self._transport, self.settings, self._reader, Foreign())

        async def handle(key: ResourceKey) -> float | None:
            await self.indexed.wait()
            return await reconciler.handle(key)

        self._workers = [asyncio.create_task(self.queue.work(handle, reconciler.failed)) for _ in range(_WORKERS)]
        self._workers.append(asyncio.create_task(self._sweep(self.queue, self.cache, self._transport)))
        QUEUE_DEPTH.set_function(lambda: len(self.queue or ()))
        STALLED_SECONDS.set_function(self.stalled_seconds)

    async def close(self) -> None:
        """Stop the workers and close the connections."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._reader is not None:
            await self._reader.close()
        if self._transport is not None:
            await self._transport.close()
        self.queue, self._workers = None, []

    async def _sweep(self, queue: WorkQueue[ResourceKey], cache: Cache, transport: Transport) -> None:
        """Look for what is gone without a word, after every list and now and then."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._listed.wait(), _SWEEP_SECONDS)
            while self._listed.is_set():
                self._listed.clear()
                await asyncio.sleep(_SWEEP_AFTER_LIST_SECONDS)
            for key in await sweep(cache, transport, self.namespaces):
                queue.add(key)

    def listed(self) -> None:
        """Learn that an object came by a list: a watch has begun, or begun again."""
        self._listed.set()

    def stalled_seconds(self) -> float:
        """Return how long reconciling has been stuck; 0 before it began. A worker that has ended counts as stuck for good."""
        if self.queue is None:
            return 0.0
        if any(worker.done() for worker in self._workers):
            return float("inf")
        return self.queue.stalled_seconds() if self.indexed.is_set() else 0.0

    def resource_seen(self, key: ResourceKey, uid: str, *, gone: bool) -> None:
        """Queue a resource of which something was seen, and those that refer to it."""
        assert self.queue is not None
        assert self.cache is not None
        if gone:
            self.cache.forget(uid)
        self.queue.add(key)
        for dependent in self.cache.dependents(key):
            self.queue.add(dependent)

    def child_seen(self, owner: ResourceKey, uid: str, *, gone: bool) -> None:
        """Queue the resource one of whose objects was seen."""
        assert self.queue is not None
        assert self.cache is not None
        assert self._reader is not None
        if gone:
            self.cache.forget(uid)
            self._reader.forget(uid)
        self.queue.add(owner)


def register(registry: kopf.OperatorRegistry, runtime: Runtime) -> None:
    """Register the handlers; none of them writes, so Kopf adds no finalizer and no annotation."""

    credentials = Login()

    @kopf.on.login(registry=registry)
    async def login(**more: Any) -> kopf.ConnectionInfo | None:
        return await credentials(**more)

    @kopf.on.startup(registry=registry)
    async def start(**indexes: Any) -> None:
        await runtime.start(indexes["resources"], indexes["children"], indexes["dependents"])

    # Kopf holds an object for a while after it was sent; what it holds is trimmed with what is kept.
    async def resources(body: kopf.Body, **_: Any) -> dict[ResourceKey, dict[str, Any]]:
        return {_key(body): trim(dict(body))}

    async def dependents(body: kopf.Body, **_: Any) -> dict[ResourceKey, ResourceKey]:
        kind, namespace, name = _key(body)
        return {(other_kind, namespace, other_name): (kind, namespace, name) for other_kind, other_name in references(body)}

    async def children(body: kopf.Body, **_: Any) -> dict[str, dict[str, Any]] | None:
        uid = body["metadata"].get("labels", {}).get(OWNER_UID_LABEL)
        return {uid: trim(dict(body))} if uid else None

    async def resource_event(body: kopf.Body, type: str | None, **_: Any) -> None:
        if type is None:
            runtime.listed()
        runtime.resource_seen(_key(body), body["metadata"]["uid"], gone=type == "DELETED")

    async def child_event(body: kopf.Body, type: str | None, **_: Any) -> None:
        if type is None:
            runtime.listed()
        labels = body["metadata"].get("labels", {})
        if labels.get(KIND_LABEL) in list(Kind) and NAME_LABEL in labels:
            runtime.child_seen((Kind(labels[KIND_LABEL]), body["metadata"]["namespace"], labels[NAME_LABEL]), body["metadata"]["uid"], gone=type == "DELETED")

    for kind in DEFINITIONS:
        kopf.index(GROUP, VERSION, kind.plural, id="resources", registry=registry)(resources)
        kopf.index(GROUP, VERSION, kind.plural, id="dependents", registry=registry)(dependents)
        kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)(resource_event)
    for group, version, plural in CHILDREN:
        kopf.index(group, version, plural, id="children", registry=registry)(children)
        kopf.on.event(group, version, plural, registry=registry)(child_event)


def _key(body: kopf.Body) -> ResourceKey:
    """Return the key of one of our resources."""
    return Kind(body["kind"]), body["metadata"]["namespace"], body["metadata"]["name"]
