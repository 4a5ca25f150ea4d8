"""The judges of a campaign: pure functions that return a sentence for everything that is wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from support.campaign.snapshot import GONE, has_ended, is_blocked, makes_nothing
from support.campaign.transitions import Body, Transition
from support.campaign.verdict import TRANSITION_RULES, names_the_field, rules, schema_refuses, type_refuses
from support.end_state import difference
from support.specs import NO_OBJECT

ORACLES: Final = {
    "admission": "what the schema allows is accepted or refused by a rule, what it does not allow is refused; every refusal names the field; schema and type agree",
    "errors": "no pass of the operator fails, nothing is logged as an error",
    "consistency": "a changed field shows in an object or in the status",
    "differential": "an edited resource is where one created with the same spec is",
    "rollback": "a change and its way back lead to where it began",
    "generation": "status and every condition are of the newest generation in time",
    "quiescence": "once converged nothing is written",
    "children": "every object that the operator makes is accepted by the API server",
}
"""What is judged, and what must hold."""

_WITHOUT_EFFECT: Final = {field: reason for field, reason in NO_OBJECT.items() if field[1] != "thresholds"}
"""Thresholds change no object, but the verdict, which stands in the status."""


@dataclass(frozen=True)
class Alarm:
    """Something is wrong after a change of a resource that began as `base`."""

    oracle: str
    kind: str
    base: str
    transition: Transition
    message: str

    def __str__(self) -> str:
        return f"[{self.oracle}] {self.kind} ({self.base}) {self.transition}: {self.message}"


def admission(kind: str, spec: Body, transition: Transition, code: int, answer: Mapping[str, Any]) -> list[str]:
    """Judge the answer to a creation with `spec`."""
    refused_by_schema = schema_refuses(kind, spec)
    message = str(answer.get("message", ""))
    if code < 300:
        wrong = ["the schema does not allow it, and it was accepted"] if refused_by_schema else []
        against = type_refuses(kind, answer["spec"])
        return [*wrong, *([f"accepted, and the operator's type refuses it: {against}"] if against else [])]
    wrong = _refusal(transition, code, message)
    if not refused_by_schema and not any(rule in message for rule in rules(kind)):
        wrong.append(f"the schema allows it, no rule speaks against it, and it was refused: {message}")
    return wrong


def edit(transition: Transition, created: bool, code: int, answer: Mapping[str, Any]) -> list[str]:
    """Judge the answer to an edit to a spec that could be `created` or not."""
    message = str(answer.get("message", ""))
    if code < 300:
        return [] if created else ["an edit lets in what a creation does not"]
    wrong = _refusal(transition, code, message)
    if created and not any(rule in message for rule in TRANSITION_RULES):
        wrong.append(f"a creation lets it in, and no rule of edits speaks against it: {message}")
    return wrong


def _refusal(transition: Transition, code: int, message: str) -> list[str]:
    """Judge a refusal itself."""
    wrong = [] if code in (400, 422) else [f"refused with {code}: {message}"]
    if not names_the_field(message, transition.path):
        wrong.append(f"the refusal does not name the field: {message}")
    return wrong


def consistency(kind: str, transition: Transition, reference: list[Body], found: list[Body]) -> list[str]:
    """Judge two resources with different specs, from their beginning as far as they were followed: something must tell them apart.

    Two for which nothing is made yet tell nothing; a field on the list of those without effect has its reason there.
    """
    if found != reference[: len(found)] or (makes_nothing(reference[0]) and makes_nothing(found[0])) or (kind, transition.path[0]) in _WITHOUT_EFFECT:
        return []
    return [f"the change shows in no object and not in the status, {len(found)} stages on"]


def differential(spec: Body, fresh: Body, before: Body, after: Body) -> list[str]:
    """Judge an edited resource against one created with the same spec.

    Three differences are by design. While inputs are missing, a gate is closed or `suspend` is set, nothing is made for a new resource and
    nothing is taken from an old one. What has ended keeps its objects: an edit can only change what is said. And the inputs of a Job that
    exists are those it was told (reconcile/told.py): of a kind that ends the API server lets no input be edited, so that does not show here.
    """
    if GONE in (fresh, after):
        return difference(fresh, after)
    if is_blocked(fresh):
        return difference(_inputs(fresh), _inputs(after)) + difference(_without_limits(before), _without_limits(after))
    if spec.get("suspend") and not has_ended(after):
        return difference(fresh["status"]["state"], after["status"]["state"]) + difference(_without_limits(before), _without_limits(after))
    if has_ended(after):
        return difference(fresh["status"], after["status"])
    return difference(fresh, after)


def generation(resource: Body) -> list[str]:
    """Judge how far the status is behind."""
    status, newest = resource.get("status", {}), resource["metadata"]["generation"]
    seen = {"status": status.get("observedGeneration"), **{each["type"]: each.get("observedGeneration") for each in status.get("conditions", [])}}
    return [f"{what} is of generation {of}, the newest is {newest}" for what, of in seen.items() if of != newest]


def quiescence(written: Iterable[Mapping[str, Any]]) -> list[str]:
    """Judge the operator's writes after it had converged; a time to live that runs out is no fault."""
    return [f"{each['verb']} {each['requestURI']}" for each in written if (each["verb"], each["objectRef"].get("apiGroup")) != ("delete", "tunewright.dev")]


def children(written: Iterable[Mapping[str, Any]]) -> list[str]:
    """Judge the API server's answers to the operator: 409 is a name that is taken, which is no fault of the object."""
    return sorted({
        f"{each['verb']} {each['objectRef']['resource']} was refused: {each['responseStatus'].get('message', '')}"
        for each in written
        if each["responseStatus"]["code"] >= 400 and each["responseStatus"]["code"] not in (404, 409) and each["objectRef"]["resource"] != "events"
    })  # fmt: skip


def _inputs(shot: Body) -> Body:
    conditions = shot["status"]["conditions"]
    return {each: conditions.get(each) for each in ("InputsReady", "EvaluationPassed")}


def _without_limits(shot: Body) -> Body:
    """Return the children but for what may change of a Job that exists: whether its Pods are held back, and how often and how long it is tried."""
    limits = dict.fromkeys(("suspend", "backoffLimit", "activeDeadlineSeconds"))
    return {name: {**each, "spec": {**each["spec"], **limits}} for name, each in shot["children"].items()}
