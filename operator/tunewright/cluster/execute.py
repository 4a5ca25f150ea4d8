"""execute: does what a Plan says, in an order that a crash at any point leaves mendable: objects, then status, then events."""

import hashlib
import logging
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from tunewright.build.names import MANAGER
from tunewright.cluster.cache import Cache, ResourceKey
from tunewright.cluster.gather import Foreign, owned_by
from tunewright.cluster.transport import ApiError, Transport
from tunewright.reconcile.plan import Event, Plan
from tunewright.reconcile.refusals import Refusal, refused
from tunewright.reconcile.resource import timestamp

Body = Mapping[str, Any]
T = TypeVar("T")

LOG: Final = logging.getLogger("tunewright")

_APPLIED: Final = frozenset({"Deployment", "Service"})
"""Kinds whose content changes over their life, so that one field manager must own it from the start."""


_REFUSALS: Final = frozenset({400, 403, 422})
"""What admission, quotas and rights answer: no fault of the moment, and for the user to mend."""


async def execute(plan: Plan, key: ResourceKey, body: Body, cache: Cache, transport: Transport, foreign: Foreign, now: datetime) -> bool:
    """Carry out `plan` for the resource `body`; return whether anything was written.

    Raises ApiError of what the API server refused to make, after the status says so; the queue then tries again, less and less often.
    """
    try:
        made = await _objects(plan, key, body, cache, transport, foreign)
    except _Refused as refusal:
        await _tell(refused(plan, body, refusal.refusal), body, cache, transport, now)
        raise refusal.error from None
    if made is None:
        # Another object holds a name: the next pass says so in a condition.
        return True
    told = await _tell(plan, body, cache, transport, now)
    return made or told


class _Refused(Exception):
    """An object of the plan was refused."""

    def __init__(self, refusal: Refusal, error: ApiError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.error = error


async def _objects(plan: Plan, key: ResourceKey, body: Body, cache: Cache, transport: Transport, foreign: Foreign) -> bool | None:
    """Create and apply the objects of `plan`; return whether there were any, None when a foreign one holds a name."""
    for manifest in plan.create:
        if not await _accepted(manifest, _create(manifest, key, body["metadata"]["uid"], cache, transport, foreign)):
            return None
    for manifest in plan.update:
        cache.wrote(await _accepted(manifest, transport.apply(manifest, force=True)))
    return bool(plan.create or plan.update)


async def _accepted(manifest: Body, write: Awaitable[T]) -> T:
    """Await the write of an object; raises _Refused when it is for the user to mend that it is not accepted."""
    try:
        return await write
    except ApiError as error:
        if error.status not in _REFUSALS:
            raise
        raise _Refused(Refusal(manifest["kind"], manifest["metadata"]["name"], error.message), error) from error


async def _tell(plan: Plan, body: Body, cache: Cache, transport: Transport, now: datetime) -> bool:
    """Write the status, delete what is to go, and record events; return whether anything but events was written."""
    wrote = False
    if plan.status is not None and plan.status != body.get("status"):
        wrote = True
        cache.wrote(await transport.replace_status(dict(body), plan.status))
    for delete in plan.delete:
        wrote = True
        await transport.delete(delete.api_version, delete.kind, body["metadata"]["namespace"], delete.name, delete.uid)
        cache.deleted(delete.uid)
    for event in plan.events:
        await _record(event, body, transport, now)
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
        # Events are a courtesy: that one cannot be written must not keep the resource from going on.
        LOG.info("no event %s of %s %s/%s: %s", event.reason, body["kind"], meta["namespace"], meta["name"], error)
