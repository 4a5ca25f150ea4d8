"""What the API server's audit log says of a run: who wrote what, and when."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from support.api_server import ADMIN, OPERATOR, WRITES

Entry = Mapping[str, Any]
Resource = tuple[str, str]
"""(kind, name) of one of our resources."""

RULES: Final = (
    {"level": "RequestResponse", "users": [OPERATOR], "verbs": ["patch", "update"], "resources": [{"group": "tunewright.dev", "resources": ["*/status"]}]},
    {"level": "Metadata", "users": [OPERATOR]},
    {"level": "Metadata", "users": [ADMIN], "verbs": ["create"], "resources": [{"group": "tunewright.dev"}]},
    {
        "level": "Metadata",
        "users": [ADMIN],
        "resources": [{"group": "batch", "resources": ["jobs/status"]}, {"group": "apps", "resources": ["deployments/status"]}],
    },
)
"""Of the operator every request, and the statuses it wrote in full; of the others the creations, and what they reported of Jobs and Deployments."""


class AuditLog:
    """An audit log that grows; each entry is read once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open()
        self._rest = ""
        self.entries: list[Entry] = []

    def read(self) -> list[Entry]:
        """Return the entries since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        new = [json.loads(line) for line in lines]
        self.entries += new
        return new


def is_write(entry: Entry) -> bool:
    """Return whether the operator wrote."""
    return entry["user"]["username"] == OPERATOR and entry["verb"] in WRITES


def is_read(entry: Entry) -> bool:
    """Return whether the operator asked for an object."""
    return entry["user"]["username"] == OPERATOR and entry["verb"] == "get" and "objectRef" in entry


def made(entry: Entry) -> bool:
    """Return whether an object was created; server-side apply creates too. An Event is no object of a resource."""
    target = entry["objectRef"]
    return bool(entry["responseStatus"]["code"] == 201 and not target.get("subresource") and target["resource"] != "events")


def status_written(entry: Entry) -> tuple[Resource, Mapping[str, Any]] | None:
    """Return the resource and its whole status where the operator wrote one."""
    target = entry.get("objectRef", {})
    if target.get("apiGroup") != "tunewright.dev" or target.get("subresource") != "status" or entry["responseStatus"]["code"] != 200:
        return None
    body = entry["responseObject"]
    return (body["kind"], body["metadata"]["name"]), body["status"]


def is_done(status: Mapping[str, Any]) -> bool:
    """Return whether a resource has come to its good end: it succeeded, or its server answers."""
    return any(each["type"] in ("Succeeded", "Ready") and each["status"] == "True" for each in status["conditions"])


def tells(stage: str, status: Mapping[str, Any]) -> bool:
    """Return whether a status accounts for the end of that stage's child."""
    return "dataDigest" in status if stage == "prepare" else is_done(status)


def seconds(entry: Entry) -> float:
    """Return when the API server had answered."""
    return datetime.fromisoformat(entry["stageTimestamp"]).timestamp()


def delays(entries: Iterable[Entry], owners: Mapping[tuple[str, str], tuple[str, str, str]]) -> list[float]:
    """Return, for every child that ended, the seconds from the API server's answer to that report to its answer to the status write that accounts for it."""
    stages: defaultdict[Resource, set[str]] = defaultdict(set)
    for kind, name, stage in owners.values():
        stages[kind, name].add(stage)
    ended: dict[tuple[str, str, str], float] = {}
    told: dict[tuple[str, str, str], float] = {}
    for entry in entries:
        target = entry.get("objectRef", {})
        child = (target.get("resource", ""), target.get("name", ""))
        if entry["user"]["username"] != OPERATOR:
            if child in owners:
                ended[owners[child]] = seconds(entry)  # the last report of a child is its end
        elif (written := status_written(entry)) is not None:
            resource, status = written
            for stage in stages[resource]:
                if tells(stage, status):
                    told.setdefault((*resource, stage), seconds(entry))
    return [told[each] - moment for each, moment in ended.items()]


def writes_by_resource(entries: Iterable[Entry]) -> Counter[str]:
    """Return how often the operator wrote, beside creating objects, by what it wrote to."""
    return Counter(
        "/".join(filter(None, (each["objectRef"]["resource"], each["objectRef"].get("subresource")))) for each in entries if is_write(each) and not made(each)
    )
