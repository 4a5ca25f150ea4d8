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
    ended = _terminated(pod) or {}
    result = run_result(pod)
    if ended.get("reason") == "OOMKilled" or (ended.get("exitCode") == ExitCode.KILLED and result is None and pod.get("status", {}).get("reason") != "Evicted"):
        return Failure("OutOfMemory", "the container was killed for memory; set a larger `resources.memory`, or a smaller `batchSize` or `maxLength`")
    if result is not None and result.reason is not None:
        return Failure(result.reason, result.message or "the trainer gave no message; see `kubectl logs`")
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return Failure("Evicted", f"the Pod was evicted: {status.get('message', 'no message')}")
    for each in status.get("conditions", []):
        if each.get("type") == "DisruptionTarget" and each.get("status") == "True":
            return Failure("PodLost", f"the Pod was disrupted ({each.get('reason')}): {each.get('message', '')}")
    if ended:
        return Failure(
            "PodFailed", f"the container ended with exit code {ended.get('exitCode')} and wrote no result; see `kubectl logs {pod['metadata']['name']}`"
        )
    return Failure("PodLost", status.get("message") or "the Pod ended without telling why; its node may be gone")


def classify_job(job: Body, pods: Iterable[Body]) -> Failure:
    """Return why a failed Job failed: its last Pod's reason, unless the Job itself ran out of time."""
    failed: Mapping[str, Any] = next(
        (each for each in job.get("status", {}).get("conditions", []) if each["type"] in ("Failed", "FailureTarget") and each["status"] == "True"), {}
    )
    if failed.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds")
        return Failure("DeadlineExceeded", f"training ran longer than `activeDeadlineSeconds` ({seconds} s); a new FineTuneJob with a longer one starts over")
    ended = sorted((pod for pod in pods if pod.get("status", {}).get("phase") == "Failed"), key=_finished)
    if not ended:
        return Failure("PodLost", f"the Job failed ({failed.get('reason', 'unknown')}: {failed.get('message', '')}) and its Pods are gone")
    last = classify_pod(ended[-1])
    tries = job.get("status", {}).get("failed", len(ended))
    return (
        last
        if failed.get("reason") == "PodFailurePolicy"
        else Failure(last.reason, f"{last.message} (failed {tries} times, `maxRetries` is {job['spec'].get('backoffLimit')})")
    )


def waiting(pod: Body) -> Failure | None:
    """Return why a Pod that should run does not, or None when nothing is wrong with it (yet)."""
    for each in pod.get("status", {}).get("conditions", []):
        if each.get("type") == "PodScheduled" and each.get("status") == "False" and each.get("reason") == "Unschedulable":
            return Failure("Unschedulable", f"no node can take the Pod: {each.get('message', '')}")
    statuses = [*pod.get("status", {}).get("initContainerStatuses", []), *pod.get("status", {}).get("containerStatuses", [])]
    for status in statuses:
        state = (status.get("state") or {}).get("waiting") or {}
        reason, text = state.get("reason", ""), state.get("message", "")
        if reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
            return Failure("ImagePullFailed", f"the image `{status.get('image')}` cannot be pulled: {text}")
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            return Failure("ContainerNotCreated", f"the container cannot be made: {text}")
        if reason == "CrashLoopBackOff":
            ended = (status.get("lastState") or {}).get("terminated") or {}
            with contextlib.suppress(ValidationError):
                result = RunResult.model_validate_json(ended.get("message", ""))
                return Failure(result.reason or "CrashLoop", result.message)
            return Failure(
                "CrashLoop",
                f"the container `{status.get('name')}` ended {status.get('restartCount', 0)} times, last with exit code {ended.get('exitCode')}; see `kubectl logs {pod['metadata']['name']} -c {status.get('name')} --previous`",
            )
    return None


def _terminated(pod: Body) -> Mapping[str, Any] | None:
    """Return the end of the Pod's first container, if it has ended."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    found: Mapping[str, Any] | None = (statuses[0].get("state") or {}).get("terminated") if statuses else None
    return found


def _finished(pod: Body) -> str:
    """Return when the Pod's container ended (RFC 3339 sorts as text)."""
    return str((_terminated(pod) or {}).get("finishedAt") or pod["metadata"].get("creationTimestamp", ""))
