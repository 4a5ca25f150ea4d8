"""A canary planted as every secret of a namespace is nowhere where the operator writes, logs, or is looked at."""

import json
from pathlib import Path

from support.api_server import wait_for
from support.canary import leaks, secret
from support.worlds import failure, result

HUB = {"uri": "hf://org/model@main", "secretName": "hub"}
ROWS = {"uri": "s3://team-data/rows.jsonl", "secretName": "store"}
SECRETS = (secret("hub", "HF_TOKEN"), secret("store", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"))
WRITTEN = ("FineTuneJob", "ModelMerge", "Evaluation", "InferenceService", "Job", "Pod", "Deployment", "Service", "PersistentVolumeClaim", "ConfigMap", "Event")


def resource(kind, **spec):
    return {"apiVersion": "tunewright.dev/v1alpha1", "kind": kind, "metadata": {"name": "bot"}, "spec": spec}


def named_secrets(pod):
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    return {each["secretRef"]["name"] for container in containers for each in container.get("envFrom", [])}


def test_the_canary_is_seen_nowhere(cluster, operator):
    """All four kinds name the Secrets; one fails, and the operator is asked for all it can tell."""
    cluster.apply(
        *SECRETS,
        resource("FineTuneJob", model=HUB, dataset=ROWS, resources={"gpus": 0}),
        resource("ModelMerge", adapter={"ref": {"kind": "FineTuneJob", "name": "bot"}}),
        resource("Evaluation", model=HUB, dataset=ROWS, resources={"gpus": 0}),
        resource("InferenceService", model=HUB, resources={"gpus": 0}),
    )
    cluster.finish_job("bot-prepare", result("prepare"))
    cluster.finish_job("bot-train", result("train"))
    cluster.finish_job("bot-merge", result("merge"))
    cluster.finish_job("bot-evaluate", failure("evaluate", "Denied", "the hub denied access to hf://org/model@main (HTTP 401)"), exit_code=77)
    cluster.wait_condition("ModelMerge", "bot", "Succeeded", "True", "Succeeded")
    cluster.wait_condition("Evaluation", "bot", "Succeeded", "False", "Denied")
    deployment = wait_for("the Deployment", lambda: cluster.get("Deployment", "bot-server"))

    # The secrets do reach the Pods: by name.
    assert named_secrets(cluster.get("Job", "bot-prepare")["spec"]["template"]["spec"]) == {"hub", "store"}
    assert named_secrets(deployment["spec"]["template"]["spec"]) == {"hub"}
    planted = cluster.server.kubectl("get", "secrets", "-n", cluster.namespace, "-o", "json").stdout
    assert leaks(planted)

    for kind in WRITTEN:
        found = cluster.list(kind)
        assert found or kind == "ConfigMap"
        assert not leaks(json.dumps(found)), kind
    assert not leaks(operator.log.read_text())
    assert not any(leaks(operator.probe(path) or "") for path in ("metrics", "healthz", "readyz"))
    process = Path("/proc") / str(operator.process.pid)
    assert not leaks(((process / "cmdline").read_bytes() + (process / "environ").read_bytes()).decode(errors="replace"))
    assert "secrets" not in {each["objectRef"]["resource"] for each in cluster.server.audited() if "objectRef" in each}
    described = cluster.server.kubectl("describe", "ftj,mmerge,tfeval,tfisvc,jobs,deployments,pods", "-n", cluster.namespace)
    assert described.returncode == 0
    assert not leaks(described.stdout)
