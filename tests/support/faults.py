"""Faults as data: what to do to which request, and to which event of a watch. `fault_proxy` carries them out."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Body = dict[str, Any]

WRITES: Final = frozenset({"create", "apply", "patch", "status", "delete", "event"})
"""Verbs that change something; `apply` is a server-side apply, `status` a patch of the subresource, `event` the creation of a core Event."""

_PATH: Final = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)


@dataclass(frozen=True)
class Request:
    """A request, as the API server would understand it."""

    method: str
    path: str
    verb: str
    resource: str = ""
    namespace: str | None = None
    name: str | None = None
    token: str = ""
    uid: str | None = None
    """The uid that a deletion has as its precondition."""

    @property
    def writes(self) -> bool:
        return self.verb in WRITES

    @property
    def what(self) -> tuple[str, str, str | None]:
        """What is done to which object, wherever."""
        return self.verb, self.resource, self.name


def understand(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes = b"") -> Request:
    """Return what a request asks for; `other` is discovery and the like."""
    found, token, uid = _PATH.match(path), headers.get("Authorization", "").rpartition(" ")[2], None
    if found is None:
        return Request(method, path, "other", token=token)
    resource, name = found["resource"], found["name"]
    if method == "GET":
        verb = "get" if name else "watch" if query.get("watch") in ("true", "1") else "list"
    elif method == "POST":
        made = json.loads(body)
        verb = "event" if resource == "events" else "create"
        # The name of an event has a hash of what it is about.
        name = f"{made['involvedObject']['kind']} {made['reason']}" if verb == "event" else made["metadata"].get("name")
    elif method == "PATCH":
        verb = "status" if found["sub"] == "status" else "apply" if "apply-patch" in headers.get("Content-Type", "") else "patch"
    else:
        verb = "delete"
        uid = json.loads(body or b"{}").get("preconditions", {}).get("uid")
    return Request(method, path, verb, resource, found["namespace"], name, token, uid)


# What can be done to a request.


@dataclass(frozen=True)
class Answer:
    """Refuse it with a Status object, and do not send it on."""

    code: int
    reason: str = "InternalError"
    message: str = "a fault of the test"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        return json.dumps({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message, "reason": self.reason, "code": self.code,
        }).encode()  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """Close the connection without an answer; with `sent`, only after the server has done what was asked: the answer is lost."""

    sent: bool = False


@dataclass(frozen=True)
class Hang:
    """Never answer and never close: a half-open connection."""


@dataclass(frozen=True)
class Delay:
    """Send it on after so many seconds."""

    seconds: float


Action = Answer | Cut | Hang | Delay


class Fault:
    """Something that goes wrong; told of every request before it is sent on and after it was answered."""

    def before(self, request: Request) -> Action | None:
        """Return what to do to `request` instead of sending it on, or None."""
        return None

    def after(self, request: Request, code: int) -> None:
        """Learn that the server has answered."""


@dataclass
class Times(Fault):
    """Do `action` to the first `times` requests that match; for ever when that is None. `hits` are the moments it did."""

    matches: Callable[[Request], bool]
    action: Action
    times: int | None = 1
    hits: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)

    def before(self, request: Request) -> Action | None:
        if not self.matches(request):
            return None
        if self.times is not None and len(self.hits) >= self.times:
            self.passed.append(time.monotonic())
            return None
        self.hits.append(time.monotonic())
        return self.action


Point = tuple[tuple[str, str, str | None], int]
"""A write of a run: what is done to which object, and for how many-th time (from 1). Writes of independent objects come in any order."""


def points(requests: Iterable[Request]) -> list[Point]:
    """Return the points of the writes among `requests`."""
    count: Counter[tuple[str, str, str | None]] = Counter()
    found = []
    for each in requests:
        if each.writes:
            count[each.what] += 1
            found.append((each.what, count[each.what]))
    return found


@dataclass
class Died(Fault):
    """For one namespace the operator is dead from a point on (its first write when that is None): just before that write is sent, or just after it was answered.

    What comes later of that namespace never reaches the server. The process itself is killed once all namespaces are at their point, so
    that one SIGKILL stands for many: nothing of what it learned after the point is ever written.
    """

    namespace: str
    at: Point | None
    sent: bool
    dead: bool = False
    _count: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    _last: Request | None = None

    def before(self, request: Request) -> Action | None:
        if request.namespace != self.namespace:
            return None
        if request.writes and not self.dead and self._last is None:
            self._count[request.what] += 1
            if self.at in (None, (request.what, self._count[request.what])):
                self._last = request
                self.dead = not self.sent
        return _DEAD if self.dead else None

    def after(self, request: Request, code: int) -> None:
        if request is self._last:
            self.dead = True


_DEAD: Final = Answer(503, "ServiceUnavailable", "the operator is dead for this namespace")


# What can be done to an event of a watch.


@dataclass(frozen=True)
class Event:
    """An event of a watch; `resource` is the plural."""

    type: str
    resource: str
    namespace: str
    name: str
    uid: str
    line: bytes

    @classmethod
    def parse(cls, resource: str, line: bytes) -> "Event":
        content = json.loads(line)
        meta = content["object"].get("metadata", {})
        return cls(content["type"], resource, meta.get("namespace", ""), meta.get("name", ""), meta.get("uid", ""), line)

    @property
    def about(self) -> tuple[str, str, str]:
        """The object by name: an event of a new one of that name supersedes those of the old one."""
        return self.resource, self.namespace, self.name


@dataclass
class EventFault:
    """Do something to event number `at` (from 0) of those that match, or to all of them.

    `how`: `drop` holds it until one of the same object comes and then drops it, so that only what is superseded is lost (what nothing
    supersedes comes `late`); `late` delivers it after `seconds`, in order for its object; `twice` delivers it two times.
    """

    matches: Callable[[Event], bool]
    at: int | None
    how: str
    seconds: float = 2.0
    seen: int = 0
    hit: Event | None = None
    dropped: bool = False

    def takes(self, event: Event) -> bool:
        """Return whether this is the event; counts those that match."""
        if not self.matches(event):
            return False
        self.seen += 1
        if self.at in (None, self.seen - 1):
            self.hit = event
            return True
        return False


def first(actions: Iterable[Action | None]) -> Action | None:
    """Return the first action there is; all are asked, for they count."""
    return next((each for each in list(actions) if each is not None), None)
