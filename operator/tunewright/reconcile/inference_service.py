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
from tunewright.reconcile.bounded import RECHECK_SECONDS, leaving, taken
from tunewright.reconcile.conditions import Fact, condition, transition_events, write_conditions
from tunewright.reconcile.failures import WARNINGS, Failure, condition_of
from tunewright.reconcile.inputs import Blocked, resolve_adapter, resolve_base
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.pods import fails_its_probe, newest_first, starting, trouble
from tunewright.reconcile.refusals import reason_of
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.world import Body, World


@dataclass(frozen=True)
class Target:
    """What shall be served."""

    model: ResolvedSource
    adapters: dict[str, ResolvedSource] = field(default_factory=dict)


@dataclass(frozen=True)
class _Standing:
    """The printed state, and the `Ready` condition: True while anything answers."""

    state: str
    ready: bool
    reason: str
    message: str


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
        # What is rolled out stays as it is: nothing is applied until the gate opens.
        return _plan(resource, facts, _held(live, world, hold), live, requeue=RECHECK_SECONDS, now=now)

    wanted = (deployment(resource.owner, resource.spec, target.model, target.adapters, settings), service(resource.owner))
    for each in wanted:
        name = each["kind"], each["metadata"]["name"]
        conflict = taken(*name, world) or (leaving(*name, world) if world.child(*name) is None else None)
        if conflict is not None:
            return _plan(resource, facts, _Standing("Waiting", False, conflict.reason, conflict.message), live, requeue=RECHECK_SECONDS, now=now)
    create, update = _changes(wanted, world)
    if create or update:
        # As it will be said once it is written and its controller has begun: another sentence would be a write for a moment.
        is_written = live is not None and not any(each["kind"] == "Deployment" for each in update)
        standing = _rolling_out(live, resource.spec.replicas, is_written=is_written)
    else:
        assert live is not None
        standing = _standing(resource, live, world)
    return _plan(resource, facts, standing, live, create, update, now=now)


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


def _rolling_out(live: Body | None, wanted: int, *, is_written: bool) -> _Standing:
    """Return how far the newest model has got, which is nowhere until it is written; who answers passes the readiness probe, vLLM's /health."""
    status = (live or {}).get("status", {})
    updated = status.get("updatedReplicas", 0) if live is not None and is_written and _is_observed(live) else 0
    ready = status.get("readyReplicas", 0)
    message = f"{updated} of {wanted} replicas have the newest model, {ready} answer"
    return _Standing("Updating" if ready and updated < status.get("replicas", 0) else "Starting", ready > 0, "RollingOut", message)


def _rolled_out(live: Body) -> bool:
    """Return whether the newest template is what all replicas run, and all answer."""
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    return _is_observed(live) and all(status.get(key, 0) == wanted for key in ("updatedReplicas", "readyReplicas", "replicas"))


def _was_rolled_out(live: Body) -> bool:
    """Return whether the rollout of the newest template is complete, whether or not its Pods still answer."""
    status = live.get("status", {})
    is_complete = condition_of(live, "Progressing").get("reason") == "NewReplicaSetAvailable"
    return bool(_is_observed(live) and is_complete and status.get("updatedReplicas", 0) == status.get("replicas", 0))


def _held(live: Body | None, world: World, hold: Blocked) -> _Standing:
    """Return where a service stands that waits for an input or its Evaluation: what was rolled out before goes on."""
    if live is None:
        return _Standing("Waiting", False, hold.reason, hold.message)
    ready, wanted = live.get("status", {}).get("readyReplicas", 0), live["spec"].get("replicas", 1)
    wrong = _wrong(live, world) if ready < wanted else None
    why = f"; {wrong.message}" if wrong is not None else ""
    message = f"{hold.message}; the model rolled out before stays ({ready} of {wanted} replicas answer{why})"
    return _Standing("Holding" if ready else "NotReady", ready > 0, hold.reason, message)


def _standing(resource: Resource[InferenceServiceSpec], live: Body, world: World) -> _Standing:
    """Return where a service stands whose Deployment is as it shall be: what answers now, and why not all do."""
    ready, wanted, name = live.get("status", {}).get("readyReplicas", 0), live["spec"].get("replicas", 1), live["metadata"]["name"]
    if wanted == 0 and resource.spec.replicas == 0:
        return _Standing("Idle", False, "ScaledToZero", "`replicas` is 0")
    if wanted == 0:
        undo = f"`kubectl scale deployment {name} --replicas={resource.spec.replicas}` undoes it"
        return _Standing(
            "Idle", False, "ScaledByHand", f"somebody scaled the Deployment `{name}` to 0, though `replicas` is {resource.spec.replicas} here; {undo}"
        )
    if _rolled_out(live):
        scaled = "" if wanted == resource.spec.replicas else f"; the Deployment `{name}` was scaled to {wanted}, `replicas` is {resource.spec.replicas} here"
        return _Standing("Ready", True, "Answering", f"{ready} of {wanted} replicas answer at {url(resource.owner)}{scaled}")
    rolling, complete, wrong = _rolling_out(live, wanted, is_written=True), _was_rolled_out(live), _wrong(live, world)
    state = ("Degraded" if ready else "NotReady") if complete else rolling.state
    if wrong is not None:
        return _Standing(state, ready > 0, wrong.reason, f"{ready} of {wanted} replicas answer; {wrong.message}")
    if not complete:
        return rolling
    waits = next((f"; {starting(pod)}" for pod in _pods(world) if pod.get("status", {}).get("phase") != "Running"), "; the others are loading")
    return _Standing(state, ready > 0, "Starting", f"{ready} of {wanted} replicas answer{waits}")


def _wrong(live: Body, world: World) -> Failure | None:
    """Return what keeps the replicas of a Deployment from answering: a Pod's own trouble first, then the Deployment's."""
    name, pods = live["metadata"]["name"], _pods(world)
    of_pod = next((found for found in map(trouble, pods) if found is not None), None)
    refused, progressing = condition_of(live, "ReplicaFailure"), condition_of(live, "Progressing")
    failing = next((pod["metadata"]["name"] for pod in pods if fails_its_probe(pod)), None)
    if of_pod is not None:
        return of_pod
    if refused.get("status") == "True":
        text = refused.get("message", "")
        return Failure(reason_of(text), f"the Pods of the Deployment `{name}` are refused: {text}")
    if live["spec"].get("paused") and not _was_rolled_out(live):
        return Failure("RolloutPaused", f"somebody paused the Deployment `{name}`; `kubectl rollout resume deployment {name}` undoes it")
    if failing is not None and _was_rolled_out(live):
        return Failure("NotAnswering", f"the server of the Pod `{failing}` runs and does not answer `/health`; see `kubectl logs {failing}`")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        seconds = live["spec"].get("progressDeadlineSeconds")
        return Failure("RolloutStuck", f"the newest model did not come to answer within {seconds} s; see `kubectl describe deployment {name}`")
    return None


def _pods(world: World) -> list[Body]:
    """Return the server's Pods; one that is being deleted has its successor, which tells more."""
    return [pod for pod in newest_first(world.of_kind("Pod")) if "deletionTimestamp" not in pod["metadata"]]


def _plan(
    resource: Resource[InferenceServiceSpec], facts: list[Fact], standing: _Standing, live: Body | None,
    create: tuple[dict[str, Any], ...] = (), update: tuple[dict[str, Any], ...] = (), *, now: datetime, requeue: float | None = None,
) -> Plan:  # fmt: skip
    """Compose the plan; model and digest in the status are those of the Deployment once it is rolled out, else the ones before."""
    facts = [*facts, Fact("Ready", standing.ready, standing.reason, standing.message)]
    status: dict[str, Any] = {
        "observedGeneration": resource.generation,
        "state": standing.state,
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
