"""What a reconcile wants done, as data; `cluster/execute.py` does it."""

from dataclasses import dataclass
from typing import Any, Literal

from tunewright.build import Manifest


@dataclass(frozen=True)
class Delete:
    """An object to delete; `uid` is a precondition, so that a new object of the same name is never hit."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Event:
    """An event on the resource."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """`create` are objects not seen yet, `update` server-side applies to objects seen (they carry their uid), `status` is the whole new
    status, or None to leave it; `requeue_after` is in seconds."""

    create: tuple[Manifest, ...] = ()
    update: tuple[Manifest, ...] = ()
    delete: tuple[Delete, ...] = ()
    status: dict[str, Any] | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
