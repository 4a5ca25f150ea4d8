"""Kopf's settings: it watches, and writes nothing."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any, Final

import kopf

from tunewright.build.names import MANAGED_BY

_WATCH_SECONDS: Final = 300
"""A watch is renewed after so long."""

SILENCE_SECONDS: Final = 70.0
"""The API server sends a bookmark about every minute, so a watch that is silent for longer is half-open."""

_REQUEST_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 15.0

_LIST_CHUNK: Final = 100
"""Objects asked for at a time when all are listed: a whole list at once would be the most memory the operator ever takes."""

_IDLE_SECONDS: Final = 1.0
"""How long Kopf keeps a task, and with it the object as it was sent, in case another event of that object comes."""

CHILDREN: Final = (("", "v1", "pods"), ("", "v1", "persistentvolumeclaims"), ("", "v1", "services"), ("batch", "v1", "jobs"), ("apps", "v1", "deployments"))
"""(group, version, plural) of what the operator makes, or what its Jobs and Deployments make; only those with our label are sent."""


class _Patience:
    """Seconds between tries of a list or watch that fails: for ever, for Kopf would end when they run out, and a restart would not find the API server sooner."""

    def __iter__(self) -> Iterator[float]:
        """Begin again with short waits."""
        return chain((1, 1, 2, 3, 5, 8, 13, 21), repeat(30))


class _NoDiffs(kopf.DiffBaseStorage):
    """Kopf would copy every object of every event several times to tell changing handlers what changed; there are none."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Keep nothing of an object."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Have kept nothing."""

    def store(self, **_: Any) -> None:
        """Write nothing to the object."""


def configure(*, clusterwide: bool, silence_seconds: float = SILENCE_SECONDS) -> kopf.OperatorSettings:
    """Return the settings; in namespaced mode nothing cluster-wide is listed. A watch that is silent for `silence_seconds` is taken for half-open."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.scanning.disabled = not clusterwide
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.networking.error_backoffs = _Patience()
    settings.networking.request_timeout = _REQUEST_SECONDS
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.watching.chunk_size = _LIST_CHUNK
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.inactivity_timeout = silence_seconds
    settings.watching.client_timeout = _WATCH_SECONDS + 30
    settings.watching.connect_timeout = _CONNECT_SECONDS
    ours = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
    for resource in CHILDREN:
        settings.watching.label_selectors[resource] = ours
    return settings
