"""What a cluster can make of the objects of a resource, and what must then be said: one table per kind.

The statuses are those that Kubernetes 1.34 writes, read in its sources: the kubelet (pkg/kubelet/status/generate.go, images/image_manager.go,
eviction/helpers.go, nodeshutdown), the scheduler (pkg/scheduler/framework/types.go, FitError), the controllers of taints, lost nodes, Pod collection, Jobs
and Deployments (pkg/controller/...). Unit tests play the rows in a World, API tests against a server with the operator as a process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from support.worlds import failure
from tunewright.contract.run_result import RunResult

Body = dict[str, Any]
Wanted = Mapping[str, str]
"""Words of the table of `kubectl get`, by column; a column that is not named is not looked at."""

NODE: Final = "gpu-7"
REPLICAS: Final = 2
_TIME: Final = "2026-01-01T00:00:00Z"
_NOT_HELPFUL: Final = "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
STAGES: Final = {"FineTuneJob": "train", "ModelMerge": "merge", "Evaluation": "evaluate", "InferenceService": "server"}
CLAIMS: Final = {"FineTuneJob": "bot-ftj", "ModelMerge": "bot-merge", "Evaluation": "bot-evaluate"}
RUNNING: Final = {"FineTuneJob": "Training", "ModelMerge": "Merging", "Evaluation": "Evaluating"}
JOB_RUNS: Final[Body] = {"startTime": _TIME, "active": 1, "ready": 1, "terminating": 0}
JOB_WAITS: Final[Body] = {"startTime": _TIME, "active": 1, "ready": 0, "terminating": 0}
NO_POD: Final[Body] = {"startTime": _TIME, "active": 0, "ready": 0, "terminating": 0}


@dataclass(frozen=True)
class Pod:
    """A Pod in the state its status gives; one without a node was not scheduled, one that is `deleting` has its grace period left."""

    status: Body
    suffix: str = "a"
    node: str | None = NODE
    deleting: bool = False


@dataclass(frozen=True)
class Seen:
    """The world of a row. `status` and `by_hand` are those of the Job or the Deployment: what its controller and what somebody wrote.

    `deleted` are kinds of which somebody deletes the object; of `leaving` a finalizer keeps it for now. Where `answers` is false no Pod answers on its
    progress port.
    """

    pods: tuple[Pod, ...] = ()
    status: Body = field(default_factory=dict)
    by_hand: Body = field(default_factory=dict)
    claim: str = "Bound"
    deleted: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    answers: bool = True


@dataclass(frozen=True)
class Row:
    """`seen` of the name of the container; `says` are columns of `kubectl get`, `words` stand in the message of the condition that sums up.

    `ends` are rows after which nothing goes back: the resource has ended. `first` are rows in which nothing worked before.
    """

    name: str
    seen: Callable[[str], Seen]
    says: Wanted
    words: tuple[str, ...] = ()
    ends: bool = False
    first: bool = False


# Statuses of Pods.


def _condition(type_: str, status: bool, reason: str = "", message: str = "") -> Body:
    found = {"type": type_, "status": str(status), "lastTransitionTime": _TIME}
    return {**found, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}


def _unready(container: str) -> Body:
    return {"reason": "ContainersNotReady", "message": f"containers with unready status: [{container}]"}


def container(name: str, state: Body, *, ready: bool = False, started: bool = False, restarts: int = 0, last: Body | None = None) -> Body:
    """Return a container's status."""
    image = "registry.invalid/trainer:1"
    return {
        "name": name, "image": image, "imageID": "", "state": state, "lastState": {"terminated": last} if last else {},
        "ready": ready, "started": started, "restartCount": restarts,
    }  # fmt: skip


def scheduled(name: str, phase: str, status: Body, *more: Body, ready: bool = False, init: Body | None = None, **fields: Any) -> Body:
    """Return the status of a Pod on a node, with the conditions the kubelet writes; `more` replace those of their type."""
    initialized = init is None or init["ready"]
    conditions = {each["type"]: each for each in (
        _condition("PodReadyToStartContainers", bool(status["state"].get("running"))),
        _condition("Initialized", initialized, *(() if initialized else ("ContainersNotInitialized", "containers with incomplete status: [fetch]"))),
        _condition("Ready", ready, **({} if ready else _unready(name))),
        _condition("ContainersReady", ready, **({} if ready else _unready(name))),
        _condition("PodScheduled", True),
        *more,
    )}  # fmt: skip
    seen = {"phase": phase, "conditions": list(conditions.values()), "containerStatuses": [status], "qosClass": "Burstable", "startTime": _TIME, **fields}
    return {**seen, "initContainerStatuses": [init]} if init is not None else seen


def works(name: str, *more: Body, **fields: Any) -> Body:
    """Return the status of a Pod that runs and is ready."""
    return scheduled(name, "Running", container(name, {"running": {"startedAt": _TIME}}, ready=True, started=True), *more, ready=True, **fields)


def unscheduled(message: str = "", reason: str = "Unschedulable") -> Body:
    """Return the status of a Pod without a node, before or after the scheduler looked at it."""
    return {"phase": "Pending", "qosClass": "Burstable", **({"conditions": [_condition("PodScheduled", False, reason, message)]} if message else {})}


def waits(name: str, reason: str, message: str = "", **more: Any) -> Body:
    """Return the status of a Pod whose container waits."""
    return scheduled(name, "Pending", container(name, {"waiting": {"reason": reason, **({"message": message} if message else {})}}), **more)


def ends(name: str, code: int, reason: str, result: RunResult | None = None, /, *more: Body, **fields: Any) -> Body:
    """Return the status of a Pod that has failed."""
    return scheduled(name, "Failed", container(name, {"terminated": ended(code, reason, result)}), *more, **fields)


def ended(code: int, reason: str = "Error", result: RunResult | None = None) -> Body:
    """Return how a container ended."""
    return {"exitCode": code, "reason": reason, "message": result.to_json() if result else "", "startedAt": _TIME, "finishedAt": _TIME}


def disrupted(by: str, message: str) -> Body:
    """Return the condition of a Pod that is taken from its node."""
    return _condition("DisruptionTarget", True, by, message)


NODE_NOT_READY: Final = _condition("Ready", False)
"""As the node lifecycle controller sets it: the kubelet's reason for True, none, stays."""
PREEMPTED: Final = disrupted("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")
DRAINED: Final = disrupted("EvictionByEvictionAPI", "Eviction API: evicting")
TAINTED: Final = disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
NODE_GONE: Final = disrupted("DeletionByPodGC", "PodGC: node no longer exists")
LOW_MEMORY: Final = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. "
SHUTDOWN: Final = "Pod was terminated in response to imminent node shutdown."
NO_GPU: Final = (
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are available: "
    "3 No preemption victims found for incoming pod."
)
UNBOUND: Final = f"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. {_NOT_HELPFUL}"
NO_CLAIM: Final = f'0/3 nodes are available: persistentvolumeclaim "rows" not found. {_NOT_HELPFUL}'
LOST_CLAIM: Final = f'0/3 nodes are available: persistentvolumeclaim "x" bound to non-existent persistentvolume "pv-1". {_NOT_HELPFUL}'
PULL: Final = 'failed to pull and unpack image "registry.invalid/trainer:1": failed to resolve reference: 401 Unauthorized'
BACK_OFF: Final = f'Back-off pulling image "registry.invalid/trainer:1": ErrImagePull: {PULL}'
BAD_NAME: Final = 'Failed to apply default image tag "Registry/Trainer": couldn\'t parse image name "Registry/Trainer": invalid reference format'
CRASHING: Final = "back-off 2m40s restarting failed container=server pod=bot-server-b_team(0)"
QUOTA: Final = 'pods "bot-server-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8'
POLICY: Final = 'pods "bot-server-x" is forbidden: violates PodSecurity "restricted:latest": seccompProfile'


def _pod(status: Body, **more: Any) -> Seen:
    return Seen((Pod(status, **more),), JOB_WAITS)


def _new(status: Body) -> Seen:
    return _pod(status, node=None)


def _after(status: Body, failed: int = 0, then: Body | None = None) -> Callable[[str], Seen]:
    def seen(name: str) -> Seen:
        successor = Pod(then or waits(name, "ContainerCreating"), "b")
        return Seen((Pod(status), successor), {**JOB_WAITS, **({"failed": failed} if failed else {})})

    return seen


def _ending(*conditions: Body, **fields: Any) -> Callable[[str], Seen]:
    return lambda name: Seen((Pod(works(name, *conditions, **fields), deleting=True),), {**JOB_WAITS, "terminating": 1}, answers=False)


def _pending(reason: str, **more: str) -> Wanted:
    return {"STATE": "Pending", "PROGRESS": "62%", "TOKENS/S": "", "ETA": "", "REASON": reason, **more}


WORKS: Final[Wanted] = {"STATE": "{running}", "PROGRESS": "62%", "REASON": "{running}"}
_BEGINS: Final = _pending("Starting", PROGRESS="")
_STOPPED: Final = RunResult(verb="train", outcome="Stopped", reason="Stopped", message="stopped at step 31; the checkpoint is saved")

JOB_ROWS: Final = (
    Row("no Pod, for a quota or a policy refuses it", lambda c: Seen((), NO_POD), _pending("Starting"), ("has no Pod yet that runs", "kubectl describe job bot-", "quota")),
    Row("not scheduled yet", lambda c: _new(unscheduled()), _pending("Starting"), ("has no Pod yet that runs", "kubectl describe pod -l job-name=bot-", "scheduler")),
    Row("unschedulable", lambda c: _new(unscheduled(NO_GPU)), _pending("Unschedulable"), ("3 Insufficient nvidia.com/gpu",)),
    Row("claim without a volume", lambda c: Seen((Pod(unscheduled(UNBOUND), node=None),), JOB_WAITS, claim="Pending"), _pending("Unschedulable"),
        ("unbound immediate", "kubectl describe pvc bot-")),
    Row("claim of an input missing", lambda c: _new(unscheduled(NO_CLAIM)), _pending("Unschedulable"), ('persistentvolumeclaim "rows" not found',)),
    Row("claim lost", lambda c: Seen((Pod(unscheduled(LOST_CLAIM), node=None),), JOB_WAITS, claim="Lost"), _pending("ClaimLost"), ("is lost", "apply it again")),
    Row("scheduling gate", lambda c: _new(unscheduled("Scheduling is blocked due to non-empty scheduling gates", "SchedulingGated")),
        _pending("SchedulingGated"), ("queue",)),
    Row("scheduler error", lambda c: _new(unscheduled('running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded', "SchedulerError")),
        _pending("Unschedulable"), ("binding volumes",)),
    Row("container creating", lambda c: _pod(waits(c, "ContainerCreating")), _pending("Starting"), ("has no Pod yet that runs", "a volume, an image")),
    Row("image cannot be pulled", lambda c: _pod(waits(c, "ErrImagePull", PULL)), _pending("ImagePullFailed"), ("registry.invalid/trainer:1", "401", "chart")),
    Row("image pull back-off", lambda c: _pod(waits(c, "ImagePullBackOff", BACK_OFF)), _pending("ImagePullFailed"), ("401 Unauthorized",)),
    Row("invalid image name", lambda c: _pod(waits(c, "InvalidImageName", BAD_NAME)), _pending("ImagePullFailed"), ("invalid reference format",)),
    Row("secret missing", lambda c: _pod(waits(c, "CreateContainerConfigError", 'secret "hub-token" not found')), _pending("ContainerNotCreated"),
        ('secret "hub-token" not found',)),
    Row("container cannot be started", lambda c: _pod(waits(c, "RunContainerError", "failed to create containerd task: no space left on device")),
        _pending("ContainerNotCreated"), ("no space left",)),
    Row("evicted, next one starts", lambda c: _after(ends(c, 137, "Error", None, disrupted("TerminationByKubelet", LOW_MEMORY), reason="Evicted", message=LOW_MEMORY))(c),
        _pending("Starting"), ("attempt 2 after Evicted", "low on resource: memory", "kubectl describe pod")),
    Row("being drained", _ending(DRAINED), _pending("Evicted"), ("evicted", "has until", "another Pod is made")),
    Row("being preempted", _ending(PREEMPTED), _pending("Preempted"), ("higher priority", "has until")),
    Row("preempted, next one has no node", lambda c: _after(ends(c, 75, "Error", _STOPPED, PREEMPTED), then=unscheduled(NO_GPU))(c), _pending("Unschedulable"),
        ("Insufficient nvidia.com/gpu",)),
    Row("preempted, next one starts", lambda c: _after(ends(c, 75, "Error", _STOPPED, PREEMPTED))(c), _pending("Starting"),
        ("attempt 2 after Preempted", "checkpoint is saved")),
    Row("node does not answer", lambda c: Seen((Pod(works(c, NODE_NOT_READY)),), JOB_RUNS, answers=False), _pending("NodeLost"), (f"`{NODE}`", "does not answer")),
    Row("node does not answer, its Pod does", lambda c: Seen((Pod(works(c, NODE_NOT_READY)),), JOB_RUNS), WORKS, ("is running",)),
    Row("node lost, Pod taken and hanging", _ending(NODE_NOT_READY, TAINTED), _pending("NodeLost"), (f"`{NODE}`", "delete the node")),
    Row("taint of somebody", _ending(TAINTED), _pending("Evicted"), ("NoExecute taint",)),
    Row("Pod of phase Unknown", lambda c: Seen((Pod({**works(c, NODE_NOT_READY), "phase": "Unknown", "reason": "NodeLost",
        "message": f"Node {NODE} which was running pod x is unresponsive"}),), JOB_RUNS, answers=False), _pending("NodeLost"), (f"`{NODE}`",)),
    Row("node deleted, next one starts", lambda c: _after({**works(c, NODE_NOT_READY, NODE_GONE), "phase": "Failed"})(c), _pending("Starting"),
        ("attempt 2 after NodeLost", "node no longer exists")),
    Row("node shut down, next one starts", lambda c: _after(ends(c, 143, "Error", None, disrupted("TerminationByKubelet", SHUTDOWN), reason="Terminated", message=SHUTDOWN))(c),
        _pending("Starting"), ("attempt 2 after Evicted", "node shutdown")),
    Row("out of memory, next one starts", lambda c: _after(ends(c, 137, "OOMKilled"), failed=1)(c), _pending("Starting"),
        ("attempt 2 after OutOfMemory", "resources.memory")),
    Row("failed, next one works", lambda c: Seen((Pod(ends(c, 1, "Error", failure("train", "DiskFull", "no space left"))), Pod(works(c), "b")), {**JOB_RUNS, "failed": 1}),
        WORKS, ("attempt 2 after DiskFull: no space left",)),
    Row("does not answer for its progress", lambda c: Seen((Pod(works(c)),), JOB_RUNS, answers=False), {**WORKS, "TOKENS/S": "", "ETA": ""}, ("is running",)),
    Row("Pod being deleted by hand", _ending(), _pending("PodDeleted"), ("was deleted", "has until")),
    Row("Pod deleted by hand", lambda c: Seen((), NO_POD), _pending("Starting"), ("has no Pod yet",)),
    Row("Job deleted by hand", lambda c: Seen(deleted=("Job",)), _BEGINS, ("has no Pod yet",)),
    Row("Job being deleted by hand", lambda c: Seen(leaving=("Job",)), _pending("BeingDeleted"), ("is being deleted", "made again")),
    Row("Job suspended by hand", lambda c: Seen((), NO_POD, by_hand={"suspend": True}), _pending("Starting"), ("has no Pod yet",)),
    Row("Job edited by hand", lambda c: Seen((), NO_POD, by_hand={"parallelism": 0}), _pending("Starting"), ("has no Pod yet",)),
    Row("claim being deleted by hand", lambda c: Seen((Pod(works(c)),), JOB_RUNS, leaving=("PersistentVolumeClaim",)), WORKS, ("is running",)),
    Row("its result gone unread", lambda c: Seen((), {"phase": "Complete"}), _BEGINS, ("has no Pod yet",)),
    Row("failed for good", lambda c: Seen((Pod(ends(c, 137, "OOMKilled")),), {"phase": "Failed"}),
        {"STATE": "Failed", "PROGRESS": "62%", "TOKENS/S": "", "ETA": "", "REASON": "OutOfMemory"}, ("resources.memory", "`maxRetries`"), ends=True),
    Row("done, then all is deleted by hand", lambda c: Seen((), {"phase": "Succeeded"}, deleted=("Job",)), {"STATE": "Done", "PROGRESS": "100%", "REASON": "Succeeded"},
        ends=True),
)  # fmt: skip


# InferenceService.


def _rollout(*pods: Pod, updated: int | None = None, **conditions: Body) -> Seen:
    """Return a Deployment as its controller sees these Pods: what has ended or is being deleted does not count."""
    active = [pod for pod in pods if not pod.deleting and pod.status["phase"] not in ("Failed", "Succeeded")]
    ready = sum(is_ready(pod) for pod in active)
    progressing = _condition("Progressing", True, "NewReplicaSetAvailable", 'ReplicaSet "bot-server-1" has successfully progressed.')
    available = ready >= REPLICAS
    minimum = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    found = {"Available": _condition("Available", available, minimum), "Progressing": progressing, **conditions}
    counts = {"replicas": len(active), "updatedReplicas": len(active) if updated is None else updated, "readyReplicas": ready, "availableReplicas": ready}
    missing = max(REPLICAS - ready, 0)
    return Seen(pods, {**counts, "unavailableReplicas": missing, "conditions": [{**each, "lastUpdateTime": _TIME} for each in found.values()]})


def is_ready(pod: Pod) -> bool:
    """Return whether a Pod is ready, as everything in Kubernetes reads it."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod.status.get("conditions", []))


def _serves(suffix: str) -> Pod:
    return Pod(works("server", init=container("fetch", {"terminated": ended(0, "Completed")}, ready=True)), suffix)


def _crashes(suffix: str, *, waiting: bool = True, code: int = 1, reason: str = "Error") -> Pod:
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": CRASHING}} if waiting else {"running": {"startedAt": _TIME}}
    fetched = container("fetch", {"terminated": ended(0, "Completed")}, ready=True)
    status = container("server", state, restarts=4 if waiting else 5, last=ended(code, reason))
    return Pod(scheduled("server", "Running", status, init=fetched), suffix)


def _loads(suffix: str) -> Pod:
    fetched = container("fetch", {"terminated": ended(0, "Completed")}, ready=True)
    return Pod(scheduled("server", "Running", container("server", {"running": {"startedAt": _TIME}}), init=fetched), suffix)


def _fails_its_probe(suffix: str) -> Pod:
    fetched = container("fetch", {"terminated": ended(0, "Completed")}, ready=True)
    return Pod(scheduled("server", "Running", container("server", {"running": {"startedAt": _TIME}}, started=True), init=fetched), suffix)


def _fetches(suffix: str, state: Body, **more: Any) -> Pod:
    return Pod(waits("server", "PodInitializing", init=container("fetch", state, **more)), suffix)


def _starts(suffix: str) -> Pod:
    return _fetches(suffix, {"waiting": {"reason": "PodInitializing"}})


def _unplaced(suffix: str) -> Pod:
    return Pod(unscheduled(NO_GPU), suffix, node=None)


SERVES: Final = _rollout(_serves("a"), _serves("b"))
ROLLING: Final = {"Progressing": _condition("Progressing", True, "ReplicaSetUpdated", 'ReplicaSet "bot-server-1" is progressing.')}
STUCK: Final = {"Progressing": _condition("Progressing", False, "ProgressDeadlineExceeded", 'ReplicaSet "bot-server-1" has timed out progressing.')}
REFUSED: Final = {"ReplicaFailure": _condition("ReplicaFailure", True, "FailedCreate", QUOTA)}
FORBIDDEN: Final = {"ReplicaFailure": _condition("ReplicaFailure", True, "FailedCreate", POLICY)}
_BAD_DIGEST: Final = ended(78, "Error", failure("fetch", "DigestMismatch", "the model is not what its manifest says"))
READY: Final[Wanted] = {"STATE": "Ready", "READY": "2", "DESIRED": "2", "REASON": "Answering"}
BACK_OFF_STATE: Final = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=fetch"}}


def _says(state: str, ready: int, reason: str) -> Wanted:
    return {"STATE": state, "READY": str(ready), "DESIRED": str(REPLICAS), "REASON": reason}


def _first(name: str, seen: Seen, reason: str, *words: str, ready: int = 0) -> Row:
    return Row(f"first rollout: {name}", lambda c: seen, _says("Starting", ready, reason), words, first=True)


def _later(name: str, seen: Seen, state: str, ready: int, reason: str, *words: str) -> Row:
    return Row(name, lambda c: seen, _says(state, ready, reason), words)


def _waits_pair(reason: str, message: str) -> Seen:
    return _rollout(*(_fetches(suffix, {"waiting": {"reason": reason, "message": message}}) for suffix in "ab"), **ROLLING)


SERVING_ROWS: Final = (
    _first("no Pod yet", _rollout(**ROLLING), "RollingOut", "0 of 2 replicas have the newest model"),
    _first("not scheduled yet", _rollout(Pod(unscheduled(), "a", None), Pod(unscheduled(), "b", None), **ROLLING), "RollingOut", "0 answer"),
    _first("unschedulable", _rollout(_unplaced("a"), _unplaced("b"), **ROLLING), "Unschedulable", "3 Insufficient nvidia.com/gpu"),
    _first("image pull back-off", _waits_pair("ImagePullBackOff", BACK_OFF), "ImagePullFailed", "401", "chart"),
    _first("invalid image name", _waits_pair("InvalidImageName", BAD_NAME), "ImagePullFailed", "invalid reference format"),
    _first("secret missing", _waits_pair("CreateContainerConfigError", 'secret "hub-token" not found'), "ContainerNotCreated", "hub-token"),
    _first("model does not verify, in back-off", _rollout(_fetches("a", BACK_OFF_STATE, restarts=2, last=_BAD_DIGEST), **ROLLING), "DigestMismatch",
           "not what its manifest says", "`fetch` ended 3 times"),
    _first("model does not verify, just now", _rollout(_fetches("a", {"terminated": _BAD_DIGEST}), **ROLLING), "DigestMismatch", "`fetch` ended once"),
    _first("fetch out of memory", _rollout(_fetches("a", BACK_OFF_STATE, restarts=1, last=ended(137, "OOMKilled")), **ROLLING), "OutOfMemory", "resources.memory"),
    _first("fetch runs", _rollout(_fetches("a", {"running": {"startedAt": _TIME}}, started=True), _starts("b"), **ROLLING), "RollingOut", "2 of 2", "0 answer"),
    _first("server loads", _rollout(_loads("a"), _loads("b"), **ROLLING), "RollingOut", "0 answer"),
    _first("server crashes", _rollout(_crashes("a"), _crashes("b"), **ROLLING), "CrashLoop", "ended 5 times", "exit code 1", "--previous"),
    _first("one of two answers", _rollout(_serves("a"), _loads("b"), **ROLLING), "RollingOut", "1 answer", ready=1),
    _first("quota", _rollout(**ROLLING, **REFUSED), "QuotaExceeded", "exceeded quota: gpus"),
    _first("Pods forbidden by a policy", _rollout(**ROLLING, **FORBIDDEN), "AdmissionDenied", "violates PodSecurity"),
    _first("does not come up in time", _rollout(_loads("a"), _loads("b"), **STUCK), "RolloutStuck", "3660 s", "kubectl describe deployment bot-server"),
    _later("one crashes", _rollout(_serves("a"), _crashes("b")), "Degraded", 1, "CrashLoop", "1 of 2 replicas answer", "ended 5 times"),
    _later("both crash", _rollout(_crashes("a"), _crashes("b")), "NotReady", 0, "CrashLoop", "0 of 2 replicas answer", "--previous"),
    _later("both load again after a crash", _rollout(_crashes("a", waiting=False), _crashes("b", waiting=False)), "NotReady", 0, "CrashLoop", "ended 5 times"),
    _later("out of memory", _rollout(_serves("a"), _crashes("b", code=137, reason="OOMKilled")), "Degraded", 1, "OutOfMemory", "resources.memory"),
    _later("one fails its probe", _rollout(_serves("a"), _fails_its_probe("b")), "Degraded", 1, "NotAnswering", "does not answer `/health`"),
    _later("both fail their probes", _rollout(_fails_its_probe("a"), _fails_its_probe("b")), "NotReady", 0, "NotAnswering", "kubectl logs bot-server-"),
    _later("node does not answer", _rollout(_serves("a"), Pod(works("server", NODE_NOT_READY), "b")), "Degraded", 1, "NodeLost", f"`{NODE}`"),
    _later("node lost, next one has no node", _rollout(_serves("a"), Pod(works("server", NODE_NOT_READY, TAINTED), "b", deleting=True), _unplaced("c")),
           "Degraded", 1, "Unschedulable", "Insufficient nvidia.com/gpu"),
    _later("evicted, next one starts", _rollout(_serves("a"), Pod(ends("server", 137, "Error", None, disrupted("TerminationByKubelet", LOW_MEMORY), reason="Evicted", message=LOW_MEMORY), "b"), _starts("c")),
           "Degraded", 1, "Starting", "1 of 2 replicas answer", "is starting"),
    _later("preempted, next one has no node", _rollout(_serves("a"), Pod(works("server", PREEMPTED), "b", deleting=True), _unplaced("c")),
           "Degraded", 1, "Unschedulable", "1 of 2 replicas answer"),
    _later("Pods deleted by hand", _rollout(_starts("c"), _starts("d")), "NotReady", 0, "Starting", "0 of 2 replicas answer"),
    _later("Pods deleted, a quota refuses new ones", _rollout(**REFUSED), "NotReady", 0, "QuotaExceeded", "exceeded quota: gpus"),
    _later("update, old ones serve", _rollout(_serves("a"), _serves("b"), _loads("c"), updated=1, **ROLLING), "Updating", 2, "RollingOut", "1 of 2 replicas have the newest model"),
    _later("update, new one crashes", _rollout(_serves("a"), _serves("b"), _crashes("c"), updated=1, **ROLLING), "Updating", 2, "CrashLoop", "2 of 2 replicas answer"),
    _later("update, new one has no node", _rollout(_serves("a"), _serves("b"), _unplaced("c"), updated=1, **ROLLING), "Updating", 2, "Unschedulable", "nvidia.com/gpu"),
    _later("update, a quota refuses the new one", _rollout(_serves("a"), _serves("b"), updated=0, **ROLLING, **REFUSED), "Updating", 2, "QuotaExceeded", "exceeded quota"),
    _later("update does not come up in time", _rollout(_serves("a"), _serves("b"), _loads("c"), updated=1, **STUCK), "Updating", 2, "RolloutStuck", "3660 s"),
    Row("update paused by hand", lambda c: _hand(_rollout(_serves("a"), _serves("b"), _loads("c"), updated=1, **ROLLING), paused=True), _says("Updating", 2, "RolloutPaused"),
        ("kubectl rollout resume deployment bot-server",)),
    Row("scaled to 0 by hand", lambda c: _hand(_rollout(), replicas=0), _says("Idle", 0, "ScaledByHand"), ("kubectl scale deployment bot-server --replicas=2",)),
    Row("scaled to 1 by hand", lambda c: _hand(_rollout(_serves("a")), replicas=1), _says("Ready", 1, "Answering"), ("1 of 1 replicas answer", "was scaled to 1")),
    Row("Deployment deleted by hand", lambda c: Seen(deleted=("Deployment",)), _says("Starting", 0, "RollingOut"), ("0 of 2 replicas",)),
    Row("Deployment being deleted by hand", lambda c: Seen(leaving=("Deployment",)), _says("Waiting", 0, "BeingDeleted"), ("made again",)),
    Row("Service deleted by hand", lambda c: Seen(SERVES.pods, SERVES.status, deleted=("Service",)), READY, ("2 of 2 replicas answer",)),
)  # fmt: skip


def _hand(seen: Seen, **by_hand: Any) -> Seen:
    return Seen(seen.pods, seen.status, by_hand=by_hand)


TABLES: Final[Mapping[str, tuple[Row, ...]]] = {**dict.fromkeys(RUNNING, JOB_ROWS), "InferenceService": SERVING_ROWS}


def healthy(kind: str, stage: str, suffix: str = "z") -> Seen:
    """Return the world in which all is well; after a row other Pods work than before it."""
    if kind == "InferenceService":
        return _hand(_rollout(_serves(f"{suffix}1"), _serves(f"{suffix}2")), replicas=REPLICAS, paused=False)
    return Seen((Pod(works(stage), suffix),), JOB_RUNS)


def says_when_well(kind: str) -> Wanted:
    """Return what is printed when all is well."""
    figures = {"LOSS": "0.8123", "EVAL": "0.94", "TOKENS/S": "4210", "ETA": "3m"} if kind == "FineTuneJob" else {}
    return READY if kind == "InferenceService" else {**expected(kind, WORKS), **figures}


def expected(kind: str, says: Wanted) -> Wanted:
    """Return the columns of a row as this kind prints them; not every kind has them all."""
    shown = {"FineTuneJob": {"TOKENS/S", "ETA"}}.get(kind, set())
    return {key: value.replace("{running}", RUNNING.get(kind, "")) for key, value in says.items() if key not in ("TOKENS/S", "ETA") or key in shown}


def is_better_than(columns: Wanted, kind: str, seen: Seen) -> bool:
    """Return whether what is printed promises more than the world holds: work without a Pod that works, answers without one that is ready."""
    if kind == "InferenceService":
        ready = sum(is_ready(pod) and not pod.deleting for pod in seen.pods)
        promises = {"Ready": max(seen.by_hand.get("replicas", REPLICAS), 1), "Degraded": 1, "Updating": 1, "Holding": 1}.get(columns["STATE"], 0)
        return int(columns["READY"] or 0) > ready or promises > ready
    working = any(
        pod.status["phase"] == "Running" and not pod.deleting and (is_ready(pod) or seen.answers) and "running" in pod.status["containerStatuses"][0]["state"]
        for pod in seen.pods
    )
    if columns["STATE"] == "Done":
        return seen.status.get("phase") != "Succeeded"
    promises_work = columns["STATE"] in RUNNING.values() or bool(columns.get("ETA")) or bool(columns.get("TOKENS/S"))
    return promises_work and not working
