"""What is kept in memory of an object: a Pod's or a Job's template is several times as large as all that is ever read of it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

Body = Mapping[str, Any]


def trimmed(body: Body) -> dict[str, Any]:
    """Return a body without what is never read: managedFields, often the larger half of it, and the most of what its Pods are told."""
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    result = {**body, "metadata": meta}
    spec = _SPECS.get(body.get("kind", ""))
    return {**result, "spec": spec(body["spec"])} if spec is not None else result


def trim(body: dict[str, Any]) -> dict[str, Any]:
    """Trim a body in place, so that whoever else holds it holds less, and return it."""
    for part, kept in trimmed(body).items():
        if kept is not body[part]:
            body[part].clear()
            body[part].update(kept)
    return body


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
