"""What is kept in memory of an object: a Pod's or a Job's template is several times as large as all that is ever read of it."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

Body = Mapping[str, Any]

_SHARED_LENGTH: Final = 40
"""Strings up to this length are kept once for all objects: names of fields, reasons, labels, uids of owners, times."""


def trimmed(body: Body) -> dict[str, Any]:
    """Return a body without what is never read: managedFields, often the larger half of it, and the most of what its Pods are told.

    What is left is kept with its strings shared, which halves it: each answer of the API server brings its own copy of every word.
    """
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    result = {**body, "metadata": meta}
    spec = _SPECS.get(body.get("kind", ""))
    kept: dict[str, Any] = _shared(result if spec is None else {**result, "spec": spec(body["spec"])})
    return kept


def trim(body: dict[str, Any]) -> dict[str, Any]:
    """Trim a body in place, so that whoever else holds it holds less, and return it."""
    for part, kept in trimmed(body).items():
        if isinstance(kept, dict):
            body[part].clear()
            body[part].update(kept)
    return body


def _shared(node: Any) -> Any:
    """Return what `node` says, with the strings that other objects have as well."""
    if isinstance(node, dict):
        return {sys.intern(key): _shared(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_shared(value) for value in node]
    return sys.intern(node) if isinstance(node, str) and len(node) <= _SHARED_LENGTH else node


def _pod(spec: Body) -> dict[str, Any]:
    """Keep the ports, for who has the progress port is asked for its progress, and the node, which is named when it does not answer."""
    node = {"nodeName": spec["nodeName"]} if spec.get("nodeName") else {}
    return {"containers": [{"ports": each["ports"]} for each in spec.get("containers", []) if "ports" in each], **node}


def _job(spec: Body) -> dict[str, Any]:
    """Keep what is set on the Job itself, and of its template the environment, which has the RunSpec."""
    containers = [{"env": each["env"]} for each in spec.get("template", {}).get("spec", {}).get("containers", []) if "env" in each]
    return {**spec, "template": {"spec": {"containers": containers}}}


def _deployment(spec: Body) -> dict[str, Any]:
    """Keep all but the template: what it was made from is told by a hash in the annotations."""
    return {key: value for key, value in spec.items() if key != "template"}


_SPECS: Final[dict[str, Callable[[Body], dict[str, Any]]]] = {"Pod": _pod, "Job": _job, "Deployment": _deployment}
