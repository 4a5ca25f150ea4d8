"""What may happen to a resource on real Pods beside going well: it is suspended and resumed, its Job's name is taken, its result is lost, its time is over."""

import json
from typing import Any

import pytest

from support.cluster import OPERATOR, Cluster

pytestmark = pytest.mark.e2e

MODEL = {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct@main"}
ROWS = "\n".join(json.dumps({"instruction": "Add.", "input": f"{n} + {n}", "output": str(2 * n)}) for n in range(40))
EMPTY = {"uri": "configmap://rows/empty"}
NO_GPU: dict[str, Any] = {"resources": {"gpus": 0}}
EXPIRING = {
    "FineTuneJob": {"model": MODEL, "dataset": EMPTY, **NO_GPU},
    "ModelMerge": {"adapter": {"uri": "pvc://nothing/adapter"}, "base": MODEL},
    "Evaluation": {"model": MODEL, "dataset": EMPTY, **NO_GPU},
}


def resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "tunewright.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def rows(cluster: Cluster) -> Cluster:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"good": ROWS, "empty": "\n"}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "nothing"}, "spec": claim},
    )
    return cluster


def test_a_suspended_job_has_no_pod_and_goes_on_when_resumed(rows: Cluster) -> None:
    rows.apply(resource("FineTuneJob", "paused", model=MODEL, dataset=EMPTY, **NO_GPU))
    rows.wait("the Job", 60, lambda: rows.get("job", "paused-prepare"))
    rows.kubectl("patch", "ftj", "paused", "--type=merge", "--patch", '{"spec": {"suspend": true}}')
    rows.wait("it to be suspended", 60, lambda: rows.status("ftj", "paused").get("state") == "Suspended")
    rows.wait("its Pod to go", 60, lambda: not rows.get("pods", "", "--selector", "tunewright.dev/name=paused"))
    rows.kubectl("patch", "ftj", "paused", "--type=merge", "--patch", '{"spec": {"suspend": false}}')
    rows.wait("it to end", 120, lambda: rows.condition("ftj", "paused", "Succeeded").get("reason") == "EmptyDataset")


def test_a_job_that_holds_the_name_is_not_touched(rows: Cluster) -> None:
    container = {"name": "c", "image": "registry.invalid/none", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    pod = {"restartPolicy": "Never", "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}}
    rows.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "taken-prepare"}, "spec": {"suspend": True, "template": {"spec": {**pod, "containers": [container]}}}}
    )  # fmt: skip
    before = rows.get("job", "taken-prepare")
    rows.apply(resource("FineTuneJob", "taken", model=MODEL, dataset=EMPTY, **NO_GPU))
    rows.wait("the conflict", 60, lambda: rows.condition("ftj", "taken", "Succeeded").get("reason") == "NameConflict")
    assert rows.get("job", "taken-prepare")["metadata"]["uid"] == before["metadata"]["uid"]
    assert "ownerReferences" not in rows.get("job", "taken-prepare")["metadata"]
    rows.kubectl("delete", "job", "taken-prepare")
    rows.wait("it to go on", 180, lambda: rows.condition("ftj", "taken", "Succeeded").get("reason") == "EmptyDataset")


def test_a_result_that_was_lost_is_made_again(rows: Cluster) -> None:
    """The Pod, and with it what its container wrote, is gone before an operator is there to read it."""
    rows.apply(resource("FineTuneJob", "lost", model=MODEL, dataset={"uri": "configmap://rows/good"}, **NO_GPU))
    first = rows.wait("the Job", 60, lambda: rows.get("job", "lost-prepare"))["metadata"]["uid"]
    rows.kubectl(*OPERATOR, "scale", "deployment/tunewright", "--replicas=0", system=True)
    try:
        rows.wait("the Job to end", 180, lambda: rows.status("job", "lost-prepare").get("succeeded") == 1)
        assert rows.get("job", "lost-prepare")["metadata"]["uid"] == first
        rows.kubectl("delete", "pods", "--selector", "tunewright.dev/name=lost")
    finally:
        rows.kubectl(*OPERATOR, "scale", "deployment/tunewright", "--replicas=1", system=True)
        rows.kubectl(*OPERATOR, "rollout", "status", "deployment/tunewright", "--timeout=90s", system=True)
    rows.wait("training", 180, lambda: rows.get("job", "lost-train"))
    assert rows.get("job", "lost-prepare")["metadata"]["uid"] != first
    rows.kubectl("delete", "ftj", "lost")


def test_a_resource_goes_when_its_time_is_over(rows: Cluster) -> None:
    for kind, spec in EXPIRING.items():
        rows.apply(resource(kind, "expiring", **spec, ttlSecondsAfterFinished=0))
    for kind in EXPIRING:
        rows.wait(f"the {kind} to go, and its Jobs", 240, lambda: rows.get(kind, "expiring") is None)  # noqa: B023
    ended = {event["involvedObject"]["kind"] for event in rows.get("events") if event["involvedObject"]["name"] == "expiring" and event["type"] == "Warning"}
    assert set(EXPIRING) <= ended, "each had ended before it went"
    rows.wait("nothing of them left", 60, lambda: not rows.get("jobs,pods,pvc", "", "--selector", "tunewright.dev/name=expiring"))
