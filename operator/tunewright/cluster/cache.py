"""What the operator has seen: Kopf's indexes, overlaid with what it wrote itself and the watch has not yet brought back."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from tunewright.api.common import Kind
from tunewright.build.names import KIND_LABEL, NAME_LABEL
from tunewright.cluster.trim import trimmed
from tunewright.reconcile.references import Key, references

Body = Mapping[str, Any]
ResourceKey = tuple[Kind, str, str]
"""(kind, namespace, name) of one of our resources."""


class Index(Protocol):
    """What is used of a Kopf index: a mapping from a key to the values under it."""

    def get(self, key: Any, default: Any = None, /) -> Any:
        """Return the values under a key."""

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys."""


class Cache:
    """Resources by key, children by owner uid, dependents by the key they refer to. An object written by this operator is seen as written until the watch has caught up."""

    def __init__(self, resources: Index, children: Index, dependents: Index) -> None:
        self._resources = resources
        self._children = children
        self._dependents = dependents
        self._written: dict[str, Body] = {}
        self._written_of: defaultdict[str, set[str]] = defaultdict(set)
        self._deleted: set[str] = set()

    def wrote(self, body: Body) -> None:
        """Remember what the API server answered to a write."""
        meta = body["metadata"]
        self._written[meta["uid"]] = trimmed(body)
        for owner in meta.get("ownerReferences", []):
            self._written_of[owner["uid"]].add(meta["uid"])

    def deleted(self, uid: str) -> None:
        """Remember a deletion that the watch has not yet brought back."""
        self._written.pop(uid, None)
        self._deleted.add(uid)

    def forget(self, uid: str) -> None:
        """Drop what was written of an object that the watch has seen deleted."""
        self._written.pop(uid, None)
        self._written_of.pop(uid, None)
        self._deleted.discard(uid)

    def resource(self, key: ResourceKey) -> Body | None:
        """Return one of our resources as last seen or written."""
        return _last(self._newest(body) for body in self._resources.get(key) or () if body["metadata"]["uid"] not in self._deleted)

    def children(self, uid: str) -> tuple[Body, ...]:
        """Return the objects whose controller is the resource with that uid, and its Pods."""
        seen = {body["metadata"]["uid"]: self._newest(body) for body in self._children.get(uid) or ()}
        written = self._written_of.get(uid, set())
        written.intersection_update(self._written)
        seen.update({each: self._written[each] for each in written - seen.keys()})
        named: defaultdict[tuple[str, str], list[Body]] = defaultdict(list)
        for each, body in sorted(seen.items()):
            if each not in self._deleted:
                named[body.get("kind", ""), body["metadata"]["name"]].append(body)
        return tuple(last for bodies in named.values() if (last := _last(bodies)) is not None)

    def seen(self) -> dict[str, dict[str, ResourceKey]]:
        """Return what the watches have brought and not taken back: by kind, the uids and whose news each is."""
        found: defaultdict[str, dict[str, ResourceKey]] = defaultdict(dict)
        for key in self._resources:
            for body in self._resources.get(key) or ():
                found[key[0]][body["metadata"]["uid"]] = key
        for owner in self._children:
            for body in self._children.get(owner) or ():
                meta = body["metadata"]
                if meta["labels"].get(KIND_LABEL) in list(Kind) and NAME_LABEL in meta["labels"]:
                    found[body["kind"]][meta["uid"]] = (Kind(meta["labels"][KIND_LABEL]), meta["namespace"], meta["labels"][NAME_LABEL])
        return {kind: {uid: key for uid, key in uids.items() if uid not in self._deleted} for kind, uids in found.items()}

    def referenced(self, body: Body) -> dict[Key, Body]:
        """Return the resources `body` refers to, directly or through others."""
        namespace = body["metadata"]["namespace"]
        found: dict[Key, Body] = {}
        pending = list(references(body))
        while pending:
            key = pending.pop()
            if key in found:
                continue
            other = self.resource((key[0], namespace, key[1]))
            if other is not None:
                found[key] = other
                pending.extend(references(other))
        return found

    def dependents(self, key: ResourceKey) -> set[ResourceKey]:
        """Return the resources that refer to `key`, directly or through others: its news are theirs."""
        found: set[ResourceKey] = set()
        pending = [key]
        while pending:
            for other in self._dependents.get(pending.pop()) or ():
                if other != key and other not in found:
                    found.add(other)
                    pending.append(other)
        return found

    def _newest(self, seen: Body) -> Body:
        """Return the written body if it is newer than the one seen; resource versions of one server are ordered numbers."""
        written = self._written.get(seen["metadata"]["uid"])
        if written is None:
            return seen
        if int(seen["metadata"]["resourceVersion"]) >= int(written["metadata"]["resourceVersion"]):
            del self._written[seen["metadata"]["uid"]]
            return seen
        return written


def _last(bodies: Iterable[Body]) -> Body | None:
    """Return the newest of several objects of one name: if its deletion was missed, an old one may stand beside the one made since."""
    return max(bodies, key=lambda body: int(body["metadata"]["resourceVersion"]), default=None)
