"""examples/quickstart on real Pods with a real model, applied back to front, while the operator and the training Pod are killed on the way."""

import itertools
import json
import time
import urllib.request
from datetime import datetime
from typing import Any

import pytest
import yaml
from openai import OpenAI

from support.cluster import OPERATOR, REPO, Cluster

QUICKSTART = REPO / "examples/quickstart"
NAME = "docstrings"
KINDS = ("ftj", "mmerge", "tfeval", "tfisvc")
CHECKPOINT_STEPS = yaml.safe_load((QUICKSTART / "10-finetunejob.yaml").read_text())["spec"]["training"]["checkpointSteps"]
WAITS = (
    ("40-inferenceservice.yaml", "tfisvc", f"ModelMerge `{NAME}` does not exist"),
    ("30-evaluation.yaml", "tfeval", f"ModelMerge `{NAME}` does not exist"),
    ("20-modelmerge.yaml", "mmerge", f"FineTuneJob `{NAME}` does not exist"),
    ("10-finetunejob.yaml", "ftj", "the ConfigMap `quickstart-train`"),
)
"""The quickstart back to front: what each resource must say of what it waits for before the next file is applied."""
STAGES = {
    "Preparing": ("FineTuneJob", f"{NAME}-prepare"), "Training": ("FineTuneJob", f"{NAME}-train"), "Merging": ("ModelMerge", f"{NAME}-merge"),
    "Evaluating": ("Evaluation", f"{NAME}-evaluate"), "Starting": ("InferenceService", f"{NAME}-server"),
}  # fmt: skip
"""What a resource says it is at once a Pod works, its kind, and the Job or Deployment that does it."""
pytestmark = pytest.mark.e2e


class Run:
    """One run of the quickstart, sampled."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.readings: list[dict[str, Any]] = []
        self.made: dict[str, set[str]] = {}
        self.waits: set[str] = set()
        self.operator_killed_in: set[str] = set()
        self.step_when_killed: int | None = None
        self.readings_when_killed = 0

    def until_done(self, seconds: float) -> None:
        """Sample every 2 s until all four resources are done."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = {item["kind"]: item.get("status", {}) for item in self.cluster.get("ftj,mmerge,tfeval,tfisvc")}
            states = {kind: status.get("state") for kind, status in found.items()}
            assert "Failed" not in states.values(), self.cluster.kubectl("describe", ",".join(KINDS))
            for status in found.values():
                self.waits.update(
                    each["message"]
                    for each in status.get("conditions", [])
                    if each["type"] in ("InputsReady", "EvaluationPassed") and each["status"] == "False"
                )
            for each in self.cluster.get("jobs,deployments"):
                self.made.setdefault(each["metadata"]["name"], set()).add(each["metadata"]["uid"])
            self._sample(found.get("FineTuneJob", {}))
            self._kill(states, found.get("FineTuneJob", {}).get("progress", {}))
            if list(states.values()).count("Done") == 3 and states.get("InferenceService") == "Ready":
                return
            time.sleep(2)
        raise AssertionError(self.cluster.kubectl("describe", ",".join(KINDS)))

    def _sample(self, status: dict[str, Any]) -> None:
        progress = status.get("progress", {})
        if status.get("state") == "Training" and "loss" in progress and (not self.readings or self.readings[-1] != progress):
            self.readings.append(progress)

    def _kill(self, states: dict[str, Any], progress: dict[str, Any]) -> None:
        """Kill the operator once in every stage, and the training Pod once, at half."""
        for state, (kind, made) in STAGES.items():
            if states.get(kind) in ("Pending", state) and made in self.made and state not in self.operator_killed_in:
                self.cluster.kubectl(*OPERATOR, "delete", "pod", "--selector", "app.kubernetes.io/name=tunewright", "--grace-period=0", "--force", system=True)
                self.operator_killed_in.add(state)
        if self.step_when_killed is None and states.get("FineTuneJob") == "Training" and progress.get("percent", 0) >= 50 and "step" in progress:
            self.step_when_killed, self.readings_when_killed = progress["step"], len(self.readings)
            self.cluster.kubectl("delete", "pod", "--selector", "tunewright.dev/stage=train", "--grace-period=1", "--wait=false")


def ready_message(cluster: Cluster, kind: str) -> str:
    return str(cluster.condition(kind, NAME, "InputsReady").get("message", ""))


@pytest.fixture(scope="module")
def run(cluster: Cluster) -> Run:
    run = Run(cluster)
    for file, kind, message in WAITS:
        cluster.kubectl("apply", "--filename", str(QUICKSTART / file))
        cluster.wait(f"{kind} to say `{message}`", 60, lambda: message in ready_message(cluster, kind))  # noqa: B023
    cluster.kubectl("apply", "--filename", str(QUICKSTART / "00-data.yaml"))
    run.until_done(40 * 60)
    return run


def test_all_four_are_done(run: Run) -> None:
    for kind in KINDS[:3]:
        assert run.cluster.condition(kind, NAME, "Succeeded")["status"] == "True"
    served = run.cluster.status("tfisvc", NAME)
    assert served["readyReplicas"] == 1
    assert served["modelDigest"] == run.cluster.status("mmerge", NAME)["artifact"]["digest"]
    table = run.cluster.kubectl("get", ",".join(KINDS))
    assert "Passed" in table
    print(table)


def test_the_tuned_model_beats_the_base_model(run: Run) -> None:
    status = run.cluster.status("tfeval", NAME)
    total = status["scores"][0]
    print(json.dumps(total))
    assert total["count"] == 100
    assert total["exactMatch"] - total["baselineExactMatch"] >= 0.4
    assert total["formatCompliance"] - total["baselineFormatCompliance"] >= 0.8
    assert status["verdict"] == "Passed"


def test_the_served_answer_is_valid_json(run: Run) -> None:
    data = next(each for each in yaml.safe_load_all((QUICKSTART / "00-data.yaml").read_text()) if each["metadata"]["name"] == "quickstart-heldout")
    row = json.loads(data["data"]["heldout.jsonl"].splitlines()[0])
    with run.cluster.forwarded(f"service/{NAME}", 8000) as port:
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        question = f"{row['instruction']}\n\n{row['input']}"
        answer = client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=160)
    assert set(json.loads(answer.choices[0].message.content or "")) == {"name", "parameters", "summary"}


def test_status_moves_while_training(run: Run) -> None:
    assert len(run.readings) >= 10
    assert all({"step", "loss", "etaSeconds"} <= set(reading) for reading in run.readings)
    times = [datetime.fromisoformat(reading["updatedTime"]) for reading in run.readings]
    # Two gaps are made on purpose: the killed training Pod's (back-off, model loading) and the killed operator's. Every other one counts.
    gaps = sorted((later - earlier).total_seconds() for earlier, later in itertools.pairwise(times))
    print("gaps between readings, s:", gaps)
    assert gaps[-3] <= 15


def test_a_killed_training_pod_resumes(run: Run) -> None:
    metrics = run.cluster.status("ftj", NAME)["metrics"]
    assert run.step_when_killed is not None
    # It loses the steps since a checkpoint at most. The Pod goes on until it is killed, so it may have saved a later step than was read.
    least = run.step_when_killed - CHECKPOINT_STEPS
    assert 0 < least <= metrics["resumedFromStep"] < run.readings[-1]["totalSteps"]
    steps = [reading["step"] for reading in run.readings[run.readings_when_killed :]]
    print(f"killed at step {run.step_when_killed}, resumed from {metrics['resumedFromStep']}, steps read after that: {steps}")
    assert steps
    assert min(steps) >= least
    assert run.cluster.status("ftj", NAME)["progress"]["step"] == run.readings[-1]["totalSteps"]


def test_nothing_was_made_twice_though_the_operator_was_killed_in_every_stage(run: Run) -> None:
    assert run.operator_killed_in == set(STAGES)
    assert {name: len(uids) for name, uids in run.made.items()} == dict.fromkeys((made for _, made in STAGES.values()), 1)


def test_each_resource_said_for_whom_it_waited(run: Run) -> None:
    # Applied back to front, each said that what it refers to does not exist yet (the fixture waited for that); then only that it waits.
    for named in (f"waiting for FineTuneJob `{NAME}`", f"waiting for ModelMerge `{NAME}`", f"waiting for Evaluation `{NAME}`"):
        assert any(named in message for message in run.waits), (named, run.waits)


def test_nothing_but_status_is_written_to_users_objects(run: Run) -> None:
    for item in json.loads(run.cluster.kubectl("get", "ftj,mmerge,tfeval,tfisvc,configmaps", "--show-managed-fields", "--output", "json"))["items"]:
        assert not item["metadata"].get("finalizers")
        for field in item["metadata"]["managedFields"]:
            if field["manager"] in ("tunewright", "kopf"):
                assert field.get("subresource") == "status", item["metadata"]["name"]


def test_no_writes_once_settled(run: Run) -> None:
    def writes() -> float:
        with (
            run.cluster.forwarded("deployment/tunewright", 8081, "tunewright-system") as port,
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tunewright_api_requests_total") and 'method="GET"' not in line)

    time.sleep(10)
    before, versions = writes(), [item["metadata"]["resourceVersion"] for item in run.cluster.get("ftj,mmerge,tfeval,tfisvc,jobs,deployments,services,pvc")]
    time.sleep(60)
    assert writes() == before
    assert [item["metadata"]["resourceVersion"] for item in run.cluster.get("ftj,mmerge,tfeval,tfisvc,jobs,deployments,services,pvc")] == versions


@pytest.mark.parametrize("operator_up", [True, False])
def test_deleting_takes_everything_along(run: Run, operator_up: bool) -> None:
    name = f"short-{operator_up}".lower()
    spec = {
        "model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct@main"},
        "dataset": {"uri": "configmap://quickstart-train/train.jsonl"},
        "resources": {"gpus": 0},
    }
    run.cluster.apply({"apiVersion": "tunewright.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": name}, "spec": spec})
    run.cluster.wait("a train Job", 300, lambda: run.cluster.get("job", f"{name}-train"))
    if not operator_up:
        run.cluster.kubectl(*OPERATOR, "scale", "deployment/tunewright", "--replicas=0", system=True)
    try:
        run.cluster.kubectl("delete", "ftj", name)
        owned = ("jobs,pods,pvc", "", "--selector", f"tunewright.dev/name={name}")
        run.cluster.wait("nothing left", 120, lambda: not run.cluster.get(*owned))
    finally:
        run.cluster.kubectl(*OPERATOR, "scale", "deployment/tunewright", "--replicas=1", system=True)
        run.cluster.kubectl(*OPERATOR, "rollout", "status", "deployment/tunewright", "--timeout=90s", system=True)
