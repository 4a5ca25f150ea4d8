"""Waits until the operator has nothing left to write, and keeps what it wrote, what was refused and what it complained of."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from bench.audit import AuditLog, Entry
from support.api_server import ApiServer, Operator
from support.campaign import oracles
from support.campaign.course import Subject, names
from support.campaign.mirror import Log, Mirror, complaints, of_namespace
from support.campaign.transitions import Body

Key = tuple[str, str, str]

_CALM: Final = 1.0
"""So long nothing must have been written to count as converged."""
_STALLED: Final = 0.3
"""A key that has been due for so long is work that waits: the machine is busy, nothing is settled."""
_IN_TIME: Final = 60.0
"""So long a status may take to be of the newest generation, when everything is changed at once."""
_SOON_GONE: Final = 10
"""A time to live of fewer seconds is waited for."""


class Settling:
    """Looks at the mirror, the audit log and the operator's own log."""

    def __init__(self, mirror: Mirror, server: ApiServer, operator: Operator) -> None:
        self._mirror = mirror
        self._operator = operator
        self._audit = AuditLog(server.audit_log)
        self._log = Log(operator.log)
        self._refused: deque[Entry] = deque()
        self._held: list[Entry] = []
        self.failed_passes = 0

    async def acknowledged(self, keys: Iterable[Key]) -> None:
        """Wait until every resource has a status of its newest generation."""
        left = list(keys)
        deadline = time.monotonic() + _IN_TIME
        while left := [key for key in left if not _is_observed(self._mirror.resources.get(key))]:
            if time.monotonic() > deadline:
                raise AssertionError(f"no status: {left[:5]}")
            await asyncio.sleep(0.1)

    async def converged(self, subjects: list[Subject]) -> list[Subject]:
        """Wait until all have a status of their newest generation and nothing was written for a while; return those that are late."""
        deadline = time.monotonic() + _IN_TIME
        left, last = list(subjects), time.monotonic()
        while time.monotonic() < deadline:
            if self._read():
                last = time.monotonic()
            left = [each for each in left if not self._is_converged(each)]
            if not left and time.monotonic() - last > _CALM and await asyncio.to_thread(self._stalled) < _STALLED:
                break
            await asyncio.sleep(0.1)
        return left

    async def hold(self, seconds: float) -> None:
        """Wait, and keep what is written in the meantime."""
        await asyncio.sleep(seconds)
        self._held += self._read()

    def findings(self) -> list[tuple[str, str, str]]:
        """Return oracle, namespace and message of all that was wrong since the last call."""
        found = []
        for namespace, entries in of_namespace(self._held).items():
            found += [("quiescence", namespace, message) for message in oracles.quiescence(entries)]
        refused = of_namespace(list(self._refused))
        for namespace, entries in refused.items():
            found += [("children", namespace, message) for message in oracles.children(entries)]
        for namespace, line in complaints(self._log.read()):
            self.failed_passes += "again in" in line
            # A refused object is said once, by the oracle that is about it.
            if namespace not in refused:
                found.append(("errors", namespace or "", line))
        self._held, self._refused = [], deque()
        return found

    def reported_failures(self) -> float:
        """Return how many passes failed by the operator's own metrics."""
        text = self._operator.probe("metrics") or ""
        return sum(map(float, re.findall(r'tunewright_reconciles_total\{[^}]*result="error"[^}]*\} (\S+)', text)))

    def _read(self) -> list[Entry]:
        """Take in the audit log; return what was written."""
        new = self._audit.read()
        self._audit.entries.clear()
        self._refused += [each for each in new if each["responseStatus"]["code"] >= 400]
        return [each for each in new if each["responseStatus"]["code"] < 400]

    def _is_converged(self, subject: Subject) -> bool:
        """Return whether a resource is where its spec leads, as far as its status tells."""
        body = self._mirror.resources.get(subject.key)
        if body is None:
            return subject.seen
        subject.seen = True
        about = (each for each in self._refused if each["objectRef"].get("namespace") == subject.namespace)
        subject.refused |= any(names(message, subject.name) for message in oracles.children(about))
        if subject.refused:
            return True
        ttl = body["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None and ttl < _SOON_GONE and "completionTime" in body.get("status", {}):
            return False
        return body["metadata"]["generation"] >= subject.generation and _is_observed(body)

    def _stalled(self) -> float:
        found = re.search(r"^tunewright_queue_stalled_seconds (\S+)", self._operator.probe("metrics") or "", re.M)
        return float(found[1]) if found else float("inf")


def _is_observed(body: Body | None) -> bool:
    """Return whether the status is of the newest generation."""
    return body is not None and body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
