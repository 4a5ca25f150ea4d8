"""Why a Pod or a Job failed: one reason, one sentence. Reads the same exit codes as the Job's podFailurePolicy."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from tunewright.contract.exit_codes import ExitCode
from tunewright.contract.run_result import RunResult

Body = Mapping[str, Any]

WARNINGS: Final = frozenset({
    "BadData", "EmptyDataset", "NoChatTemplate", "UnsafeModel", "ModelNotFound", "DatasetNotFound", "DigestMismatch", "Denied", "BadConfiguration",
    "OutOfMemory", "DiskFull", "NotFinite", "InternalError", "DeadlineExceeded", "Evicted", "PodLost", "PodFailed", "NameConflict", "ReferenceCycle",
    "Unschedulable", "ImagePullFailed", "ContainerNotCreated", "ThresholdsNotMet", "EvaluationNotPassed", "InputFailed", "CrashLoop", "InvalidSpec",
    "ClaimNotFound", "ConfigMapNotFound", "KeyNotFound", "ClaimLost", "RolloutStuck",
    "QuotaExceeded", "NamespaceTerminating", "AdmissionDenied", "NotPermitted", "Refused",
    "Preempted", "NodeLost", "PodDeleted", "Restarting", "NotAnswering", "RolloutPaused", "ScaledByHand", "BeingDeleted",
})  # fmt: skip
"""Reasons that are worth a warning event."""


@dataclass(frozen=True)
class Failure:
    """A reason and a sentence for the user."""

    reason: str
    message: str


def run_result(pod: Body) -> RunResult | None:
    """Return what the Pod's container wrote when it ended, or None when it wrote nothing that can be read."""
    text = (_terminated(pod) or {}).get("message", "")
    with contextlib.suppress(ValidationError):
        return RunResult.model_validate_json(text)
    return None


def classify_pod(pod: Body) -> Failure:
    """Return why a failed Pod failed."""
    ended, result, taken = _terminated(pod) or {}, run_result(pod), disruption(pod)
    if taken is None and "deletionTimestamp" in pod["metadata"]:
        taken = Failure("PodDeleted", "the Pod was deleted")
    if ended.get("reason") == "OOMKilled" or (ended.get("exitCode") == ExitCode.KILLED and result is None and taken is None):
        return Failure("OutOfMemory", "the container was killed for memory; set a larger `resources.memory`, or a smaller `batchSize` or `maxLength`")
    if taken is not None and (result is None or result.outcome != "Failed"):
        return Failure(taken.reason, taken.message + (f"; {result.message}" if result is not None and result.message else ""))
    if result is not None and result.reason is not None:
        return Failure(result.reason, result.message or "the trainer gave no message; see `kubectl logs`")
    if ended:
        return Failure(
            "PodFailed", f"the container ended with exit code {ended.get('exitCode')} and wrote no result; see `kubectl logs {pod['metadata']['name']}`"
        )
    return Failure("PodLost", pod.get("status", {}).get("message") or "the Pod ended without telling why; its node may be gone")


def failed_pods(pods: Iterable[Body]) -> list[Body]:
    """Return the Pods that failed, in the order in which they did."""
    return sorted((pod for pod in pods if pod.get("status", {}).get("phase") == "Failed"), key=_finished)


def classify_job(job: Body, pods: Iterable[Body]) -> Failure:
    """Return why a failed Job failed: its last Pod's reason, unless the Job itself ran out of time."""
    failed = condition_of(job, "Failed")
    if failed.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds")
        return Failure("DeadlineExceeded", f"training ran longer than `activeDeadlineSeconds` ({seconds} s); a new FineTuneJob with a longer one starts over")
    ended = failed_pods(pods)
    if not ended:
        return Failure("PodLost", f"the Job failed ({failed.get('reason', 'unknown')}: {failed.get('message', '')}) and its Pods are gone")
    last = classify_pod(ended[-1])
    tries = job.get("status", {}).get("failed", len(ended))
    return (
        last
        if failed.get("reason") == "PodFailurePolicy"
        else Failure(last.reason, f"{last.message} (failed {tries} times, `maxRetries` is {job['spec'].get('backoffLimit')})")
    )


def disruption(pod: Body) -> Failure | None:
    """Return why the cluster takes the Pod from its node, as its DisruptionTarget condition says."""
    found, status = condition_of(pod, "DisruptionTarget"), pod.get("status", {})
    by = found.get("reason", "")
    if found.get("status") != "True":
        return Failure("Evicted", f"the Pod was evicted: {status.get('message', 'no message')}") if status.get("reason") == "Evicted" else None
    text = status.get("message") or found.get("message", "")
    if by == "PreemptionByScheduler" or status.get("reason") == "Preempting":
        return Failure("Preempted", f"the Pod had to make room for one of a higher priority: {text}")
    if by == "DeletionByPodGC":
        return Failure("NodeLost", f"the Pod's node does not exist any more: {text}")
    if by == "DeletionByTaintManager":
        # A node that does not answer is tainted; before that its Pods are marked as not ready.
        lost = condition_of(pod, "Ready").get("status") == "False"
        return Failure("NodeLost", f"the Pod's node does not answer: {text}") if lost else Failure("Evicted", f"the Pod may not stay on its node: {text}")
    return Failure("Evicted", f"the Pod was evicted: {text}")


def condition_of(body: Body, type_: str) -> Mapping[str, Any]:
    """Return a condition of a Pod, a Job or a Deployment, empty when it has none."""
    found: Mapping[str, Any] = next((each for each in body.get("status", {}).get("conditions", []) if each.get("type") == type_), {})
    return found


def _terminated(pod: Body) -> Mapping[str, Any] | None:
    """Return the end of the Pod's first container, if it has ended."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    found: Mapping[str, Any] | None = (statuses[0].get("state") or {}).get("terminated") if statuses else None
    return found


def _finished(pod: Body) -> str:
    """Return when the Pod's container ended (RFC 3339 sorts as text)."""
    return str((_terminated(pod) or {}).get("finishedAt") or pod["metadata"].get("creationTimestamp", ""))
