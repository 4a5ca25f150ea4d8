"""What the API server refuses to make: a quota, a policy or a missing right becomes a condition with the server's own sentence."""

from dataclasses import dataclass, replace
from typing import Any, Final

from tunewright.reconcile.conditions import MAX_MESSAGE, Fact, condition, transition_events
from tunewright.reconcile.failures import WARNINGS
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.world import Body

_REASONS: Final = (
    ("exceeded quota", "QuotaExceeded"),
    ("is being terminated", "NamespaceTerminating"),
    ("ValidatingAdmissionPolicy", "AdmissionDenied"),
    ("admission webhook", "AdmissionDenied"),
    ("violates PodSecurity", "AdmissionDenied"),
    ("cannot create resource", "NotPermitted"),
    ("cannot patch resource", "NotPermitted"),
)
"""Words of the API server and the reason they stand for; the Status object has no field that tells these apart."""


@dataclass(frozen=True)
class Refusal:
    """An object the API server did not accept, and its sentence."""

    kind: str
    name: str
    sentence: str

    @property
    def reason(self) -> str:
        """The condition's reason."""
        return reason_of(self.sentence)

    @property
    def message(self) -> str:
        """The condition's message."""
        return f"the API server refuses the {self.kind} `{self.name}`, which is tried again: {self.sentence}"


def reason_of(sentence: str) -> str:
    """Return the reason of a refusal: one of ours, or one that a controller tells of its Pods."""
    return next((reason for words, reason in _REASONS if words in sentence), "Refused")


def refused(plan: Plan, body: Body, refusal: Refusal) -> Plan:
    """Return what is left of `plan` when an object in it was refused: a status that says so, once, and nothing else."""
    if plan.status is None:
        return Plan()
    old = body.get("status") or {}
    *others, last = plan.status["conditions"]
    fact = Fact(last["type"], None, refusal.reason, refusal.message)
    status: dict[str, Any] = {**plan.status, "conditions": [*others, {**last, "reason": fact.reason, "message": fact.message[:MAX_MESSAGE]}]}
    if last["status"] != "True":
        status["state"] = "Waiting"
    if "startTime" in status and "startTime" not in old:
        # It has not begun; a time of each try would be a write of each try.
        del status["startTime"]
    before = condition(old, fact.type)
    events = transition_events(old, (fact,), WARNINGS) if before is None or before["reason"] != fact.reason else ()
    return replace(plan, create=(), update=(), delete=(), status=status, events=events)
