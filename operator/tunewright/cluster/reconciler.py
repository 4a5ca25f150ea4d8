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
from tunewright.reconcile.registry import reconcile

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
        try:
            wrote = await execute(plan, key, body, self.cache, self.transport, self.foreign, now)
        except ApiError as error:
            if error.status == 404 and plan.status is not None:
                return None  # deleted in the meantime
            if error.status == 422 and "test" in error.message:
                return _SOON  # another object of the same name by now
            raise
        RECONCILES.labels(key[0].value, "ok").inc()
        RECONCILE_SECONDS.labels(key[0].value).observe(time.monotonic() - started)
        made = bool(plan.create or plan.update or plan.delete)
        return _SOON if wrote and made else plan.requeue_after

    def failed(self, key: ResourceKey, error: Exception, delay: float) -> None:
        """Report a pass that failed; the queue brings the key back after `delay` seconds."""
        RECONCILES.labels(key[0].value, "error").inc()
        if isinstance(error, ApiError | OSError | TimeoutError):
            LOG.warning("%s %s/%s: %s; again in %.1f s", *key, error or type(error).__name__, delay)
        else:
            LOG.exception("%s %s/%s: again in %.1f s", *key, delay, exc_info=error)
