"""Moves the objects of one resource: ends its Job, rolls its Deployment out."""

from typing import Any

from support.async_api import AsyncApi
from support.campaign.mirror import Mirror
from support.paths import path
from support.stand_in import RUNNING_JOB, ended_job, ended_pod, pod_of, rolled_out
from support.worlds import result
from tunewright.build.names import STAGE_LABEL

_MERGE_PATCH = "application/merge-patch+json"


async def advance(api: AsyncApi, mirror: Mirror, key: tuple[str, str, str]) -> bool:
    """Bring the objects of a resource one step further; return whether there was one."""
    body = mirror.resources.get(key)
    moved = False
    for child in mirror.children(body["metadata"]["uid"]) if body is not None else ():
        if child["kind"] == "Job" and "conditions" not in child.get("status", {}) and not child["spec"].get("suspend"):
            await _end(api, child)
            moved = True
        elif child["kind"] == "Deployment":
            moved |= await _roll_out(api, child)
    return moved


async def _end(api: AsyncApi, job: dict[str, Any]) -> None:
    """Let a Job succeed."""
    meta = job["metadata"]
    pod = pod_of(job, "x")
    ended = ended_pod(job, result(meta["labels"][STAGE_LABEL]))
    await api.must("POST", path("Pod", meta["namespace"]), pod)
    await api.must("PATCH", path("Pod", meta["namespace"], pod["metadata"]["name"]) + "/status", {"status": ended}, _MERGE_PATCH)
    target = path("Job", meta["namespace"], meta["name"]) + "/status"
    await api.must("PATCH", target, {"status": RUNNING_JOB}, _MERGE_PATCH)
    await api.must("PATCH", target, {"status": ended_job()}, _MERGE_PATCH)


async def _roll_out(api: AsyncApi, deployment: dict[str, Any]) -> bool:
    """Let all Pods of a Deployment answer; return whether they did not before."""
    meta, replicas = deployment["metadata"], deployment["spec"]["replicas"]
    status = {**dict.fromkeys(rolled_out(deployment), replicas), "observedGeneration": meta["generation"]}
    if status["observedGeneration"] == deployment.get("status", {}).get("observedGeneration"):
        return False
    await api.must("PATCH", path("Deployment", meta["namespace"], meta["name"]) + "/status", {"status": status}, _MERGE_PATCH)
    return True
