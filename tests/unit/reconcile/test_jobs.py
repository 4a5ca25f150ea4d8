"""The kinds that end, from nothing to their one end: every state of their Jobs, each settled after it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from support.worlds import (
    MADE,
    NOW,
    SETTINGS,
    Story,
    condition,
    digest,
    done,
    ended,
    ends,
    failed_pod,
    failure,
    job,
    pod,
    reading,
    resource,
    result,
    terminated,
    world,
)  # fmt: skip
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.registry import reconcile

KINDS = {
    "FineTuneJob": ("prepare", "bot-ftj", "Preparing"),
    "ModelMerge": ("merge", "bot-merge", "Merging"),
    "Evaluation": ("evaluate", "bot-evaluate", "Evaluating"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "", "uid": "claim"}}


def inputs(kind):
    return (ended("FineTuneJob", "source"),) if kind == "ModelMerge" else ()


def story(kind, *children, status=None, progress=None, foreign=frozenset(), **spec):
    """Return a resource whose first Job is in the state of `children`."""
    claims = () if any(each["kind"] == "PersistentVolumeClaim" for each in children) else ({**CLAIM, "metadata": {"name": KINDS[kind][1], "uid": "claim"}},)
    seen = world(*claims, *children, resources=inputs(kind), foreign=foreign, progress=progress or {})
    return Story(resource(kind, status=status, **spec), seen)


def training(*children, status=None, **more):
    """Return a FineTuneJob whose data is prepared."""
    return story("FineTuneJob", *children, status={"dataDigest": digest("d"), **(status or {})}, **more)


def total(told):
    return condition(told.status, "Succeeded")


def check(told, status, reason, *words):
    told.settle()
    found = total(told)
    assert (found["status"], found["reason"]) == (status, reason), found
    for word in words:
        assert word in found["message"], found["message"]


@every_kind
def test_from_nothing_the_claim_is_made_then_the_job(kind):
    verb, claim, state = KINDS[kind]
    told = Story(resource(kind), world(resources=inputs(kind)))
    told.settle()
    assert told.made == [f"PersistentVolumeClaim/{claim}", f"Job/bot-{verb}"]
    assert told.status["state"] == state
    assert "startTime" in told.status
    assert told.status["observedGeneration"] == 1


@every_kind
@pytest.mark.parametrize("state", [{}, ends("Failed", "BackoffLimitExceeded")], ids=["waits", "has ended"])
def test_an_operator_killed_before_it_wrote_when_the_job_began_knows_it_from_the_job(kind, state):
    told = story(kind, job(f"bot-{KINDS[kind][0]}", **state))
    told.settle()
    assert told.status["startTime"] == MADE


def test_data_prepared_while_the_operator_was_away_began_with_its_job():
    told = story("FineTuneJob", *done("bot-prepare", "prepare"))
    told.settle()
    assert told.made == ["Job/bot-train"]
    assert told.status["startTime"] == MADE
    assert condition(told.status, "InputsReady")["status"] == "True"


@every_kind
def test_a_running_pod_shows_its_progress(kind):
    verb, _, state = KINDS[kind]
    told = story(kind, job(f"bot-{verb}"), pod(f"bot-{verb}"), progress={"pod-1": reading(verb=verb)})
    plan = told.settle()
    assert told.status["state"] == state
    assert told.status["progress"] == {
        "phase": "Training", "percent": 62, "percentText": "62%", "step": 31, "totalSteps": 50, "epoch": 1.23, "loss": 0.8123, "evalLoss": 0.94,
        "tokensPerSecond": 4210.0, "etaSeconds": 185, "etaText": "3m", "updatedTime": "2026-01-01T00:30:00Z",
    }  # fmt: skip
    assert condition(told.status, "ProgressReadable")["status"] == "True"
    assert total(told)["status"] == "Unknown"
    assert plan.requeue_after == 8


def test_a_reading_never_invents_a_number():
    told = training(job("bot-train"), pod("bot-train"), progress={"pod-1": reading(step=None, total_steps=None, epoch=None, loss=None, eval_loss=None, tokens_per_second=None, eta_seconds=None)})  # fmt: skip
    told.settle()
    assert set(told.status["progress"]) == {"phase", "percent", "percentText", "updatedTime"}


@every_kind
def test_a_pod_that_does_not_answer_costs_the_live_figures_only(kind):
    verb, _, state = KINDS[kind]
    told = story(kind, job(f"bot-{verb}"), pod(f"bot-{verb}"), progress={"pod-1": None}, status={"progress": {"percent": 5}})
    told.settle()
    assert condition(told.status, "ProgressReadable")["reason"] == "NoAnswer"
    assert told.status["progress"] == {"percent": 5}, "the last reading stays"
    assert told.status["state"] == state


WAITS = [
    (pod("J", "Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}]),
     "Unschedulable", "nvidia.com/gpu"),
    (pod("J", "Pending", container={"waiting": {"reason": "ErrImagePull", "message": "not found"}}), "ImagePullFailed", "trainer:1"),
    (pod("J", "Pending", container={"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}}), "ImagePullFailed", "back-off"),
    (pod("J", "Pending", container={"waiting": {"reason": "CreateContainerConfigError", "message": "secret hub not found"}}), "ContainerNotCreated", "secret hub"),
    (pod("J", "Pending", container={"waiting": {"reason": "ContainerCreating"}}), "Starting", "no Pod yet that runs"),
    (pod("J", "Pending"), "Starting", "kubectl describe job"),
]  # fmt: skip


@every_kind
@pytest.mark.parametrize(("waiting", "reason", "word"), WAITS)
def test_a_pod_that_does_not_start_says_why(kind, waiting, reason, word):
    name = f"bot-{KINDS[kind][0]}"
    waiting = {**waiting, "metadata": {**waiting["metadata"], "ownerReferences": [{"uid": f"job-{name}"}]}}
    told = story(kind, job(name), waiting)
    check(told, "Unknown", reason, word)
    assert (f"Warning {reason}" in told.events) == (reason != "Starting")


FAILURES = [
    (failed_pod("J", 65, failure("prepare", "BadData", "line 7 is not JSON")), "PodFailurePolicy", "BadData", "line 7 is not JSON"),
    (failed_pod("J", 65, failure("prepare", "EmptyDataset", "there is no row")), "PodFailurePolicy", "EmptyDataset", "no row"),
    (failed_pod("J", 78, failure("prepare", "NoChatTemplate", "no chat template")), "PodFailurePolicy", "NoChatTemplate", "template"),
    (failed_pod("J", 78, failure("prepare", "UnsafeModel", "x.bin is a pickle")), "PodFailurePolicy", "UnsafeModel", "pickle"),
    (failed_pod("J", 77, failure("prepare", "Denied", "token refused")), "PodFailurePolicy", "Denied", "refused"),
    (failed_pod("J", 137, reason_of_container="OOMKilled"), "BackoffLimitExceeded", "OutOfMemory", "resources.memory"),
    (failed_pod("J", 137), "BackoffLimitExceeded", "OutOfMemory", "maxRetries"),
    (failed_pod("J", 1), "BackoffLimitExceeded", "PodFailed", "exit code 1"),
    (failed_pod("J", 137, reason="Evicted", message="low on disk"), "BackoffLimitExceeded", "Evicted", "low on disk"),
    (pod("J", "Failed", conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m"}]), "BackoffLimitExceeded",
     "PodLost", "PreemptionByScheduler"),
    (pod("J", "Failed"), "BackoffLimitExceeded", "PodLost", "node"),
    (None, "BackoffLimitExceeded", "PodLost", "Pods are gone"),
]  # fmt: skip


@every_kind
@pytest.mark.parametrize(("ending", "of_job", "reason", "word"), FAILURES)
def test_a_failed_job_is_told_by_its_last_pod(kind, ending, of_job, reason, word):
    name = f"bot-{KINDS[kind][0]}"
    pods = [{**ending, "metadata": {**ending["metadata"], "ownerReferences": [{"uid": f"job-{name}"}]}}] if ending else []
    told = story(kind, job(name, **ends("Failed", of_job, failed=4)), *pods)
    check(told, "False", reason, word)
    assert told.status["state"] == "Failed"
    assert told.status["failures"] == 4
    assert "completionTime" in told.status
    assert f"Warning {reason}" in told.events
    if kind == "FineTuneJob":
        prepared = condition(told.status, "DataPrepared")
        assert (prepared["status"], prepared["reason"]) == ("False", reason)
        assert told.made == [], "no GPU Job"


def test_the_last_of_several_pods_tells():
    first = failed_pod("bot-train", 1, failure("train", "InternalError", "first"), uid="p1", finished="2026-01-01T01:00:00Z")
    last = failed_pod("bot-train", 1, failure("train", "NotFinite", "loss is not finite"), uid="p2", finished="2026-01-01T02:00:00Z")
    check(
        training(job("bot-train", **ends("Failed", "BackoffLimitExceeded", failed=2)), last, first), "False", "NotFinite", "failed 2 times, `maxRetries` is 3"
    )


def test_the_deadline_is_told_with_its_length():
    made = job("bot-train", **ends("Failed", "DeadlineExceeded"))
    made["spec"]["activeDeadlineSeconds"] = 60
    check(training(made), "False", "DeadlineExceeded", "60 s")


def test_a_retry_tells_what_it_follows():
    told = training(job("bot-train", failed=1), failed_pod("bot-train", 1, failure("train", "DiskFull", "no space"), uid="p1"), pod("bot-train", uid="p2"))
    check(told, "Unknown", "Training", "attempt 2 after DiskFull: no space")
    assert told.status["failures"] == 1


def test_a_retry_whose_pod_is_still_pending_tells_it_too():
    told = training(job("bot-train", failed=2), failed_pod("bot-train", 137, uid="p1", reason_of_container="OOMKilled"))
    check(told, "Unknown", "Starting", "attempt 3 after OutOfMemory")


class TestSuspend:
    def test_before_the_start_nothing_is_made(self):
        told = Story(resource("FineTuneJob", suspend=True), world())
        check(told, "Unknown", "Suspended")
        assert told.made == []
        assert told.status["state"] == "Suspended"
        assert "startTime" not in told.status

    def test_while_running_the_job_is_suspended_by_one_write(self):
        told = training(job("bot-train"), pod("bot-train"), progress={"pod-1": reading()}, suspend=True)
        plan = told.step()
        (update,) = plan.update
        assert update == {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bot-train", "namespace": "team", "uid": "job-bot-train"},
            "spec": {"suspend": True, "backoffLimit": 3},
        }  # fmt: skip
        check(told, "Unknown", "Suspended")

    def test_and_resumed(self):
        made = job("bot-train")
        made["spec"]["suspend"] = True
        told = training(made)
        plan = told.step()
        assert [each["spec"] for each in plan.update] == [{"suspend": False, "backoffLimit": 3}]
        told.settle()
        assert told.status["state"] == "Training"

    def test_limits_edited_while_it_runs_are_written_to_the_job(self):
        told = Story(resource("FineTuneJob", activeDeadlineSeconds=60, status={"dataDigest": digest("d")}), world())
        told.settle()
        told.body = {**told.body, "spec": {**told.body["spec"], "activeDeadlineSeconds": 600, "maxRetries": 9}}
        plan = told.step()
        assert [each["spec"] for each in plan.update] == [{"suspend": False, "backoffLimit": 9, "activeDeadlineSeconds": 600}]
        assert told.settle().update == ()

    def test_a_job_made_after_resuming_is_not_suspended(self):
        told = Story(resource("FineTuneJob", suspend=True), world())
        told.settle()
        told.body = {**told.body, "spec": {**told.body["spec"], "suspend": False}}
        told.settle()
        assert told.made == ["PersistentVolumeClaim/bot-ftj", "Job/bot-prepare"]

    def test_a_job_that_ended_while_being_suspended_has_ended(self):
        told = training(*done("bot-train", "train"), suspend=True)
        check(told, "True", "Succeeded")


@every_kind
def test_a_lost_result_makes_the_job_again(kind):
    name = f"bot-{KINDS[kind][0]}"
    told = story(kind, job(name, **ends("Complete")))
    plan = told.step()
    assert [(each.kind, each.name, each.uid) for each in plan.delete] == [("Job", name, f"job-{name}")]
    assert total(told)["reason"] == "ResultLost"
    told.settle()
    assert told.made == [f"Job/{name}"]


@every_kind
def test_a_result_that_cannot_be_read_is_lost(kind):
    name = f"bot-{KINDS[kind][0]}"
    broken = pod(name, "Succeeded", container={"terminated": {"exitCode": 0, "message": "half a JS"}})
    assert story(kind, job(name, **ends("Complete")), broken).step().delete


def test_the_prepared_data_leads_to_the_training():
    told = story("FineTuneJob", *done("bot-prepare", "prepare"))
    told.settle()
    assert told.made == ["Job/bot-train"]
    assert told.status["dataDigest"] == digest("d")
    assert told.status["data"] == {"rows": 100, "invalid": 1, "duplicates": 2, "tooLong": 3, "train": 90, "evaluation": 4, "trainTokens": 1000}
    prepared = condition(told.status, "DataPrepared")
    assert prepared["status"] == "True"
    assert prepared["message"] == "90 rows to train on, 4 held out, of 100 read (1 invalid, 2 duplicate, 3 too long)"


def test_prepared_data_stays_prepared_when_its_job_is_gone():
    told = training()
    told.settle()
    assert told.made == ["Job/bot-train"]


def test_a_finished_training():
    told = training(*done("bot-train", "train"), status={"progress": {"epoch": 3.0, "etaSeconds": 5, "etaText": "5s"}})
    check(told, "True", "Succeeded", "step 40", "0.9432")
    assert told.status["state"] == "Done"
    assert told.status["artifact"] == {"uri": "pvc://bot-ftj/adapter", "digest": digest("a"), "sizeBytes": 10, "sizeText": "10"}
    assert told.status["metrics"] == {"loss": 0.81234, "evalLoss": 0.94321, "bestStep": 40, "tokensPerSecond": 4210.123, "trainSeconds": 60.5}
    progress = told.status["progress"]
    assert (progress["percent"], progress["step"], progress["totalSteps"], progress["loss"], progress["evalLoss"]) == (100, 50, 50, 0.8123, 0.9432)
    assert "etaSeconds" not in progress
    assert "etaText" not in progress
    assert told.events[-1] == "Normal Succeeded"


@every_kind
def test_a_job_whose_end_is_seen_before_its_pods_is_not_lost(kind):
    """Two watches have no common order; deleting the Job would run it twice."""
    verb, _, state = KINDS[kind]
    name = f"bot-{verb}"
    told = story(kind, job(name, **ends("Complete")), pod(name))
    told.settle()
    assert told.status["state"] == state
    assert told.seen.child("Job", name) is not None


def test_a_finished_merge():
    told = Story(resource("ModelMerge"), world(resources=inputs("ModelMerge")))
    told.settle()
    told.seen = replace(told.seen, children=finished(told.seen, "bot-merge", "merge"))
    check(told, "True", "Succeeded")
    assert told.status["artifact"] == {"uri": "pvc://bot-merge/model", "digest": digest("b"), "sizeBytes": 10, "sizeText": "10"}
    assert told.status["adapter"]["digest"] == digest("a")


def finished(seen, name, verb):
    """Return the children after the Job the operator made has completed: as it was written, with the end's status and the Pod's result."""
    completed, ran = done(name, verb)
    return (*({**each, "status": completed["status"]} if each["kind"] == "Job" else each for each in seen.children), ran_by(ran, seen, name))


def ran_by(ran, seen, name):
    return {**ran, "metadata": {**ran["metadata"], "ownerReferences": [{"uid": seen.child("Job", name)["metadata"]["uid"]}]}}


def test_thresholds_edited_after_the_end_are_judged_on_the_scores_there_are():
    told = story("Evaluation", *done("bot-evaluate", "evaluate"), baseline={"uri": "hf://org/other"}, thresholds=[{"metric": "ExactMatch", "minimumGain": 0.6}])
    told.settle()
    assert (told.status["verdict"], told.status["score"]) == ("Failed", 0.9)
    before = told.status
    told.body = {**told.body, "metadata": {**told.body["metadata"], "generation": 2}}
    told.body["spec"] = {**told.body["spec"], "thresholds": [{"metric": "FormatCompliance", "minimum": 0.5}]}
    told.settle()
    assert (told.status["verdict"], told.status["metric"], told.status["score"]) == ("Passed", "FormatCompliance", 1.0)
    assert condition(told.status, "Passed")["status"] == "True"
    assert "verdict Passed" in condition(told.status, "Succeeded")["message"]
    assert (told.status["scores"], told.status["completionTime"], told.status["state"]) == (before["scores"], before["completionTime"], "Done")
    assert told.made == []


def test_a_finished_evaluation():
    told = story("Evaluation", *done("bot-evaluate", "evaluate"), baseline={"uri": "hf://org/other"}, thresholds=[{"metric": "ExactMatch", "minimumGain": 0.5}])
    check(told, "True", "Succeeded", "verdict Passed")
    assert condition(told.status, "Passed")["status"] == "True"
    assert (told.status["score"], told.status["baselineScore"], told.status["verdict"], told.status["metric"]) == (0.9, 0.4, "Passed", "ExactMatch")
    assert told.status["artifact"]["uri"] == "pvc://bot-evaluate/answers"


@pytest.mark.parametrize("succeeded", [True, False])
@every_kind
def test_an_end_is_never_undone(kind, succeeded):
    """Whatever the world looks like later: inputs gone, Jobs gone, a new Job failing."""
    body = ended(kind, succeeded=succeeded, reason="BadData")
    name = f"bot-{KINDS[kind][0]}"
    for seen in (world(configmaps={}), world(job(name)), world(job(name, **ends("Failed"))), world(foreign=frozenset({("Job", name)}))):
        assert reconcile(body, seen, SETTINGS, NOW) == Plan()


@every_kind
def test_an_edit_after_the_end_is_seen_and_changes_nothing_of_it(kind):
    body = ended(kind)
    body["metadata"]["generation"] = 2
    body["spec"]["ttlSecondsAfterFinished"] = 10**6
    written = reconcile(body, world(), SETTINGS, NOW).status
    assert written["observedGeneration"] == condition(written, "Succeeded")["observedGeneration"] == 2
    assert {**body["status"], "observedGeneration": 2, "conditions": written["conditions"]} == written
    assert reconcile({**body, "status": written}, world(), SETTINGS, NOW).status is None


@every_kind
def test_the_time_to_live(kind):
    body = ended(kind, completionTime="2026-01-02T03:04:05Z")
    body["spec"]["ttlSecondsAfterFinished"] = 100
    assert reconcile(body, world(), SETTINGS, NOW + timedelta(seconds=40)) == Plan(requeue_after=60)
    (delete,) = reconcile(body, world(), SETTINGS, NOW + timedelta(seconds=100)).delete
    assert (delete.kind, delete.name, delete.uid) == (kind, "bot", f"{kind}-bot")


@every_kind
def test_the_end_itself_asks_to_come_back_for_the_time_to_live(kind):
    verb = KINDS[kind][0]
    told = story(kind, *done(f"bot-{verb}", verb), ttlSecondsAfterFinished=100, status={"dataDigest": digest("d")} if kind == "Evaluation" else None)
    if kind == "FineTuneJob":
        told = training(*done("bot-train", "train"), ttlSecondsAfterFinished=100)
    assert told.step().requeue_after == 100


@pytest.mark.parametrize("what", ["Job", "PersistentVolumeClaim"])
@every_kind
def test_a_foreign_object_of_the_name_is_left_alone(kind, what):
    verb, claim, _ = KINDS[kind]
    name = claim if what == "PersistentVolumeClaim" else f"bot-{verb}"
    told = Story(resource(kind), world(resources=inputs(kind), foreign=frozenset({(what, name)})))
    check(told, "Unknown", "NameConflict", f"`{name}`", what)
    assert f"Job/bot-{verb}" not in told.made
    assert "Warning NameConflict" in told.events
    told.seen = replace(told.seen, foreign=frozenset())
    told.settle()
    assert told.made[-1] == f"Job/bot-{verb}"


@every_kind
def test_a_resource_being_deleted_is_left_to_garbage_collection(kind):
    body = resource(kind)
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert reconcile(body, world(), SETTINGS, NOW) == Plan()


@every_kind
def test_a_pod_of_another_job_is_not_looked_at(kind):
    verb, _, state = KINDS[kind]
    told = story(kind, job(f"bot-{verb}"), pod("another", "Succeeded", container=terminated(0, result(verb))))
    check(told, "Unknown", "Starting")
    assert told.status["state"] == state


def test_a_transition_keeps_its_time_and_a_change_moves_it():
    told = Story(resource("FineTuneJob"), world(configmaps={}))
    told.settle()
    first = condition(told.status, "InputsReady")["lastTransitionTime"]
    told.settle()
    assert condition(told.status, "InputsReady")["lastTransitionTime"] == first
    told.seen = replace(told.seen, configmaps={"rows": frozenset({"train.jsonl"})})
    told.settle()
    assert condition(told.status, "InputsReady")["lastTransitionTime"] > first


def test_what_was_resolved_at_the_start_stays():
    """The ModelMerge whose model is trained on may be deleted, or made again, while the training runs."""
    seen = world(resources=(ended("ModelMerge", "base"),))
    told = Story(resource("FineTuneJob", model={"ref": {"kind": "ModelMerge", "name": "base"}}), seen)
    told.settle()
    told.seen = replace(told.seen, resources={})
    told.settle()
    assert told.status["state"] == "Preparing"
    assert told.status["base"]["digest"] == digest("b")
