"""A canary planted as every Secret that real Pods use: it is in no log, event, status, object, artifact, process argument, or answer of a progress port."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.canary import forms, leaks, secret
from support.cluster import OPERATOR, Cluster, trainer_pod

pytestmark = pytest.mark.e2e

HUB = {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct@main", "secretName": "hub"}
ROWS = {"uri": "configmap://rows/rows.jsonl", "secretName": "store"}
DATA = "\n".join(json.dumps({"instruction": "Add.", "input": f"{n} + {n}", "output": str(2 * n)}) for n in range(40))
CPU: dict[str, Any] = {"resources": {"gpus": 0}}
TRAINING = {"maxSteps": 2, "batchSize": 1, "maxLength": 64, "checkpointSteps": 1}
ENDS = {
    ("FineTuneJob", "good"): {"model": HUB, "dataset": ROWS, "training": TRAINING, **CPU},
    ("FineTuneJob", "no-model"): {"model": {**HUB, "uri": "hf://nobody/nothing@main"}, "dataset": ROWS, **CPU},
    ("FineTuneJob", "no-bucket"): {"model": HUB, "dataset": {"uri": "s3://nobody/rows.jsonl", "secretName": "store"}, **CPU},
    ("ModelMerge", "good"): {"adapter": {"ref": {"kind": "FineTuneJob", "name": "good"}}, "base": HUB},
    ("Evaluation", "good"): {"model": HUB, "dataset": ROWS, "limit": 2, "generation": {"maxNewTokens": 2, "batchSize": 2}, **CPU},
}
"""What runs to an end: a whole chain, and two that are refused by the servers that got the token."""
SERVER = {"model": HUB, "maxModelLen": 256, "resources": {"gpus": 0, "memory": "6Gi"}}
STAGES = {"prepare", "train", "merge", "evaluate", "server"}
ARGUMENTS = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
PORT = "import urllib.request as r\nfor p in 'progress', 'metrics': print(r.urlopen(f'http://127.0.0.1:{port}/' + p, timeout=5).read().decode())"
SEARCH = """
import os, pathlib
forms = [os.environ["CANARY"].encode(), os.environ["CODED"].encode()]
pathlib.Path("/tmp/control").write_bytes(b"x" + forms[1])
files = [path for path in pathlib.Path("/claims").rglob("*") if path.is_file()]
for path in [*files, pathlib.Path("/tmp/control")]:
    if any(form in path.read_bytes() or form in str(path).encode() for form in forms):
        print("leak:", path)
print("searched", len(files), sum(path.stat().st_size for path in files), any(path.suffix == ".safetensors" for path in files))
"""


class Watched:
    """What the processes of the Pods were called with, and what their ports said, while they ran."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.arguments: dict[str, set[str]] = {}
        self.readings: set[str] = set()

    def look(self) -> None:
        """Ask every running container."""
        for pod in self.cluster.get("pods"):
            status, stage = pod.get("status", {}), pod["metadata"]["labels"].get("tunewright.dev/stage", "")
            for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                if "running" in container["state"]:
                    where = ("exec", pod["metadata"]["name"], "--container", container["name"], "--")
                    self.arguments.setdefault(stage, set()).add(self.cluster.kubectl(*where, "sh", "-c", ARGUMENTS, check=False))
                    for port in (each["containerPort"] for each in _ports(pod, container["name"]) if each.get("name") == "progress"):
                        self.readings.add(self.cluster.kubectl(*where, "python3", "-c", f"port = {port}\n{PORT}", check=False))


def _ports(pod: dict[str, Any], container: str) -> list[dict[str, Any]]:
    return next((each.get("ports", []) for each in pod["spec"]["containers"] if each["name"] == container), [])


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tunewright.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def watched(cluster: Cluster) -> Watched:
    watched = Watched(cluster)
    cluster.apply(
        secret("hub", "HF_TOKEN"),
        secret("store", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", AWS_ENDPOINT_URL="http://hub.tunewright-hub.svc"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"rows.jsonl": DATA}},
        *(resource(kind, name, spec) for (kind, name), spec in ENDS.items()),
    )

    def all_ended() -> bool:
        watched.look()
        found = {(each["kind"], each["metadata"]["name"]): each.get("status", {}) for each in cluster.get("ftj,mmerge,tfeval")}
        return all(found[key].get("state") in ("Done", "Failed") for key in ENDS)

    cluster.wait("all to end", 600, all_ended)
    # After the others: on a small machine they would slow each other down.
    cluster.apply(resource("InferenceService", "good", SERVER))

    def answers() -> bool:
        watched.look()
        return cluster.status("tfisvc", "good").get("state") == "Ready"

    cluster.wait("the server to answer", 300, answers)
    return watched


def test_the_secrets_were_used(watched: Watched) -> None:
    """The canary was there to be leaked: Pods took it, and one was turned away with it."""
    for kind, name in ENDS:
        state = watched.cluster.status(kind, name)["state"]
        assert state == ("Done" if name == "good" else "Failed"), (kind, name, state)
    named = {
        reference["secretRef"]["name"]
        for pod in watched.cluster.get("pods")
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        for reference in container.get("envFrom", [])
    }
    assert named == {"hub", "store"}
    assert leaks(watched.cluster.kubectl("get", "secrets", "--output", "json"))


def test_no_process_has_it_among_its_arguments(watched: Watched, record_property: Callable[[str, object], None]) -> None:
    assert set(watched.arguments) >= STAGES
    for stage in STAGES - {"server"}:
        assert any("tunewright_trainer" in text for text in watched.arguments[stage]), stage
    assert any("serve" in text for text in watched.arguments["server"])
    record_property("stages", len(watched.arguments))
    operator = watched.cluster.kubectl(*OPERATOR, "exec", "deployment/tunewright", "--", "sh", "-c", ARGUMENTS, system=True)
    assert "tunewright" in operator
    assert not any(leaks(text) for texts in ({operator}, *watched.arguments.values()) for text in texts)


def test_no_progress_port_says_it(watched: Watched) -> None:
    assert any("tunewright_step" in text for text in watched.readings)
    assert not any(leaks(text) for text in watched.readings)


def test_no_log_has_it(watched: Watched, record_property: Callable[[str, object], None]) -> None:
    logs = {
        pod["metadata"]["name"]: watched.cluster.kubectl("logs", pod["metadata"]["name"], "--all-containers", "--prefix") for pod in watched.cluster.get("pods")
    }
    assert len(logs) >= len(ENDS)
    assert all(logs.values()), "every Pod said something"
    logs["operator"] = watched.cluster.kubectl(*OPERATOR, "logs", "deployment/tunewright", system=True)
    record_property("logs", len(logs))
    assert [name for name, text in logs.items() if leaks(text)] == []


def test_no_object_has_it(watched: Watched) -> None:
    """Status, events, and all that the operator and the controllers made; what `describe` says of them too."""
    kinds = "ftj,mmerge,tfeval,tfisvc,jobs,pods,deployments,replicasets,services,pvc,configmaps,events"
    found = watched.cluster.get(kinds)
    assert {"FineTuneJob", "ModelMerge", "Evaluation", "InferenceService", "Job", "Pod", "Event"} <= {each["kind"] for each in found}
    assert [each["metadata"]["name"] for each in found if leaks(json.dumps(each))] == []
    assert not leaks(watched.cluster.kubectl("describe", kinds))


def test_no_artifact_has_it(watched: Watched, record_property: Callable[[str, object], None]) -> None:
    """Every file on every volume of the namespace, read by a Pod that gets what to look for from a Secret."""
    _, coded = forms()
    claims = [each["metadata"]["name"] for each in watched.cluster.get("pvc")]
    assert len(claims) >= 3
    watched.cluster.apply(
        secret("forms", "CANARY", CODED=coded),
        trainer_pod(watched.cluster, "search", SEARCH, {claim: f"/claims/{claim}" for claim in claims}, envFrom=[{"secretRef": {"name": "forms"}}]),
    )
    watched.cluster.wait("the search", 120, lambda: watched.cluster.status("pod", "search").get("phase") in ("Succeeded", "Failed"))
    said = watched.cluster.kubectl("logs", "search")
    assert not leaks(said)
    control, searched = said.splitlines()
    assert control == "leak: /tmp/control", "what was planted for the search itself is found, and nothing else"
    word, files, size, weights = searched.split()
    assert (word, weights) == ("searched", "True"), said
    record_property("files", int(files))
    record_property("mb", round(int(size) / 1e6))
