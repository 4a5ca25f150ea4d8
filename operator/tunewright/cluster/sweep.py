"""Finds what is gone without a word: when a watch has to begin again with a list, Kopf does not tell what that list no longer has."""

from collections.abc import Collection

from tunewright.cluster.cache import Cache, ResourceKey
from tunewright.cluster.transport import ApiError, Transport


async def sweep(cache: Cache, transport: Transport, namespaces: Collection[str]) -> set[ResourceKey]:
    """Forget the objects that the watches have brought and the API server no longer holds; return whose news that is.

    Only what was seen before a list was asked for can be missed in it, so nothing made meanwhile is taken for gone.
    """
    woken: set[ResourceKey] = set()
    for kind, seen in cache.seen().items():
        there = await _there(transport, kind, namespaces)
        if there is None:
            continue
        for uid, key in seen.items():
            if uid not in there:
                cache.deleted(uid)
                woken |= {key, *cache.dependents(key)}
    return woken


async def _there(transport: Transport, kind: str, namespaces: Collection[str]) -> set[str] | None:
    """Return the uids of all objects of a kind, or None where that cannot be known now."""
    found: set[str] = set()
    try:
        for namespace in namespaces or (None,):
            found |= await transport.uids(kind, namespace)
    except ApiError:
        # The next sweep looks again. A kind that is not served is no proof that its objects are gone.
        return None
    return found
