"""One pass for one key: gather, reconcile, execute."""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from tunewright.build.settings import Settings
from tunewright.cluster.cache import Cache, ResourceKey
from tunewright.cluster.execute import execute
from tunewright.cluster.gather import Foreign, gather
from tunewright.cluster.metrics import RECONCILE_SECONDS, RECONCILES
from tunewright.cluster.progress_reader import ProgressReader
from tunewright.cluster.transport import ApiError, Transport
from tunewright.reconcile.bounded import RECHECK_SECONDS
from tunewright.reconcile.registry import reconcile
from tunewright.reconcile.world import Body

LOG: Final = logging.getLogger("tunewright")

_SOON: Final = 0.2
"""After a write the resource is looked at again at once: what was made may allow the next step before the watch says so."""


@dataclass
class Reconciler:
    """What a pass needs; one for the whole operator."""

    cache: Cache
    transport: Transport
    settings: Settings
    reader: ProgressReader
    foreign: Foreign

    async def handle(self, key: ResourceKey) -> float | None:
        """Bring the resource `key` a step further; return when to come back in seconds, or None to wait for an event."""
        body = self.cache.resource(key)
        if body is None:
            self.foreign.names.pop(key, None)
            return None
        started = time.monotonic()
        now = datetime.now(UTC)
        world = await gather(key, body, self.cache, self.transport, self.reader, self.foreign)
        if world is None:
            return None
        try:
            plan = reconcile(body, world, self.settings, now)
        except ValidationError as error:
            # Only a spec that an older CRD let in gets here; the next edit of it brings the key back.
            LOG.error("%s %s/%s has a spec this version does not understand: %s", *key, error)
            return None
        if (plan.create or plan.update or plan.delete) and not await self._is_newest(key, body):
            return _SOON
        try:
            wrote = await execute(plan, key, body, self.cache, self.transport, self.foreign, now)
        except ApiError as error:
            if error.status == 404:
                # Deleted in the meantime, which the watch will say; looked at again in case it was not.
                return RECHECK_SECONDS
            if error.status == 409 and not await self._is_newest(key, body):
                return _SOON
            raise
        RECONCILES.labels(key[0].value, "ok").inc()
        RECONCILE_SECONDS.labels(key[0].value).observe(time.monotonic() - started)
        made = bool(plan.create or plan.update or plan.delete)
        return _SOON if wrote and made else plan.requeue_after

    async def _is_newest(self, key: ResourceKey, body: Body) -> bool:
        """Return whether `body` is what the API server holds; if not, that is what the next pass sees.

        A list after a restart may be old, and a watch may be behind: nothing is made or deleted for a resource that has changed or is gone.
        """
        newest = await self.transport.find(body["apiVersion"], body["kind"], key[1], key[2])
        if newest is not None and newest["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]:
            return True
        if newest is None or newest["metadata"]["uid"] != body["metadata"]["uid"]:
            self.cache.deleted(body["metadata"]["uid"])
        else:
            self.cache.wrote(newest)
        return False

    def failed(self, key: ResourceKey, error: Exception, delay: float) -> None:
        """Report a pass that failed; the queue brings the key back after `delay` seconds."""
        RECONCILES.labels(key[0].value, "error").inc()
        if isinstance(error, ApiError):
            LOG.warning("%s %s/%s: %s; again in %.1f s", *key, error, delay)
        else:
            LOG.exception("%s %s/%s: again in %.1f s", *key, delay, exc_info=error)
