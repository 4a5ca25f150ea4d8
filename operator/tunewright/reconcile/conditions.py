"""Conditions, and the events their changes are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tunewright.reconcile.plan import Event
from tunewright.reconcile.resource import timestamp

MAX_MESSAGE: Final = 4096
_EVENT_MESSAGE: Final = 1024
_ROUTINE: Final = frozenset({"Starting", "Preparing", "Training", "Merging", "Evaluating", "RollingOut", "ThresholdsMet", "NoThresholds"})
_WAITING: Final = "WaitingFor"
"""Reasons, and how reasons begin, of what goes as it should. The status says so while it is so, and the events of Jobs, Pods and Deployments when."""


@dataclass(frozen=True)
class Fact:
    """A condition before it has a time. `status` is True, False or, where it cannot be known yet, None."""

    type: str
    status: bool | None
    reason: str
    message: str

    @property
    def text(self) -> str:
        """The status as the API spells it."""
        return {True: "True", False: "False", None: "Unknown"}[self.status]


def condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """Return the condition of a type from a status."""
    return next((each for each in status.get("conditions", []) if each["type"] == type_), None)


def is_true(status: Mapping[str, Any], type_: str) -> bool:
    """Return whether a condition stands at True."""
    found = condition(status, type_)
    return found is not None and found["status"] == "True"


def has_ended(status: Mapping[str, Any]) -> bool:
    """Return whether a resource of a kind that ends has succeeded or failed."""
    found = condition(status, "Succeeded")
    return found is not None and found["status"] != "Unknown"


def write_conditions(old: Mapping[str, Any], facts: Iterable[Fact], generation: int, now: datetime) -> list[dict[str, Any]]:
    """Return `facts` as conditions; `lastTransitionTime` moves only when the status does."""
    result = []
    for fact in facts:
        before = condition(old, fact.type)
        same = before is not None and before["status"] == fact.text
        result.append({
            "type": fact.type,
            "status": fact.text,
            "reason": fact.reason,
            "message": fact.message[:MAX_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": before["lastTransitionTime"] if same and before else timestamp(now),
        })  # fmt: skip
    return result


def transition_events(old: Mapping[str, Any], facts: Iterable[Fact], warnings: frozenset[str]) -> tuple[Event, ...]:
    """Return an event for every condition whose status or reason changed, if it is trouble, the end of trouble, or an end; reasons in `warnings` are trouble.

    Two conditions that say the same are one event.
    """
    events: dict[Event, None] = {}
    for fact in facts:
        before = condition(old, fact.type)
        if before is not None and (before["status"], before["reason"]) == (fact.text, fact.reason):
            continue
        was_trouble = before is not None and before["reason"] in warnings
        if was_trouble or not (fact.reason in _ROUTINE or fact.reason.startswith(_WAITING)):
            events[Event("Warning" if fact.reason in warnings else "Normal", fact.reason, fact.message[:_EVENT_MESSAGE])] = None
    return tuple(events)
