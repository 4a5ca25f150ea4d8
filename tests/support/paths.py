"""Where the API server has the objects of each kind."""

from typing import Final

from tunewright.api import API_VERSION
from tunewright.api.crd import DEFINITIONS

PLURALS: Final = {each.kind.value: each.plural for each in DEFINITIONS}
"""Our kinds, as they stand in a path."""
COLLECTIONS: Final = {
    **{kind: (f"/apis/{API_VERSION}", plural) for kind, plural in PLURALS.items()},
    "Job": ("/apis/batch/v1", "jobs"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Service": ("/api/v1", "services"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
}
"""Where the objects of each kind are, by group and plural."""


def path(kind: str, namespace: str, name: str = "") -> str:
    """Return the path of a collection in a namespace, or of an object."""
    prefix, plural = COLLECTIONS[kind]
    return f"{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def everywhere(kind: str) -> str:
    """Return the path of a collection over all namespaces."""
    return "/".join(COLLECTIONS[kind])
