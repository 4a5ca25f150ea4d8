"""What the API server holds, and what the operator writes, as they happen."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bench.audit import Entry
from support.api_server import OPERATOR, WRITES
from support.async_api import AsyncApi
from support.campaign.transitions import Body
from support.paths import PLURALS, everywhere

_WATCHED: Final = (*PLURALS, "Job", "Deployment", "Service", "PersistentVolumeClaim")
AUDITED: Final = ({"level": "Metadata", "users": [OPERATOR], "verbs": sorted(WRITES)},)
"""The rules of the audit policy: what the operator writes."""


class Mirror:
    """Resources by kind, namespace and name, and children by the uid of their owner."""

    def __init__(self) -> None:
        self.resources: dict[tuple[str, str, str], Body] = {}
        self._children: defaultdict[str, dict[str, Body]] = defaultdict(dict)

    @asynccontextmanager
    async def following(self, api: AsyncApi) -> AsyncIterator["Mirror"]:
        """Follow the server for the block; a watch that ends ends the block."""
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(self._follow(api, kind)) for kind in _WATCHED]
            yield self
            for watch in watches:
                watch.cancel()

    def children(self, uid: str) -> list[Body]:
        """Return the objects that the resource with that uid controls."""
        return list(self._children[uid].values())

    async def _follow(self, api: AsyncApi, kind: str) -> None:
        async for event in api.watch(everywhere(kind)):
            self.saw(event["type"], event["object"])

    def saw(self, type_: str, body: Body) -> None:
        """Take in an event."""
        meta = body["metadata"]
        gone = type_ == "DELETED"
        if body["kind"] in PLURALS:
            key = (body["kind"], meta["namespace"], meta["name"])
            if not gone:
                self.resources[key] = body
            elif self.resources.get(key, body)["metadata"]["uid"] == meta["uid"]:
                self.resources.pop(key, None)
            return
        for owner in meta.get("ownerReferences", []):
            if gone:
                self._children[owner["uid"]].pop(meta["uid"], None)
            else:
                self._children[owner["uid"]][meta["uid"]] = body


class Log:
    """A log that grows; each line is read once."""

    def __init__(self, file: Path) -> None:
        self._file = file.open(errors="replace")
        self._rest = ""

    def read(self) -> list[str]:
        """Return the lines since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        return lines


_ASKED_TO_WAIT: Final = re.compile(r" kopf\S* Request attempt #\d+ failed; will retry: .* status=429\)$")
"""Kopf logs as an error that it does what the API server asked for: a server that has just got its CRDs answers a watch with 429 for a moment."""


def complaints(lines: list[str]) -> list[tuple[str | None, str]]:
    """Return the errors and failed passes in lines of the operator's log, each with the namespace it is about where it tells."""
    found = []
    for line in lines:
        if _ASKED_TO_WAIT.search(line):
            continue
        if re.search(r" ERROR |Traceback|; again in |: again in ", line):
            about = re.search(r"\w+ ([a-z0-9-]+)/[\w.-]+[ :]", line)
            found.append((about[1] if about else None, line))
    return found


def of_namespace(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Return audited writes by namespace."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for each in entries:
        found[each.get("objectRef", {}).get("namespace", "")].append(each)
    return found
