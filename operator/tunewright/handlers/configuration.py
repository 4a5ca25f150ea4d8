"""Kopf's settings: it watches, and writes nothing."""

from typing import Any, Final

import kopf

from tunewright.build.names import MANAGED_BY

_WATCH_SECONDS: Final = 300
"""A watch is renewed after so long: a half-open stream is noticed, and the list of it is served from the API server's cache."""

_LIST_CHUNK: Final = 250
"""Objects asked for at a time when all are listed: a whole list at once would be the most memory the operator ever takes."""

_IDLE_SECONDS: Final = 1.0
"""How long Kopf keeps a task, and with it the object as it was sent, in case another event of that object comes."""

CHILDREN: Final = (("", "v1", "pods"), ("", "v1", "persistentvolumeclaims"), ("", "v1", "services"), ("batch", "v1", "jobs"), ("apps", "v1", "deployments"))
"""(group, version, plural) of what the operator makes, or what its Jobs and Deployments make; only those with our label are sent."""


class _NoDiffs(kopf.DiffBaseStorage):
    """Kopf would copy every object of every event several times to tell changing handlers what changed; there are none."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Keep nothing of an object."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Have kept nothing."""

    def store(self, **_: Any) -> None:
        """Write nothing to the object."""


def configure(*, clusterwide: bool) -> kopf.OperatorSettings:
    """Return the settings; in namespaced mode nothing cluster-wide is listed."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.scanning.disabled = not clusterwide
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.watching.chunk_size = _LIST_CHUNK
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.client_timeout = _WATCH_SECONDS + 30
    settings.watching.connect_timeout = 15
    ours = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
    for resource in CHILDREN:
        settings.watching.label_selectors[resource] = ours
    return settings
