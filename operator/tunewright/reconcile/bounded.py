"""What the three kinds that end have in common: terminal is read first, one Job is brought to its end, one status is composed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tunewright.api import API_VERSION
from tunewright.api.common import Storage
from tunewright.api.schema import ApiModel
from tunewright.build import Manifest
from tunewright.build.jobs import claim, job_limits
from tunewright.build.names import claim_name, job_name
from tunewright.build.settings import Settings
from tunewright.contract.run_result import ArtifactRef
from tunewright.reconcile.conditions import Fact, has_ended, transition_events, write_conditions
from tunewright.reconcile.failures import WARNINGS
from tunewright.reconcile.inputs import Blocked
from tunewright.reconcile.plan import Delete, Plan
from tunewright.reconcile.printed import size
from tunewright.reconcile.resource import Resource, parse_time, timestamp
from tunewright.reconcile.stage import POLL_SECONDS, RETRY_SECONDS, Stage, StageState, done_progress, last_progress, no_pod, observe, progress_status
from tunewright.reconcile.world import Body, World

RECHECK_SECONDS = 15.0
"""How often something that sends no event (a claim, a ConfigMap, a name another object holds) is looked at again."""

PENDING = "Pending"
"""The printed state of a resource that could go on and of which no Pod works: only one that works makes it `Training`."""

_QUIET = frozenset({"InputsReady", "DataPrepared", "ProgressReadable"})
"""Conditions that `Succeeded` sums up, bad news too."""


@dataclass(frozen=True)
class Outcome:
    """One step of a bounded resource: the printed state, its conditions (`Succeeded` last), other fields of the status, and what to do."""

    state: str
    facts: tuple[Fact, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    create: tuple[Manifest, ...] = ()
    update: tuple[Manifest, ...] = ()
    delete: tuple[Delete, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True)
class Step:
    """What `advance` makes of a Job: its printed state, the objects to write, and `result` once it has succeeded."""

    state: str
    stage: Stage
    facts: tuple[Fact, ...]
    fields: Mapping[str, Any]
    create: tuple[Manifest, ...] = ()
    update: tuple[Manifest, ...] = ()
    delete: tuple[Delete, ...] = ()
    requeue_after: float | None = None

    def outcome(self, facts: tuple[Fact, ...], fields: Mapping[str, Any]) -> Outcome:
        """Return the outcome with the conditions and fields that come before this stage's own."""
        return Outcome(self.state, (*facts, *self.facts), {**fields, **self.fields}, self.create, self.update, self.delete, self.requeue_after)


def after_end(resource: Resource[Any], now: datetime) -> Plan | None:
    """Return the plan of a resource that has ended (only its time to live is left), or None while it has not."""
    if not has_ended(resource.status):
        return None
    status = None
    if resource.status.get("observedGeneration") != resource.generation:
        # What can still be edited changes nothing of the end; the status says that the edit was seen.
        seen = [{**each, "observedGeneration": resource.generation} for each in resource.status["conditions"]]
        status = {**resource.status, "observedGeneration": resource.generation, "conditions": seen}
    ttl = resource.spec.ttl_seconds_after_finished
    completion = resource.status.get("completionTime")
    if ttl is None or completion is None:
        return Plan(status=status)
    left = (parse_time(completion) + timedelta(seconds=ttl) - now).total_seconds()
    if left > 0:
        return Plan(status=status, requeue_after=left)
    return Plan(delete=(Delete(API_VERSION, resource.kind, resource.name, resource.uid),))


def blocked(inputs: Blocked) -> Outcome:
    """Return the outcome of a resource that waits for an input."""
    facts = (Fact("InputsReady", False, inputs.reason, inputs.message), Fact("Succeeded", None, inputs.reason, inputs.message))
    return Outcome("Waiting", facts, requeue_after=RECHECK_SECONDS)


def output_claim(resource: Resource[Any], storage: Storage, settings: Settings, world: World) -> tuple[Manifest, ...] | Blocked:
    """Return the claim to make for a resource without an `output`, nothing if it is there, or who holds its name."""
    name = claim_name(resource.kind, resource.name)
    if resource.spec.output is not None or world.child("PersistentVolumeClaim", name) is not None:
        return ()
    if world.leaving("PersistentVolumeClaim", name) and world.of_kind("Job"):
        # It holds on until the Pod that uses it has ended; another cannot be made before.
        return ()
    return leaving("PersistentVolumeClaim", name, world) or taken("PersistentVolumeClaim", name, world) or (claim(resource.owner, name, storage, settings),)


def leaving(kind: str, name: str, world: World) -> Blocked | None:
    """Return the wait for an object that is being deleted, and holds its name until it is gone."""
    return Blocked("BeingDeleted", f"the {kind} `{name}` is being deleted; it is made again when it is gone") if world.leaving(kind, name) else None


def taken(kind: str, name: str, world: World) -> Blocked | None:
    """Return the conflict with an object of that name that is not this resource's."""
    if (kind, name) not in world.foreign:
        return None
    return Blocked("NameConflict", f"a {kind} named `{name}` exists that is not this resource's; delete it, or create this resource with another name")


def advance(world: World, name: str, running: str, wanted: Manifest | None, limits: Manifest) -> Step:
    """Bring the Job `name` a step further. `running` is the printed state while its Pod works.

    `wanted` is made while there is none, and not looked at afterwards: a Job that exists was told what its inputs were resolved to
    when it was made. Of one that has not ended only its `limits` are written again, when the spec's have changed.
    """
    suspend = bool(limits["suspend"])
    conflict = taken("Job", name, world)
    if conflict is not None:
        return Step("Waiting", Stage(StageState.PENDING), (Fact("Succeeded", None, conflict.reason, conflict.message),), {}, requeue_after=RECHECK_SECONDS)
    stage = observe(world, name)
    going = leaving("Job", name, world)
    if going is not None and stage.job is None:
        return Step(PENDING, Stage(StageState.PENDING), (Fact("Succeeded", None, going.reason, going.message),), {})
    known: dict[str, Any] = {"failures": stage.failures} if stage.failures else {}
    if stage.job is not None:
        # It began with its first Job, even if the operator died before it could write that down.
        known["startTime"] = stage.job["metadata"]["creationTimestamp"]
    match stage.state:
        case StageState.ABSENT if suspend:
            # Nothing is made for a suspended resource: a Job that exists only to be suspended explains nothing.
            return Step("Suspended", stage, (_suspended(),), known)
        case StageState.ABSENT:
            assert wanted is not None
            return Step(PENDING, stage, (Fact("Succeeded", None, "Starting", no_pod(name)),), known, create=(wanted,))
        case StageState.SUCCEEDED:
            return Step(running, stage, (), known)
        case StageState.FAILED:
            return Step("Failed", stage, (Fact("Succeeded", False, stage.reason, stage.message),), known)
        case StageState.RESULT_LOST:
            assert stage.job is not None
            message = f"the Pod of the Job `{name}` was deleted before its result was read; it runs again and finds what it published"
            delete = Delete("batch/v1", "Job", name, stage.job["metadata"]["uid"])
            return Step(PENDING, stage, (Fact("Succeeded", None, "ResultLost", message),), known, delete=(delete,))
        case _:
            assert stage.job is not None
            return replace(_active(stage, running, suspend, known), update=_new_limits(stage.job, limits))


def _active(stage: Stage, running: str, suspend: bool, known: Mapping[str, Any]) -> Step:
    """Return the step of a Job that waits, runs or is suspended."""
    if suspend:
        # While its Pod still saves a checkpoint the last figures are worth another look.
        return Step("Suspended", stage, (_suspended(),), known, requeue_after=None if stage.state == StageState.SUSPENDED else POLL_SECONDS)
    fields = dict(known)
    facts: tuple[Fact, ...] = ()
    if stage.progress is not None:
        fields["progress"] = progress_status(stage.progress)
        facts = (Fact("ProgressReadable", True, "Answered", "the Pod answers with its progress"),)
    elif stage.asked and stage.state == StageState.RUNNING:
        facts = (Fact("ProgressReadable", False, "NoAnswer", "the Pod does not answer on its progress port; only the live figures are missing"),)
    assert stage.job is not None
    name = stage.job["metadata"]["name"]
    if stage.state == StageState.SUSPENDED:
        resuming = Fact("Succeeded", None, "Resuming", f"somebody suspended the Job `{name}`, though `suspend` is false here; it is resumed")
        return Step(PENDING, stage, (resuming,), fields, requeue_after=POLL_SECONDS)
    if stage.state == StageState.PENDING:
        return Step(PENDING, stage, (Fact("Succeeded", None, stage.reason, stage.message),), fields, requeue_after=POLL_SECONDS)
    again = RETRY_SECONDS if stage.asked and stage.progress is None else POLL_SECONDS
    total = Fact("Succeeded", None, running, stage.message or f"the Job `{name}` is running")
    return Step(running, stage, (*facts, total), fields, requeue_after=again)


def _new_limits(job: Body, limits: Manifest) -> tuple[Manifest, ...]:
    """Return the server-side apply that brings a Job's limits to those of the spec, or nothing when they are the same."""
    if all(job["spec"].get(field) == value for field, value in limits.items()):
        return ()
    meta = job["metadata"]
    identity = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
    return ({"apiVersion": "batch/v1", "kind": "Job", "metadata": identity, "spec": limits},)


def only_job(
    resource: Resource[Any], stage: str, running: str, world: World, settings: Settings, make: Callable[[], Manifest | Blocked],
) -> tuple[Body, Step, tuple[Manifest, ...]] | Blocked:  # fmt: skip
    """Bring a resource of a single Job a step further: return that Job, the step, and the claim to make before it.

    `make` resolves the inputs; it is called only while there is no Job.
    """
    name = job_name(resource.name, stage)
    job = world.child("Job", name) or make()
    if isinstance(job, Blocked):
        return job
    claims = output_claim(resource, resource.spec.storage, settings, world)
    if isinstance(claims, Blocked):
        return claims
    return job, advance(world, name, running, dict(job), job_limits(max_retries=resource.spec.max_retries)), claims


def with_claims(outcome: Outcome, claims: tuple[Manifest, ...]) -> Outcome:
    """Return `outcome` with the claim made before the Job that mounts it."""
    return replace(outcome, create=(*claims, *outcome.create))


def succeeded(
    step: Step,
    resource: Resource[Any],
    uri: str,
    facts: tuple[Fact, ...],
    fields: Mapping[str, Any],
    message: str,
    now: datetime,
    /,
    **figures: float | int | None,
) -> Outcome:
    """Return the outcome of a resource whose last Job has published its artifact at `uri`."""
    assert step.stage.result is not None
    assert step.stage.result.artifact is not None
    artifact = artifact_status(step.stage.result.artifact, uri)
    progress = done_progress(resource.status.get("progress", {}), timestamp(now), **figures)
    done = Fact("Succeeded", True, "Succeeded", message)
    return Outcome("Done", (*facts, done), {**fields, **step.fields, "artifact": artifact, "progress": progress})


def artifact_status(artifact: ArtifactRef, uri: str) -> dict[str, Any]:
    """Return an artifact as it stands in a status."""
    return {"uri": uri, "digest": artifact.digest, "sizeBytes": artifact.size_bytes, "sizeText": size(artifact.size_bytes)}


def plan(resource: Resource[ApiModel], outcome: Outcome, now: datetime) -> Plan:
    """Compose the plan: the status is whole, and nothing of the old one stays but times and what `fields` carries over."""
    old = resource.status
    status: dict[str, Any] = {
        "observedGeneration": resource.generation,
        "state": outcome.state,
        "conditions": write_conditions(old, outcome.facts, resource.generation, now),
        **last_progress(old, begins=any(each["kind"] == "Job" for each in outcome.create)),
        **outcome.fields,
    }
    started = old.get("startTime") or outcome.fields.get("startTime") or (timestamp(now) if outcome.create else None)
    if started:
        status["startTime"] = started
    last = outcome.facts[-1]
    ended = last.type == "Succeeded" and last.status is not None
    if ended:
        status["completionTime"] = timestamp(now)
    events = transition_events(old, (fact for fact in outcome.facts if fact.type not in _QUIET), WARNINGS)
    requeue = outcome.requeue_after
    if ended and requeue is None:
        requeue = getattr(resource.spec, "ttl_seconds_after_finished", None)
    return Plan(outcome.create, outcome.update, outcome.delete, status, events, requeue)


def _suspended() -> Fact:
    """Return the condition of a suspended resource."""
    return Fact("Succeeded", None, "Suspended", "`suspend` is true; set it to false to go on from the newest checkpoint")
