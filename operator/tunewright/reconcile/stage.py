"""Where one Job of a resource stands, read from the Job, its Pods and the last progress reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from tunewright.contract.progress import Progress
from tunewright.contract.run_result import RunResult
from tunewright.reconcile.failures import classify_job, classify_pod, run_result, waiting
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
    """Say that nothing runs yet: from the moment the Job is made until its Pod runs, since each sentence in between would be a write for moments."""
    return f"the Job has no Pod yet that runs; if this lasts, `kubectl describe job {job_name}` says why"


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
            coming = any(_is_alive(pod) for pod in pods)
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
    alive = [pod for pod in pods if _is_alive(pod)]
    earlier = [classify_pod(pod) for pod in pods if pod.get("status", {}).get("phase") == "Failed"]
    after = f"attempt {failures + 1} after {earlier[-1].reason}: {earlier[-1].message}" if earlier and failures else ""
    for pod in sorted(alive, key=lambda each: str(each["metadata"].get("creationTimestamp")), reverse=True):
        if pod.get("status", {}).get("phase") == "Running":
            uid = pod["metadata"]["uid"]
            return Stage(StageState.RUNNING, job, "Running", after, progress=world.progress.get(uid), asked=uid in world.progress, failures=failures)
        wait = waiting(pod)
        if wait is not None:
            return Stage(StageState.PENDING, job, wait.reason, wait.message, failures=failures)
        return Stage(StageState.PENDING, job, "Starting", after or no_pod(job["metadata"]["name"]), failures=failures)
    succeeded = next((pod["metadata"]["uid"] for pod in pods if pod.get("status", {}).get("phase") == "Succeeded"), None)
    if succeeded is not None:
        # The Job controller has not counted it yet: a moment before its end nothing has changed, and nothing goes back to the start.
        return Stage(StageState.RUNNING, job, "Running", after, progress=world.progress.get(succeeded), asked=succeeded in world.progress, failures=failures)
    return Stage(StageState.PENDING, job, "Starting", after or no_pod(job["metadata"]["name"]), failures=failures)


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


def _is_alive(pod: Body) -> bool:
    """Return whether the Pod has not ended, as far as it was seen."""
    return pod.get("status", {}).get("phase") in (None, "Pending", "Running")


def _is_of(pod: Body, job: Body) -> bool:
    """Return whether the Job controls the Pod."""
    return any(each["uid"] == job["metadata"]["uid"] for each in pod["metadata"].get("ownerReferences", []))


def _round(value: float | None, digits: int) -> float | None:
    """Round what is there."""
    return None if value is None else round(value, digits)
