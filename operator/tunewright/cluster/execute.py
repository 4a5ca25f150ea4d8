"""execute: does what a Plan says, in an order that a crash at any point leaves mendable: objects, then status, then events."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tunewright.build.names import MANAGER
from tunewright.cluster.cache import Cache, ResourceKey
from tunewright.cluster.gather import Foreign, owned_by
from tunewright.cluster.transport import ApiError, Transport
from tunewright.reconcile.plan import Event, Plan
from tunewright.reconcile.resource import timestamp

Body = Mapping[str, Any]

_APPLIED: Final = frozenset({"Deployment", "Service"})
"""Kinds whose content changes over their life, so that one field manager must own it from the start."""


async def execute(plan: Plan, key: ResourceKey, body: Body, cache: Cache, transport: Transport, foreign: Foreign, now: datetime) -> bool:
    """Carry out `plan` for the resource `body`; return whether anything was written."""
    wrote = False
    for manifest in plan.create:
        wrote = True
        if not await _create(manifest, key, body["metadata"]["uid"], cache, transport, foreign):
            # Another object holds the name: the next pass says so in a condition.
            return True
    for manifest in plan.update:
        wrote = True
        cache.wrote(await transport.apply(manifest, force=True))
    if plan.status is not None and plan.status != body.get("status"):
        wrote = True
        cache.wrote(await transport.replace_status(dict(body), plan.status))
    for event in plan.events:
        await _record(event, body, transport, now)
    for delete in plan.delete:
        wrote = True
        await transport.delete(delete.api_version, delete.kind, key[1], delete.name, delete.uid)
        cache.deleted(delete.uid)
    return wrote


async def _create(manifest: dict[str, Any], key: ResourceKey, uid: str, cache: Cache, transport: Transport, foreign: Foreign) -> bool:
    """Create an object of the resource `uid`; return False when a foreign one holds the name, which is never touched."""
    api_version, kind, name = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
    if kind in _APPLIED:
        holder = await transport.get(api_version, kind, key[1], name)
        if holder is None:
            # Not forced: if someone makes the name in this very moment, their fields are theirs and the server answers 409.
            cache.wrote(await transport.apply(manifest, force=False))
            return True
    else:
        try:
            cache.wrote(await transport.create(manifest))
            return True
        except ApiError as error:
            if error.status != 409:
                raise
        holder = await transport.get(api_version, kind, key[1], name)
        if holder is None:
            return True  # it was just deleted; the next pass makes it
    if owned_by(holder, uid):
        cache.wrote(holder)  # made by an earlier pass that the watch has not brought back
        return True
    foreign.add(key, api_version, kind, name)
    return False


async def _record(event: Event, body: Body, transport: Transport, now: datetime) -> None:
    """Write an event. Its name follows from its content, so that a repeated pass does not say the same twice."""
    meta = body["metadata"]
    content = f"{meta['uid']} {event.reason} {event.message} {meta['resourceVersion']}"
    name = f"{meta['name']}.{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    manifest = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": body["apiVersion"], "kind": body["kind"], "namespace": meta["namespace"],
            "name": meta["name"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "source": {"component": MANAGER},
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
    }  # fmt: skip
    try:
        await transport.create(manifest)
    except ApiError as error:
        # Events are a courtesy: a name taken or a namespace that is going away must not keep the resource from going on.
        if error.status not in (403, 404, 409):
            raise
