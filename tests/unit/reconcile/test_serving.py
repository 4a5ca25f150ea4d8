"""InferenceService: only what passed is rolled out, the old one stays, and Ready says what answers."""

from dataclasses import replace

import pytest

from support.worlds import Story, condition, digest, ended, pod, resource, world
from tunewright.api.common import Kind
from tunewright.build.names import APPLIED_HASH, MODEL_DIGEST

MERGED = {"ref": {"kind": "ModelMerge", "name": "bot"}}
GATED = {"model": MERGED, "evaluationRef": {"name": "check"}}
MERGE = ended("ModelMerge", "bot")


def evaluation(verdict="Passed", letter="b", succeeded=True, **more):
    return ended(
        "Evaluation", "check", succeeded=succeeded, reason="BadData", verdict=verdict, verdictMessage="0.1 is below", modelDigest=digest(letter), **more
    )


def story(*resources, **spec):
    return Story(resource("InferenceService", **spec), world(resources=(MERGE, *resources)))


def live(told, **status):
    """Give the Deployment a status, as the Deployment controller would."""
    children = tuple(
        {**each, "status": {"observedGeneration": each["metadata"]["generation"], **status}} if each["kind"] == "Deployment" else each
        for each in told.seen.children
    )
    told.seen = replace(told.seen, children=children)
    told.settle()


def roll_out(told, replicas=1):
    told.settle()
    live(told, replicas=replicas, updatedReplicas=replicas, readyReplicas=replicas)


def ready(told):
    found = condition(told.status, "Ready")
    return found["status"], found["reason"]


def edit(told, **spec):
    meta = {**told.body["metadata"], "generation": told.body["metadata"]["generation"] + 1}
    told.body = {**told.body, "metadata": meta, "spec": {**told.body["spec"], **spec}}


def test_from_nothing_to_answering():
    told = story(model=MERGED)
    told.settle()
    assert told.made == ["Deployment/bot-server", "Service/bot"]
    assert ready(told) == ("False", "RollingOut")
    assert told.status["state"] == "Starting"
    assert "modelDigest" not in told.status, "nothing is rolled out yet"
    live(told, replicas=1, updatedReplicas=1)
    assert "modelDigest" not in told.status
    live(told, replicas=1, updatedReplicas=1, readyReplicas=1)
    assert ready(told) == ("True", "Answering")
    assert (told.status["state"], told.status["readyReplicas"], told.status["replicas"]) == ("Ready", 1, 1)
    assert told.status["modelDigest"] == digest("b")
    assert told.status["modelUri"] == "pvc://bot-merge/model"
    assert told.status["url"] == "http://bot.team.svc:8000/v1"


def test_an_old_observation_of_the_deployment_is_not_a_rollout():
    told = story(model=MERGED)
    told.settle()
    live(told, observedGeneration=0, replicas=1, updatedReplicas=1, readyReplicas=1)
    assert ready(told) == ("True", "RollingOut")
    assert "modelDigest" not in told.status


def test_readiness_goes_back():
    told = story(model=MERGED)
    roll_out(told)
    live(told, replicas=1, updatedReplicas=1, readyReplicas=0)
    assert ready(told) == ("False", "RollingOut")
    assert told.status["readyReplicas"] == 0
    roll_out(told)
    assert ready(told) == ("True", "Answering")


def test_settled_means_nothing_is_written():
    told = story(model=MERGED)
    roll_out(told)
    plan = told.settle()
    assert (plan.create, plan.update, plan.delete, plan.events) == ((), (), (), ())
    assert plan.requeue_after is None, "events bring it back"


def test_what_others_add_to_the_deployment_is_not_fought_over():
    told = story(model=MERGED)
    roll_out(told)
    told.seen = replace(told.seen, children=tuple({**each, "spec": {**each["spec"], "paused": False, "replicas": 7}} for each in told.seen.children))
    assert told.step().update == ()


def test_an_edit_is_applied_once_to_the_object_seen():
    told = story(model=MERGED)
    roll_out(told)
    edit(told, maxModelLen=512)
    plan = told.step()
    assert [(each["kind"], each["metadata"]["uid"]) for each in plan.update] == [("Deployment", "deployment-bot-server")]
    assert ready(told) == ("True", "RollingOut"), "the old Pods answer"
    assert APPLIED_HASH in plan.update[0]["metadata"]["annotations"]


@pytest.mark.parametrize("gone", ["Deployment", "Service"])
def test_what_somebody_deleted_is_made_again(gone):
    told = story(model=MERGED)
    roll_out(told)
    told.seen = replace(told.seen, children=tuple(each for each in told.seen.children if each["kind"] != gone))
    assert [each["kind"] for each in told.step().create] == [gone]


GATES = [
    ((), "WaitingForEvaluation", "does not exist"),
    ((resource("Evaluation", "check", status={"state": "Evaluating"}),), "WaitingForEvaluation", "waiting for Evaluation `check`"),
    ((evaluation(succeeded=False),), "EvaluationNotPassed", "BadData"),
    ((evaluation("Failed"),), "EvaluationNotPassed", "0.1 is below"),
    ((evaluation("NoThresholds"),), "EvaluationNotPassed", "NoThresholds"),
    ((evaluation(letter="f"),), "EvaluationOfAnotherModel", digest("f")),
]


@pytest.mark.parametrize(("resources", "reason", "word"), GATES)
def test_a_closed_gate_makes_nothing(resources, reason, word):
    told = story(*resources, **GATED)
    told.settle()
    assert told.made == []
    gate = condition(told.status, "EvaluationPassed")
    assert (gate["status"], gate["reason"]) == ("False", reason)
    assert "`check`" in gate["message"]
    assert word in gate["message"]
    assert ready(told) == ("False", reason)
    assert told.status["state"] == "Waiting"


@pytest.mark.parametrize(("resources", "reason", "word"), GATES)
def test_behind_a_closed_gate_the_old_model_stays(resources, reason, word):
    told = story(model=MERGED)
    roll_out(told)
    before = told.seen.children
    newer = ended("ModelMerge", "bot", artifact={"uri": "pvc://bot-merge/model", "digest": digest("e"), "sizeBytes": 1})
    keyed = {(Kind(each["kind"]), each["metadata"]["name"]): each for each in (newer, *resources)}
    told.seen = replace(told.seen, resources=keyed)
    edit(told, evaluationRef={"name": "check"})
    told.settle()
    assert told.seen.children == before
    assert ready(told) == ("True", reason)
    assert told.status["state"] == "Holding"
    assert told.status["modelDigest"] == digest("b"), "what is served, not what is wanted"
    assert "stays (1 of 1 replicas answer)" in condition(told.status, "Ready")["message"]


def test_an_open_gate_rolls_out():
    told = story(evaluation(), **GATED)
    roll_out(told)
    assert condition(told.status, "EvaluationPassed")["status"] == "True"
    assert ready(told) == ("True", "Answering")


def test_the_gate_opens_for_an_adapter_that_was_scored():
    adapters = [{"name": "tuned", "ref": {"kind": "FineTuneJob", "name": "bot"}}]
    told = story(ended("FineTuneJob"), evaluation(letter="a"), adapters=adapters, evaluationRef={"name": "check"})
    roll_out(told)
    assert ready(told) == ("True", "Answering")


def test_a_model_by_uri_is_compared_by_its_uri():
    scored = evaluation()
    del scored["status"]["modelDigest"]
    told = story(scored, evaluationRef={"name": "check"})
    told.settle()
    assert told.made
    other = story(scored, model={"uri": "hf://org/other"}, evaluationRef={"name": "check"})
    other.settle()
    assert other.made == []


def test_the_digest_changes_only_when_the_rollout_is_complete():
    told = story(evaluation(), **GATED)
    roll_out(told)
    newer = ended("ModelMerge", "bot", artifact={"uri": "pvc://bot-merge/model", "digest": digest("e"), "sizeBytes": 1})
    told.seen = replace(told.seen, resources={(Kind.MODEL_MERGE, "bot"): newer, (Kind.EVALUATION, "check"): evaluation(letter="e")})
    told.settle()
    deployed = told.seen.child("Deployment", "bot-server")
    assert deployed["metadata"]["annotations"][MODEL_DIGEST] == digest("e")
    live(told, observedGeneration=1, replicas=1, updatedReplicas=1, readyReplicas=1)
    assert told.status["modelDigest"] == digest("b"), "the controller has not seen the new template"
    live(told, replicas=2, updatedReplicas=1, readyReplicas=1)
    assert told.status["modelDigest"] == digest("b"), "an old Pod is still there"
    assert told.status["state"] == "Updating"
    live(told, replicas=1, updatedReplicas=1, readyReplicas=1)
    assert told.status["modelDigest"] == digest("e")


CRASH = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}


@pytest.mark.parametrize(
    ("waiting", "reason", "word"),
    [
        (pod("x", "Pending", container={"waiting": {"reason": "ErrImagePull", "message": "no"}}), "ImagePullFailed", "cannot be pulled"),
        (pod("x", "Running", container=CRASH), "CrashLoop", "--previous"),
        (
            pod("x", "Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}]),
            "Unschedulable",
            "no GPU",
        ),
    ],
)
def test_a_server_that_does_not_start_says_why(waiting, reason, word):
    told = story(model=MERGED)
    told.settle()
    told.seen = replace(told.seen, children=(*told.seen.children, waiting))
    live(told, replicas=1, updatedReplicas=1)
    assert ready(told) == ("False", reason)
    assert word in condition(told.status, "Ready")["message"]
    assert f"Warning {reason}" in told.events


def test_scaled_to_zero_is_idle():
    told = story(model=MERGED, replicas=0)
    roll_out(told, 0)
    assert ready(told) == ("False", "ScaledToZero")
    assert told.status["state"] == "Idle"


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "bot-server"), ("Service", "bot")])
def test_a_foreign_object_of_the_name_is_left_alone(kind, name):
    told = story(model=MERGED)
    told.seen = replace(told.seen, foreign=frozenset({(kind, name)}))
    told.settle()
    assert ready(told) == ("False", "NameConflict")
    assert f"`{name}`" in condition(told.status, "Ready")["message"]
    assert told.made == []
    told.seen = replace(told.seen, foreign=frozenset())
    told.settle()
    assert told.made == ["Deployment/bot-server", "Service/bot"]


def test_behind_a_closed_gate_it_is_told_that_the_old_model_does_not_answer_any_more():
    told = story(model=MERGED)
    roll_out(told)
    newer = ended("ModelMerge", "bot", artifact={"uri": "pvc://bot-merge/model", "digest": digest("e"), "sizeBytes": 1})
    crashing = pod("x", "Running", container=CRASH)
    told.seen = replace(told.seen, resources={(Kind.MODEL_MERGE, "bot"): newer}, children=(*told.seen.children, crashing))
    edit(told, evaluationRef={"name": "check"})
    live(told, replicas=1, updatedReplicas=1, readyReplicas=0)
    assert ready(told) == ("False", "WaitingForEvaluation")
    assert told.status["state"] == "NotReady", "nothing is held that is not there"
    assert "0 of 1 replicas answer; the container `c` ended once" in condition(told.status, "Ready")["message"]
