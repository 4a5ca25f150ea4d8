"""InferenceService: roll out the model that passed, and say what truly answers."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunewright.api.common import BaseModelSource, Kind
from tunewright.api.inference_service import InferenceServiceSpec
from tunewright.build.names import APPLIED_HASH, MODEL_DIGEST, MODEL_URI
from tunewright.build.resolved import ResolvedSource
from tunewright.build.serving import deployment, deployment_name, service, url
from tunewright.build.settings import Settings
from tunewright.reconcile.bounded import RECHECK_SECONDS, taken
from tunewright.reconcile.conditions import Fact, condition, transition_events, write_conditions
from tunewright.reconcile.failures import WARNINGS, waiting
from tunewright.reconcile.inputs import Blocked, resolve_adapter, resolve_base
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.world import Body, World


@dataclass(frozen=True)
class Target:
    """What shall be served."""

    model: ResolvedSource
    adapters: dict[str, ResolvedSource] = field(default_factory=dict)


def reconcile_inference_service(resource: Resource[InferenceServiceSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for an InferenceService. It never ends, so every pass looks at everything."""
    target = _target(resource.spec, world)
    gate = target if isinstance(target, Blocked) else _gate(resource.spec, target, world)
    live = world.child("Deployment", deployment_name(resource.name))
    facts: list[Fact] = []
    if isinstance(target, Blocked):
        facts.append(Fact("InputsReady", False, target.reason, target.message))
    else:
        facts.append(Fact("InputsReady", True, "Resolved", "model and adapters are known"))
        if resource.spec.evaluation_ref is not None:
            facts.append(
                Fact("EvaluationPassed", False, gate.reason, gate.message)
                if isinstance(gate, Blocked)
                else Fact("EvaluationPassed", True, "ThresholdsMet", f"Evaluation `{resource.spec.evaluation_ref.name}` passed this model")
            )
    if isinstance(target, Blocked) or isinstance(gate, Blocked):
        hold = target if isinstance(target, Blocked) else gate
        assert isinstance(hold, Blocked)
        facts.append(_ready(resource, live, world, hold))
        # What is rolled out stays as it is: nothing is applied until the gate opens.
        return _plan(resource, facts, live, (), (), now, RECHECK_SECONDS)

    wanted = (deployment(resource.owner, resource.spec, target.model, target.adapters, settings), service(resource.owner))
    for each in wanted:
        conflict = taken(each["kind"], each["metadata"]["name"], world)
        if conflict is not None:
            return _plan(resource, [*facts, Fact("Ready", False, conflict.reason, conflict.message)], live, (), (), now, RECHECK_SECONDS)
    create, update = _changes(wanted, world)
    facts.append(_ready(resource, live, world, None) if not create and not update else _rolling_out(live, resource.spec.replicas, written=False))
    return _plan(resource, facts, live, create, update, now, None)


def _target(spec: InferenceServiceSpec, world: World) -> Target | Blocked:
    """Resolve the model and the adapters."""
    model = resolve_base(spec.model, world)
    if isinstance(model, Blocked):
        return model
    adapters = {}
    for adapter in spec.adapters or ():
        resolved = resolve_adapter(adapter, world)
        if isinstance(resolved, Blocked):
            return resolved
        adapters[adapter.name] = resolved
    return Target(model, adapters)


def _gate(spec: InferenceServiceSpec, target: Target, world: World) -> Blocked | None:
    """Return why the Evaluation does not let `target` through; it must have passed this very model."""
    if spec.evaluation_ref is None:
        return None
    name = spec.evaluation_ref.name
    body = world.resources.get((Kind.EVALUATION, name))
    if body is None:
        return Blocked("WaitingForEvaluation", f"Evaluation `{name}` does not exist in this namespace; it is waited for")
    status = body.get("status", {})
    ended = condition(status, "Succeeded")
    if ended is None or ended["status"] == "Unknown":
        return Blocked("WaitingForEvaluation", f"waiting for Evaluation `{name}`")
    if ended["status"] == "False":
        return Blocked("EvaluationNotPassed", f"Evaluation `{name}` failed ({ended['reason']}): {ended['message']}")
    verdict = status.get("verdict")
    if verdict != "Passed":
        why = status.get("verdictMessage", "no thresholds")
        return Blocked("EvaluationNotPassed", f"Evaluation `{name}` has the verdict {verdict}: {why}; the model is not rolled out")
    scored = status.get("modelDigest")
    served = {each.digest for each in (target.model, *target.adapters.values())} - {None}
    same_uri = scored is None and BaseModelSource.model_validate(body["spec"]["model"]).uri == target.model.uri
    if scored in served or same_uri:
        return None
    return Blocked(
        "EvaluationOfAnotherModel",
        f"Evaluation `{name}` passed another model ({scored or body['spec']['model'].get('uri')}) than the one to serve ({target.model.digest or target.model.uri})",
    )


def _changes(wanted: tuple[dict[str, Any], ...], world: World) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """Return what to create and what to apply again: what is missing, and what was last written from other content."""
    create, update = [], []
    for each in wanted:
        live = world.child(each["kind"], each["metadata"]["name"])
        if live is None:
            create.append(each)
        elif live["metadata"].get("annotations", {}).get(APPLIED_HASH) != each["metadata"]["annotations"][APPLIED_HASH]:
            update.append({**each, "metadata": {**each["metadata"], "uid": live["metadata"]["uid"]}})
    return tuple(create), tuple(update)


def _is_observed(live: Body) -> bool:
    """Return whether the Deployment's status is about its spec as it is."""
    return bool(live.get("status", {}).get("observedGeneration") == live["metadata"]["generation"])


def _rolled_out(live: Body) -> bool:
    """Return whether the newest template is what all replicas run, and all answer."""
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    return _is_observed(live) and all(status.get(key, 0) == wanted for key in ("updatedReplicas", "readyReplicas", "replicas"))


def _rolling_out(live: Body | None, wanted: int, *, written: bool) -> Fact:
    """Return how far the newest model has got, which is nowhere until it is written; who answers passes the readiness probe, vLLM's /health."""
    status = (live or {}).get("status", {})
    updated = status.get("updatedReplicas", 0) if live is not None and written and _is_observed(live) else 0
    ready = status.get("readyReplicas", 0)
    return Fact("Ready", ready > 0, "RollingOut", f"{updated} of {wanted} replicas have the newest model, {ready} answer")


def _ready(resource: Resource[InferenceServiceSpec], live: Body | None, world: World, hold: Blocked | None) -> Fact:
    """Return the `Ready` condition: what answers now, and what the newest model waits for."""
    if live is None:
        assert hold is not None, "what is not held is about to be made"
        return Fact("Ready", False, hold.reason, hold.message)
    ready, wanted = live.get("status", {}).get("readyReplicas", 0), live["spec"].get("replicas", 1)
    if hold is not None:
        old = f"the model rolled out before stays ({ready} of {wanted} replicas answer)"
        return Fact("Ready", ready > 0, hold.reason, f"{hold.message}; {old}")
    if wanted == 0:
        return Fact("Ready", False, "ScaledToZero", "`replicas` is 0")
    if _rolled_out(live):
        return Fact("Ready", True, "Answering", f"{ready} of {wanted} replicas answer at {url(resource.owner)}")
    for pod in world.of_kind("Pod"):
        wait = waiting(pod)
        if wait is not None and "deletionTimestamp" not in pod["metadata"]:
            return Fact("Ready", ready > 0, wait.reason, wait.message + (f"; {ready} replicas of the model rolled out before answer" if ready else ""))
    return _rolling_out(live, wanted, written=True)


def _plan(
    resource: Resource[InferenceServiceSpec], facts: list[Fact], live: Body | None,
    create: tuple[dict[str, Any], ...], update: tuple[dict[str, Any], ...], now: datetime, requeue: float | None,
) -> Plan:  # fmt: skip
    """Compose the plan; model and digest in the status are those of the Deployment once it is rolled out, else the ones before."""
    status: dict[str, Any] = {
        "observedGeneration": resource.generation,
        "state": _state(facts, live),
        "conditions": write_conditions(resource.status, facts, resource.generation, now),
        "replicas": resource.spec.replicas,
        "readyReplicas": (live or {}).get("status", {}).get("readyReplicas", 0),
    }
    if live is not None or create:
        status["url"] = url(resource.owner)
    annotations = live["metadata"].get("annotations", {}) if live is not None and _rolled_out(live) and not update else {}
    for key, annotation in (("modelUri", MODEL_URI), ("modelDigest", MODEL_DIGEST)):
        if annotations:
            if annotation in annotations:
                status[key] = annotations[annotation]
        elif live is not None and key in resource.status:
            status[key] = resource.status[key]
    return Plan(create, update, (), status, transition_events(resource.status, (fact for fact in facts if fact.type != "InputsReady"), WARNINGS), requeue)


def _state(facts: list[Fact], live: Body | None) -> str:
    """Return the state in one word."""
    ready = facts[-1]
    if ready.status:
        return "Ready" if ready.reason == "Answering" else "Updating" if ready.reason == "RollingOut" else "Holding"
    if ready.reason == "ScaledToZero":
        return "Idle"
    return "Waiting" if live is None and ready.reason != "RollingOut" else "Starting"
