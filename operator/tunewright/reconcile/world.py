"""What was seen of the cluster for one resource."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunewright.api.common import Kind
from tunewright.contract.progress import Progress

Body = Mapping[str, Any]


@dataclass(frozen=True)
class World:
    """`children` are objects whose controller is the resource, and its Pods; `resources` are those of ours in the namespace that it refers
    to, directly or not; `claims` and `configmaps` (name to keys) those its locations name, absent when they do not exist;
    `foreign` are names (kind, name) that another owner holds and the resource needs; `progress` is the last reading by Pod uid,
    None where the Pod did not answer; a Pod that has ended keeps its last one."""

    children: tuple[Body, ...] = ()
    resources: Mapping[tuple[Kind, str], Body] = field(default_factory=dict)
    claims: Mapping[str, Body] = field(default_factory=dict)
    configmaps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    foreign: frozenset[tuple[str, str]] = frozenset()
    progress: Mapping[str, Progress | None] = field(default_factory=dict)

    def child(self, kind: str, name: str) -> Body | None:
        """Return the child of that kind and name, unless it is being deleted."""
        return next((each for each in self.of_kind(kind) if each["metadata"]["name"] == name and "deletionTimestamp" not in each["metadata"]), None)

    def of_kind(self, kind: str) -> tuple[Body, ...]:
        """Return the children of a kind."""
        return tuple(each for each in self.children if each["kind"] == kind)

    def leaving(self, kind: str, name: str) -> bool:
        """Return whether the child of that kind and name is being deleted, so that another cannot be made yet."""
        return any(each["metadata"]["name"] == name and "deletionTimestamp" in each["metadata"] for each in self.of_kind(kind))
