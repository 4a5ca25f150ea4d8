"""gather: the World of one resource, from the cache, a few reads and the Pods' progress."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tunewright.build.names import OWNER_UID_LABEL
from tunewright.cluster.cache import Cache, ResourceKey
from tunewright.cluster.progress_reader import ProgressReader
from tunewright.cluster.transport import Transport
from tunewright.cluster.trim import trimmed
from tunewright.contract.uris import Scheme
from tunewright.reconcile.conditions import has_ended
from tunewright.reconcile.references import locations
from tunewright.reconcile.world import World

Body = Mapping[str, Any]

_ENDS: Final = ("Succeeded", "Failed")


@dataclass
class Foreign:
    """Names that another owner was seen to hold, by the resource that wanted them."""

    names: dict[ResourceKey, set[tuple[str, str, str]]] = field(default_factory=dict)

    def add(self, key: ResourceKey, api_version: str, kind: str, name: str) -> None:
        """Remember that `key` could not make an object."""
        self.names.setdefault(key, set()).add((api_version, kind, name))


async def gather(key: ResourceKey, body: Body, cache: Cache, transport: Transport, reader: ProgressReader, foreign: Foreign) -> World | None:
    """Return what is known for the resource `body`, or None until its Pods had their first chance to speak; reads only what its next step can depend on."""
    children = cache.children(body["metadata"]["uid"])
    if has_ended(body.get("status", {})):
        return World(children=children)
    children = await _with_ends(children, body["metadata"]["uid"], key[1], transport)
    running = _running(children)
    if len(reader.readings(key, running)) < len(running):
        # The reader brings the key back within its patience: that a Pod runs and what it says is then one write.
        return None
    # A Job was told its inputs when it was made: until it has ended, no place is looked for.
    claims, configmaps = ({}, {}) if any(_works(child) for child in children) else await _places(body, key[1], transport)
    return World(
        children=children,
        resources=cache.referenced(body),
        claims=claims,
        configmaps=configmaps,
        foreign=await _still_foreign(key, body["metadata"]["uid"], transport, foreign),
        progress=reader.last(child["metadata"]["uid"] for child in children if child["kind"] == "Pod"),
    )


async def _with_ends(children: tuple[Body, ...], uid: str, namespace: str, transport: Transport) -> tuple[Body, ...]:
    """Return the children with their Pods as they are now, if a Job has ended and no Pod of it that has ended was seen.

    Jobs and Pods come by two watches, and one may be far behind the other: without its Pod a Job's result would count as lost.
    """
    ends = {owner["uid"] for pod in children if pod["kind"] == "Pod" and _phase(pod) in _ENDS for owner in pod["metadata"].get("ownerReferences", [])}
    if all(
        child["metadata"]["uid"] in ends for child in children if child["kind"] == "Job" and not _works(child) and "deletionTimestamp" not in child["metadata"]
    ):
        return children
    pods = await transport.pods(namespace, {OWNER_UID_LABEL: uid})
    return (*(child for child in children if child["kind"] != "Pod"), *map(trimmed, pods))


def _phase(pod: Body) -> str:
    """Return the phase of a Pod."""
    return str(pod.get("status", {}).get("phase"))


def _works(child: Body) -> bool:
    """Return whether the object is a Job that has not ended."""
    ended = (each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in child.get("status", {}).get("conditions", []))
    return child["kind"] == "Job" and "deletionTimestamp" not in child["metadata"] and not any(ended)


async def _places(body: Body, namespace: str, transport: Transport) -> tuple[dict[str, Body], dict[str, frozenset[str]]]:
    """Look up the claims and ConfigMaps that the spec names."""
    found = locations(body)
    claim_names = sorted({each.root for each in found if each.scheme == Scheme.PVC})
    configmap_names = sorted({each.root for each in found if each.scheme == Scheme.CONFIGMAP})
    claims = await asyncio.gather(*(transport.get("v1", "PersistentVolumeClaim", namespace, name) for name in claim_names))
    configmaps = await asyncio.gather(*(transport.get("v1", "ConfigMap", namespace, name) for name in configmap_names))
    return (
        {name: claim for name, claim in zip(claim_names, claims, strict=True) if claim is not None},
        {
            name: frozenset({*configmap.get("data", {}), *configmap.get("binaryData", {})})
            for name, configmap in zip(configmap_names, configmaps, strict=True)
            if configmap is not None
        },
    )


async def _still_foreign(key: ResourceKey, uid: str, transport: Transport, foreign: Foreign) -> frozenset[tuple[str, str]]:
    """Look again at the names that were taken; forget those that are free by now."""
    taken = set()
    for api_version, kind, name in sorted(foreign.names.get(key, ())):
        holder = await transport.get(api_version, kind, key[1], name)
        if holder is not None and not owned_by(holder, uid):
            taken.add((api_version, kind, name))
    if taken:
        foreign.names[key] = taken
    else:
        foreign.names.pop(key, None)
    return frozenset((kind, name) for _, kind, name in taken)


def owned_by(body: Body, uid: str) -> bool:
    """Return whether the resource with that uid controls the object."""
    return any(each["uid"] == uid and each.get("controller") for each in body["metadata"].get("ownerReferences", []))


def _running(children: tuple[Body, ...]) -> dict[str, str]:
    """Return the address of every running Pod that serves progress, by uid."""

    def is_serving(pod: Body) -> bool:
        """Return whether a container of the Pod (not an init container) has the port."""
        return any(port.get("name") == "progress" for container in pod["spec"].get("containers", []) for port in container.get("ports", []))

    return {
        pod["metadata"]["uid"]: pod["status"]["podIP"]
        for pod in children
        if pod["kind"] == "Pod"
        and pod.get("status", {}).get("phase") == "Running"
        and pod["status"].get("podIP")
        and "deletionTimestamp" not in pod["metadata"]
        and is_serving(pod)
    }
