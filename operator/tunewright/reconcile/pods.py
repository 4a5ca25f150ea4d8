"""Why a Pod that has not ended does no work: what the scheduler, the kubelet and the node's controllers write to its status, as a reason and a sentence."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from tunewright.contract.run_result import RunResult
from tunewright.reconcile.failures import Body, Failure, condition_of, disruption

_NO_IMAGE: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
})  # fmt: skip
_NO_CONTAINER: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "PreCreateHookError", "PreStartHookError", "RunContainerError"})


def is_alive(pod: Body) -> bool:
    """Return whether the Pod has not ended, as far as it was seen. Nobody knows of a Pod in phase Unknown."""
    return pod.get("status", {}).get("phase") in (None, "Pending", "Running", "Unknown")


def newest_first(pods: Iterable[Body]) -> list[Body]:
    """Return the Pods that have not ended: the newest first, those that are being deleted last."""
    alive = sorted((pod for pod in pods if is_alive(pod)), key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    return sorted(alive, key=lambda pod: "deletionTimestamp" in pod["metadata"])


def trouble(pod: Body) -> Failure | None:
    """Return why a Pod that should work does not, or None when nothing is wrong with it (yet)."""
    if "deletionTimestamp" in pod["metadata"]:
        return _leaving(pod)
    return _node_lost(pod) or _unscheduled(pod) or _containers(pod)


def starting(pod: Body) -> str:
    """Return what a Pod with which nothing is wrong waits for before it runs."""
    name = pod["metadata"]["name"]
    if condition_of(pod, "PodScheduled").get("status") != "True":
        return f"the Pod `{name}` waits for the scheduler; if that lasts, `kubectl describe pod {name}` says why"
    return f"the Pod `{name}` is starting: its volumes are mounted and its images pulled; if that lasts, `kubectl describe pod {name}` says why"


def fails_its_probe(pod: Body) -> bool:
    """Return whether a container of the Pod has started and does not pass its readiness probe."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return any("running" in (each.get("state") or {}) and each.get("started") and not each.get("ready") for each in statuses)


def _leaving(pod: Body) -> Failure:
    """Return why a Pod is being deleted. On a node that does not answer it stays so, for nobody can say that it has ended."""
    meta, node = pod["metadata"], pod["spec"].get("nodeName")
    why = disruption(pod) or _node_lost(pod) or Failure("PodDeleted", f"the Pod `{meta['name']}` was deleted")
    left = f"; it has until {meta['deletionTimestamp']} to save and end, then another Pod is made"
    lost = f"; if it is still there after that, its node `{node}` does not answer: delete the node once its machine is off" if node else ""
    return Failure(why.reason, why.message + left + lost)


def _node_lost(pod: Body) -> Failure | None:
    """Return that the node does not answer. Its controller then sets the Pod's Ready to False; a kubelet that did so would have said which container is not ready."""
    status, node = pod.get("status", {}), pod["spec"].get("nodeName", "")
    marked = condition_of(pod, "Ready").get("status") == "False" and condition_of(pod, "ContainersReady").get("status") == "True"
    if marked or status.get("phase") == "Unknown" or status.get("reason") == "NodeLost":
        return Failure("NodeLost", f"the node `{node}` of the Pod `{pod['metadata']['name']}` does not answer: nobody knows whether it still works")
    return None


def _unscheduled(pod: Body) -> Failure | None:
    """Return why the scheduler has no node for the Pod, in its own sentence."""
    found = condition_of(pod, "PodScheduled")
    if found.get("status") != "False":
        return None
    reason, text = found.get("reason"), found.get("message", "")
    if reason == "SchedulingGated":
        return Failure("SchedulingGated", f"the Pod `{pod['metadata']['name']}` is held back by a scheduling gate, such as that of a queue: {text}")
    return Failure("Unschedulable", f"no node can take the Pod: {text}")


def _containers(pod: Body) -> Failure | None:
    """Return what is wrong with the first container with which something is; init containers run before the others."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    init = [_container(each, name, is_init=True) for each in status.get("initContainerStatuses", [])]
    main = [_container(each, name, is_init=False) for each in status.get("containerStatuses", [])]
    return next((found for found in (*init, *main) if found is not None), None)


def _container(status: Mapping[str, Any], pod_name: str, *, is_init: bool) -> Failure | None:
    """Return why a container does not run, or ended and is started again."""
    state = status.get("state") or {}
    reason, text = (state.get("waiting") or {}).get("reason", ""), (state.get("waiting") or {}).get("message", "")
    if reason in _NO_IMAGE:
        hint = "the images, and the secrets to pull them with, are values of the operator's chart"
        return Failure("ImagePullFailed", f"the image `{status.get('image')}` cannot be pulled: {text or reason}; {hint}")
    if reason in _NO_CONTAINER:
        return Failure("ContainerNotCreated", f"the container `{status.get('name')}` cannot be made: {text or reason}")
    if "running" in state and status.get("started") and not is_init:
        return None  # what it once ended with is past: it has loaded since
    is_back_off = reason == "CrashLoopBackOff"
    # The record of the last end may be collected with its container.
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or ({} if is_back_off else None)
    if ended is None or (is_init and state.get("terminated") and not ended.get("exitCode")):
        return None
    return _ended(status, ended, pod_name, is_back_off=is_back_off)


def _ended(status: Mapping[str, Any], ended: Mapping[str, Any], pod_name: str, *, is_back_off: bool) -> Failure:
    """Return why a container that is started again ended. The sentence is the same while it waits and while it loads: each crash is one write."""
    name, code = status.get("name"), ended.get("exitCode", "unknown")
    times = status.get("restartCount", 0) + ("running" not in (status.get("state") or {}))
    count = "once" if times == 1 else f"{times} times"
    with contextlib.suppress(ValidationError):
        result = RunResult.model_validate_json(ended.get("message", ""))
        if result.reason is not None:
            return Failure(result.reason, f"{result.message} (the container `{name}` ended {count})")
    if ended.get("reason") == "OOMKilled":
        return Failure("OutOfMemory", f"the container `{name}` was killed for memory and ended {count}; set a larger `resources.memory`")
    logs = f"see `kubectl logs {pod_name} -c {name} --previous`"
    return Failure("CrashLoop" if is_back_off or times > 1 else "Restarting", f"the container `{name}` ended {count}, last with exit code {code}; {logs}")
