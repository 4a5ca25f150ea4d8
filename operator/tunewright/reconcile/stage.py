"""Where one Job of a resource stands, read from the Job, its Pods and the last progress reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from tunewright.contract.progress import Progress
from tunewright.contract.run_result import RunResult
from tunewright.reconcile.failures import Failure, classify_job, classify_pod, failed_pods, run_result
from tunewright.reconcile.pods import is_alive, newest_first, trouble
from tunewright.reconcile.printed import duration
from tunewright.reconcile.world import Body, World

POLL_SECONDS: Final = 8.0
"""How often a running Pod is asked for its progress; the status promises a reading every 15 s."""

RETRY_SECONDS: Final = 2.0
"""When a Pod that did not answer is asked again: with the reader's patience of 3 s, one miss in a row still keeps the promise."""


class StageState(Enum):
    """The states of a Job that matter to a resource."""

    ABSENT = auto()
    SUSPENDED = auto()
    PENDING = auto()
    RUNNING = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    RESULT_LOST = auto()


@dataclass(frozen=True)
class Stage:
    """`reason` and `message` explain a PENDING, FAILED or retried stage; `progress` is None where the Pod did not answer."""

    state: StageState
    job: Body | None = None
    reason: str = ""
    message: str = ""
    result: RunResult | None = None
    progress: Progress | None = None
    asked: bool = False
    failures: int = 0


def no_pod(job_name: str) -> str:
    """Say that nothing runs yet: from the moment the Job is made until its Pod runs or is known not to, since each sentence in between would be a write for moments.

    That a quota or a policy refuses the Pods of a Job stands in its events and nowhere else.
    """
    look = f"`kubectl describe job {job_name}` and `kubectl describe pod -l job-name={job_name}`"
    return f"the Job has no Pod yet that runs; if this lasts, {look} say why (a quota or a policy, the scheduler, a volume, an image)"


def observe(world: World, job_name: str) -> Stage:
    """Return where the Job `job_name` stands."""
    job = world.child("Job", job_name)
    if job is None:
        return Stage(StageState.ABSENT)
    pods = [pod for pod in world.of_kind("Pod") if _is_of(pod, job)]
    status = job.get("status", {})
    failures = status.get("failed", 0)
    ended = {each["type"] for each in status.get("conditions", []) if each["status"] == "True"}
    if "Complete" in ended:
        result = next((found for pod in pods if (found := run_result(pod)) is not None and found.outcome == "Succeeded"), None)
        if result is None:
            # Jobs and Pods come by two watches: the Job's end may be seen before that of the Pod it follows from, which is then on its way.
            coming = any(is_alive(pod) for pod in pods)
            return Stage(StageState.RUNNING if coming else StageState.RESULT_LOST, job, "Running", failures=failures)
        return Stage(StageState.SUCCEEDED, job, result=result, failures=failures)
    if "Failed" in ended:
        failure = classify_job(job, pods)
        return Stage(StageState.FAILED, job, failure.reason, failure.message, failures=max(failures, 1))
    if job["spec"].get("suspend"):
        return Stage(StageState.SUSPENDED, job, failures=failures)
    return _active(job, pods, failures, world)


def _active(job: Body, pods: list[Body], failures: int, world: World) -> Stage:
    """Return the stage of a Job that has not ended: of its newest Pod that has not ended."""
    earlier = [classify_pod(pod) for pod in failed_pods(pods)]
    # Pods that were evicted or preempted are not counted by the Job.
    after = f"attempt {max(failures, len(earlier)) + 1} after {earlier[-1].reason}: {earlier[-1].message}" if earlier else ""
    pod = next(iter(newest_first(pods)), None)
    uid = pod["metadata"]["uid"] if pod is not None else ""
    wrong = trouble(pod) if pod is not None else None
    progress, asked = world.progress.get(uid), uid in world.progress
    runs = pod is not None and pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    if runs and (wrong is None or progress is not None):
        # Who answers works, even where the API server has lost the node.
        return Stage(StageState.RUNNING, job, "Running", after, progress=progress, asked=asked, failures=failures)
    succeeded = next((each["metadata"]["uid"] for each in pods if each.get("status", {}).get("phase") == "Succeeded"), None)
    if pod is None and succeeded is not None:
        # The Job controller has not counted it yet: a moment before its end nothing has changed, and nothing goes back to the start.
        return Stage(StageState.RUNNING, job, "Running", after, progress=world.progress.get(succeeded), asked=succeeded in world.progress, failures=failures)
    wrong = _claim_lost(world) or wrong
    if wrong is not None:
        return Stage(StageState.PENDING, job, wrong.reason, wrong.message + _unbound(wrong, world), failures=failures)
    return Stage(StageState.PENDING, job, "Starting", "; ".join(filter(None, (after, no_pod(job["metadata"]["name"])))), failures=failures)


def _claim_lost(world: World) -> Failure | None:
    """Return that the volume behind the resource's claim is gone."""
    for claim in world.of_kind("PersistentVolumeClaim"):
        if claim.get("status", {}).get("phase") == "Lost":
            name = claim["metadata"]["name"]
            return Failure("ClaimLost", f"the volume of the claim `{name}` is lost, with all that was on it; delete this resource and apply it again")
    return None


def _unbound(wrong: Failure, world: World) -> str:
    """Return what to look at when the Pod cannot be scheduled and its claim has no volume: the scheduler's sentence does not name it."""
    claim = next(iter(world.of_kind("PersistentVolumeClaim")), None)
    if wrong.reason != "Unschedulable" or claim is None or claim.get("status", {}).get("phase") != "Pending":
        return ""
    name = claim["metadata"]["name"]
    return f"; its claim `{name}` has no volume yet, `kubectl describe pvc {name}` says why"


def progress_status(progress: Progress) -> dict[str, Any]:
    """Return a reading as it stands in a status; figures are rounded to what is worth printing."""
    result: dict[str, Any] = {
        "phase": progress.phase,
        "percent": progress.percent,
        "percentText": f"{progress.percent}%",
        "step": progress.step,
        "totalSteps": progress.total_steps,
        "epoch": _round(progress.epoch, 2),
        "loss": _round(progress.loss, 4),
        "evalLoss": _round(progress.eval_loss, 4),
        "tokensPerSecond": _round(progress.tokens_per_second, 1),
        "etaSeconds": progress.eta_seconds,
        "etaText": duration(progress.eta_seconds) if progress.eta_seconds is not None else None,
        "updatedTime": progress.updated_time,
    }
    return {key: value for key, value in result.items() if value is not None}


def last_progress(old: Mapping[str, Any], *, begins: bool) -> dict[str, Any]:
    """Return what stays of the last reading when there is no new one: how far it came, not how fast it goes; nothing when another Job begins."""
    if begins or "progress" not in old:
        return {}
    return {"progress": {key: value for key, value in old["progress"].items() if key not in ("tokensPerSecond", "etaSeconds", "etaText")}}


def done_progress(last: Mapping[str, Any], time: str, **figures: float | int | None) -> dict[str, Any]:
    """Return the progress of a finished stage: all of it, with the final `figures`, and no ETA."""
    kept = {key: value for key, value in last.items() if key not in ("etaSeconds", "etaText")}
    return {
        **kept,
        **({"step": kept["totalSteps"]} if "totalSteps" in kept else {}),
        "phase": "Done",
        "percent": 100,
        "percentText": "100%",
        **{key: value for key, value in figures.items() if value is not None},
        "updatedTime": time,
    }


def _is_of(pod: Body, job: Body) -> bool:
    """Return whether the Job controls the Pod."""
    return any(each["uid"] == job["metadata"]["uid"] for each in pod["metadata"].get("ownerReferences", []))


def _round(value: float | None, digits: int) -> float | None:
    """Round what is there."""
    return None if value is None else round(value, digits)
