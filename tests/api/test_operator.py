"""The operator against a real API server: what it says, what it makes, what it writes, and that a crash changes nothing."""

import datetime
import socket
import time
from collections import Counter

import pytest

from support.api_server import OPERATOR, WRITES, wait_for
from support.stand_in import serving_progress
from support.worlds import failure, reading, result
from tunewright.contract.run_spec import PROGRESS_PORT

API = "tunewright.dev/v1alpha1"
HUB = {"uri": "hf://org/model@main"}
ROWS = {"uri": "configmap://rows/train.jsonl"}
DATA = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}}
CHAIN_JOBS = (("bot-prepare", "prepare"), ("bot-train", "train"), ("bot-merge", "merge"), ("bot-evaluate", "evaluate"))
KINDS = ("FineTuneJob", "ModelMerge", "Evaluation", "InferenceService")
SETTLED_SECONDS = 60


def resource(kind, name="bot", **spec):
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def chain():
    """Return the four kinds, the last first: nothing needs to be applied in order."""
    return (
        resource("InferenceService", model={"ref": {"kind": "ModelMerge", "name": "bot"}}, evaluationRef={"name": "bot"}, resources={"gpus": 0}),
        resource(
            "Evaluation", model={"ref": {"kind": "ModelMerge", "name": "bot"}}, baseline=HUB, dataset={"ref": {"kind": "FineTuneJob", "name": "bot"}},
            thresholds=[{"metric": "ExactMatch", "minimumGain": 0.4}], resources={"gpus": 0},
        ),
        resource("ModelMerge", adapter={"ref": {"kind": "FineTuneJob", "name": "bot"}}),
        resource("FineTuneJob", model=HUB, dataset=ROWS, resources={"gpus": 0}),
    )  # fmt: skip


def finish(cluster, between=lambda stage: None):
    """Play the cluster's part for the whole chain; `between` is called before and after each stage."""
    for job, verb in CHAIN_JOBS:
        cluster.wait_job(job)
        between(f"{verb} made")
        cluster.finish_job(job, result(verb))
        between(f"{verb} finished")
    wait_for("the Deployment", lambda: cluster.get("Deployment", "bot-server"))
    between("server made")
    cluster.roll_out("bot-server")
    for kind in KINDS[:3]:
        cluster.wait_condition(kind, "bot", "Succeeded", "True", "Succeeded")
    cluster.wait_condition("InferenceService", "bot", "Ready", "True", "Answering")


def check_end(cluster):
    """Check the end of the chain, which is the same whatever happened on the way."""
    job, merge, evaluation, service = (cluster.status(kind, "bot") for kind in KINDS)
    assert (job["state"], job["artifact"]["uri"], job["metrics"]["bestStep"], job["data"]["train"]) == ("Done", "pvc://bot-ftj/adapter", 40, 90)
    assert (merge["state"], merge["adapter"]["digest"]) == ("Done", job["artifact"]["digest"])
    assert (evaluation["verdict"], evaluation["score"], evaluation["baselineScore"]) == ("Passed", 0.9, 0.4)
    assert evaluation["modelDigest"] == service["modelDigest"] == merge["artifact"]["digest"]
    assert (service["state"], service["readyReplicas"]) == ("Ready", 1)
    assert service["url"] == f"http://bot.{cluster.namespace}.svc:8000/v1"


def created(cluster):
    """Count what the operator created in the namespace by resource, from the server's audit log; server-side apply creates too."""
    count = Counter()
    for each in cluster.server.written():
        target = each["objectRef"]
        made = each["responseStatus"]["code"] == 201 and not target.get("subresource")
        if made and target.get("namespace") == cluster.namespace and target["resource"] != "events":
            count[target["resource"]] += 1
    return count


def moment():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


class TestBadInput:
    """Each has its own condition that names what is wrong, and no Job is made."""

    CASES = {
        "reference to nothing": (
            [resource("FineTuneJob", model={"ref": {"kind": "ModelMerge", "name": "nobody"}}, dataset=ROWS)], "WaitingForModelMerge", "ModelMerge `nobody` does not exist",
        ),
        "adapter of nobody": ([resource("ModelMerge", adapter={"ref": {"kind": "FineTuneJob", "name": "nobody"}})], "WaitingForFineTuneJob", "FineTuneJob `nobody`"),
        "model of nobody": ([resource("Evaluation", model={"ref": {"kind": "ModelMerge", "name": "nobody"}}, dataset=ROWS)], "WaitingForModelMerge", "`nobody`"),
        "reference cycle": (
            [
                resource("FineTuneJob", model={"ref": {"kind": "ModelMerge", "name": "bot"}}, dataset=ROWS),
                resource("ModelMerge", adapter={"ref": {"kind": "FineTuneJob", "name": "bot"}}),
            ],
            "ReferenceCycle", "FineTuneJob `bot` -> ModelMerge `bot` -> FineTuneJob `bot`",
        ),
        "claim that does not exist": ([resource("FineTuneJob", model=HUB, dataset={"uri": "pvc://nowhere/rows.jsonl"})], "ClaimNotFound", "`nowhere`"),
        "output claim that does not exist": ([resource("FineTuneJob", model=HUB, dataset=ROWS, output={"uri": "pvc://nowhere/x"})], "ClaimNotFound", "`nowhere`"),
        "ConfigMap that does not exist": ([resource("Evaluation", model=HUB, dataset={"uri": "configmap://nowhere/x"})], "ConfigMapNotFound", "`nowhere`"),
        "key that does not exist": ([resource("FineTuneJob", model=HUB, dataset={"uri": "configmap://rows/eval.jsonl"})], "KeyNotFound", "`train.jsonl`"),
    }  # fmt: skip

    @pytest.mark.parametrize("case", CASES)
    def test_is_told_by_a_condition(self, cluster, operator, case):
        bodies, reason, words = self.CASES[case]
        cluster.apply(DATA, *bodies)
        kind = bodies[0]["kind"]
        found = cluster.wait_condition(kind, "bot", "Succeeded", "Unknown", reason)
        assert words in found["message"]
        assert cluster.status(kind, "bot")["state"] == "Waiting"
        assert cluster.list("Job") == []
        events = [each for each in cluster.list("Event") if each["involvedObject"]["kind"] == kind]
        # To wait for a resource that is on its way is no trouble.
        assert Counter(each["reason"] for each in events)[reason] == (0 if reason.startswith("WaitingFor") else 1)

    def test_the_wait_for_a_config_map_ends_by_itself(self, cluster, operator):
        cluster.apply(resource("FineTuneJob", model=HUB, dataset=ROWS))
        cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "Unknown", "ConfigMapNotFound")
        cluster.apply(DATA)
        cluster.wait_job("bot-prepare", timeout=25)

    def test_bad_data_fails_with_the_line_and_no_training(self, cluster, operator):
        cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS))
        cluster.finish_job("bot-prepare", failure("prepare", "BadData", "line 7 is not JSON"), exit_code=65)
        cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "False", "BadData")
        assert cluster.condition("FineTuneJob", "bot", "DataPrepared")["message"] == "line 7 is not JSON"
        assert [each["metadata"]["name"] for each in cluster.list("Job")] == ["bot-prepare"]


def test_the_chain_ends_and_then_nothing_is_written(cluster, operator):
    """All four kinds at once, to the end; then the API server's own audit log counts the operator's writes for a minute."""
    cluster.apply(*chain(), DATA)
    cluster.wait_condition("InferenceService", "bot", "Ready", "False", "WaitingForModelMerge")
    cluster.wait_condition("Evaluation", "bot", "Succeeded", "Unknown", "WaitingForModelMerge")
    cluster.wait_condition("ModelMerge", "bot", "Succeeded", "Unknown", "WaitingForFineTuneJob")
    finish(cluster)
    check_end(cluster)

    for kind in ("Job", "PersistentVolumeClaim", "Deployment", "Service"):
        for made in cluster.list(kind):
            (owner,) = made["metadata"]["ownerReferences"]
            mine = cluster.get(owner["kind"], "bot")
            assert (owner["uid"], owner["controller"]) == (mine["metadata"]["uid"], True)
            # The API server itself protects claims in use; that one is not ours.
            assert set(made["metadata"].get("finalizers", [])) <= {"kubernetes.io/pvc-protection"}
    for kind in KINDS:
        meta = cluster.get(kind, "bot")["metadata"]
        assert "finalizers" not in meta
        assert set(meta.get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}, "nothing is written to a user's object but status"
        assert meta["generation"] == 1

    wait_for("nothing left to write", lambda: quiet(cluster.server, 3), timeout=30)
    since, before = moment(), len(cluster.server.written())
    time.sleep(SETTLED_SECONDS)
    written = [
        each for each in cluster.server.written() if each["requestReceivedTimestamp"] > since and each["objectRef"].get("namespace") == cluster.namespace
    ]
    assert [(each["verb"], each["requestURI"]) for each in written] == []
    print(f"writes in {SETTLED_SECONDS} s after settling: {len(written)} in this namespace, {len(cluster.server.written()) - before} in all of {before} so far")
    assert len(cluster.server.written()) == before, "other namespaces have settled as well"
    assert operator.probe("healthz") == "ok\n"


def quiet(server, seconds):
    """Return whether the operator wrote nothing for so long."""
    before = len(server.written())
    time.sleep(seconds)
    return len(server.written()) == before


def test_progress_is_in_the_status_while_it_runs(cluster, operator):
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS))
    step = 10
    with serving_progress("127.0.0.77", lambda: reading(verb="prepare", step=step)):
        cluster.run_job("bot-prepare", "127.0.0.77")
        wait_for("a first reading", lambda: cluster.status("FineTuneJob", "bot").get("progress", {}).get("step") == 10, timeout=15)
        assert cluster.condition("FineTuneJob", "bot", "ProgressReadable")["status"] == "True"
        step = 20
        wait_for("the next reading within 15 s", lambda: cluster.status("FineTuneJob", "bot")["progress"]["step"] == 20, timeout=15)
    table = cluster.server.kubectl("get", "ftj", "-n", cluster.namespace).stdout
    assert "62%" in table
    assert "3m" in table


def test_a_pod_that_never_speaks_is_told_and_costs_no_more_than_its_figures(cluster, operator):
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS))
    with socket.create_server(("127.0.0.78", PROGRESS_PORT)):
        cluster.run_job("bot-prepare", "127.0.0.78")
        cluster.wait_condition("FineTuneJob", "bot", "ProgressReadable", "False", "NoAnswer", timeout=15)
        assert cluster.condition("FineTuneJob", "bot", "Succeeded")["reason"] == "Preparing"
        cluster.finish_job("bot-prepare", result("prepare"))
        cluster.wait_condition("FineTuneJob", "bot", "DataPrepared", "True", "Prepared", timeout=5)


def test_the_operator_killed_at_every_stage_makes_no_job_twice(cluster, operator):
    """kill -9 before each Job ends; the Job ends while the operator is down; the chain ends the same."""

    def between(stage):
        if stage.endswith("made"):
            operator.kill()
        else:
            operator.start(wait=False)

    cluster.apply(*chain(), DATA)
    time.sleep(0.3)  # in the middle of the first writes
    operator.kill()
    operator.start()
    try:
        finish(cluster, lambda stage: between(stage) if not stage.startswith("server") else None)
    finally:
        if operator.process is None:
            operator.start()
    wait_for("the operator is ready", operator.is_ready, timeout=60)
    check_end(cluster)
    assert created(cluster) == {"jobs": 4, "persistentvolumeclaims": 3, "deployments": 1, "services": 1}
    assert sorted(each["metadata"]["name"] for each in cluster.list("Job")) == sorted(name for name, _ in CHAIN_JOBS)


@pytest.mark.parametrize("kind", ["Job", "PersistentVolumeClaim"])
def test_a_foreign_object_is_left_alone_until_it_is_gone(cluster, operator, kind):
    name = "bot-prepare" if kind == "Job" else "bot-ftj"
    foreign = {
        "Job": {"apiVersion": "batch/v1", "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "mine"}]}}}},
        "PersistentVolumeClaim": {"apiVersion": "v1", "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    }[kind]  # fmt: skip
    cluster.apply({**foreign, "kind": kind, "metadata": {"name": name}})
    before = cluster.get(kind, name)
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS))
    found = cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "Unknown", "NameConflict")
    assert f"a {kind} named `{name}` exists" in found["message"]
    assert cluster.get(kind, name) == before
    cluster.server.merge(cluster.path(kind, name), {"metadata": {"finalizers": None}})
    cluster.delete(kind, name)
    cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "Unknown", "Starting", timeout=45)
    assert cluster.get(kind, name)["metadata"]["ownerReferences"][0]["controller"] is True


def test_suspend_and_resume(cluster, operator):
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS))
    cluster.wait_job("bot-prepare")
    for suspend, state in ((True, "Suspended"), (False, "Pending")):
        cluster.server.merge(cluster.path("FineTuneJob", "bot"), {"spec": {"suspend": suspend}})
        wait_for(state, lambda: cluster.get("Job", "bot-prepare")["spec"]["suspend"] is suspend)  # noqa: B023
        wait_for(state, lambda: cluster.status("FineTuneJob", "bot")["state"] == state)  # noqa: B023


def test_retries_and_deadline_can_be_changed_while_it_runs(cluster, operator):
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS, activeDeadlineSeconds=60))
    cluster.finish_job("bot-prepare", result("prepare"))
    cluster.wait_job("bot-train")
    cluster.server.merge(cluster.path("FineTuneJob", "bot"), {"spec": {"activeDeadlineSeconds": 3600, "maxRetries": 7}})
    spec = wait_for("the new limits", lambda: (found := cluster.get("Job", "bot-train")["spec"])["activeDeadlineSeconds"] == 3600 and found)
    assert spec["backoffLimit"] == 7
    wait_for("the edit is acknowledged", lambda: cluster.status("FineTuneJob", "bot")["observedGeneration"] == 2)


def test_thresholds_edited_after_the_end_are_judged_again(cluster, operator):
    cluster.apply(DATA, resource("Evaluation", model=HUB, dataset=ROWS, thresholds=[{"metric": "ExactMatch", "minimum": 1}]))
    cluster.finish_job("bot-evaluate", result("evaluate"))
    cluster.wait_condition("Evaluation", "bot", "Passed", "False", "ThresholdsNotMet")
    cluster.server.merge(cluster.path("Evaluation", "bot"), {"spec": {"thresholds": [{"metric": "ExactMatch", "minimum": 0.5}]}})
    cluster.wait_condition("Evaluation", "bot", "Passed", "True", "ThresholdsMet")
    assert cluster.status("Evaluation", "bot")["observedGeneration"] == 2


def test_a_lost_result_makes_the_job_again(cluster, operator):
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS))
    first = cluster.wait_job("bot-prepare")
    conditions = [{"type": each, "status": "True"} for each in ("SuccessCriteriaMet", "Complete")]
    times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:00Z"}
    cluster.server.merge(cluster.path("Job", "bot-prepare") + "/status", {"status": {**times, "succeeded": 1, "conditions": conditions}})
    wait_for("another Job", lambda: (cluster.get("Job", "bot-prepare") or first)["metadata"]["uid"] != first["metadata"]["uid"])


def test_the_time_to_live_deletes_the_resource(cluster, operator):
    cluster.apply(DATA, resource("FineTuneJob", model=HUB, dataset=ROWS, ttlSecondsAfterFinished=2))
    cluster.finish_job("bot-prepare", result("prepare"))
    cluster.finish_job("bot-train", result("train"))
    cluster.wait_condition("FineTuneJob", "bot", "Succeeded", "True", "Succeeded")
    wait_for("it is deleted", lambda: cluster.get("FineTuneJob", "bot") is None)


def test_the_operator_wrote_to_our_kinds_nothing_but_status(server, operator):
    """Over everything the tests above made it do; a time to live deletes the resource, as its user asked."""
    written = [each for each in server.written() if each["objectRef"].get("apiGroup") == "tunewright.dev"]
    assert written
    other = [
        each for each in written if each["objectRef"].get("subresource") != "status" and not (each["verb"] == "delete" and "time-to-live" in each["requestURI"])
    ]
    assert [(each["verb"], each["requestURI"]) for each in other] == []


def test_the_operator_never_asks_for_secrets(server, operator):
    asked = {each["objectRef"]["resource"] for each in server.audited() if each["user"]["username"] == OPERATOR and "objectRef" in each}
    assert "jobs" in asked
    assert "secrets" not in asked
    assert {each["verb"] for each in server.audited()} - WRITES <= {"get", "list", "watch"}
