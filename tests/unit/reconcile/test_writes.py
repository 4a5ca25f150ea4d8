"""How often a resource is written over its life when every state of its children is seen: one status for what a person would notice, and one event for its end."""

from dataclasses import replace

import pytest

from support.worlds import HUB, Story, digest, ended, ends, pod, reading, resource, result, terminated, world

LIVES = {"FineTuneJob": ("prepare", "train"), "ModelMerge": ("merge",), "Evaluation": ("evaluate",)}
RUNNING_JOB = {"active": 1}
ASKED = {"model": {"ref": {"kind": "ModelMerge", "name": "bot"}}, "evaluationRef": {"name": "check"}}


def see(told, *children, **more):
    """Go on with these children in place of those of their kinds."""
    kinds = {each["kind"] for each in children}
    told.seen = replace(told.seen, children=(*(each for each in told.seen.children if each["kind"] not in kinds), *children), **more)
    told.settle()


def with_status(told, kind, name, **status):
    made = told.seen.child(kind, name)
    return {**made, "status": {"observedGeneration": made["metadata"]["generation"], **status}}


def of_job(made, phase, **more):
    """Return a Pod of a Job that the plan made."""
    seen = pod("", phase, uid=f"{made['metadata']['name']}-pod", **more)
    return {**seen, "metadata": {**seen["metadata"], "ownerReferences": [{"uid": made["metadata"]["uid"]}]}}


@pytest.mark.parametrize("kind", LIVES)
def test_a_kind_that_ends(kind):
    inputs = (ended("FineTuneJob", "source"),) if kind == "ModelMerge" else ()
    told = Story(resource(kind), world(resources=inputs))
    told.settle()
    for verb in LIVES[kind]:
        name = f"bot-{verb}"
        see(told, with_status(told, "Job", name, **RUNNING_JOB))
        running = told.seen.child("Job", name)
        see(told, running, of_job(running, "Pending"))
        see(told, running, of_job(running, "Pending", container={"waiting": {"reason": "ContainerCreating"}}))
        see(told, running, of_job(running, "Running"), progress={f"{name}-pod": reading(verb=verb)})
        finished = of_job(running, "Succeeded", container=terminated(0, result(verb), "Completed"))
        before = len(told.statuses)
        see(told, running, finished)
        assert len(told.statuses) == before, "a Pod that has ended before its Job was counted is no news"
        see(told, with_status(told, "Job", name, **ends("Complete")), finished)
    running_states = {"prepare": "Preparing", "train": "Training", "merge": "Merging", "evaluate": "Evaluating"}
    assert [each["state"] for each in told.statuses] == [state for verb in LIVES[kind] for state in ("Pending", running_states[verb])] + ["Done"]
    assert told.events == ["Normal Succeeded"]
    assert all("Pod yet" not in str(each["conditions"]) for each in told.statuses[1:2]), "it runs"


def test_a_service():
    told = Story(resource("InferenceService", **ASKED), world())
    told.settle()
    for state in ("Waiting", "Merging"):
        see(told, resources=keyed(resource("ModelMerge", status={"state": state})))
    merged = ended("ModelMerge")
    for state in ("Waiting", "Evaluating"):
        see(told, resources=keyed(merged, resource("Evaluation", "check", model=HUB, status={"state": state})))
    see(told, resources=keyed(merged, ended("Evaluation", "check", verdict="Passed", modelDigest=digest("b"))))
    see(told, with_status(told, "Deployment", "bot-server", replicas=1, updatedReplicas=0))
    see(told, with_status(told, "Deployment", "bot-server", replicas=1, updatedReplicas=1))
    see(told, with_status(told, "Deployment", "bot-server", replicas=1, updatedReplicas=1, readyReplicas=1))
    # It waited for a name that is not there, for the merge, for the evaluation; it was written, its one Pod was made, and answers.
    assert [each["state"] for each in told.statuses] == ["Waiting", "Waiting", "Waiting", "Starting", "Starting", "Ready"]
    assert told.events == ["Normal Answering"]


def keyed(*resources):
    return world(resources=resources).resources


@pytest.mark.parametrize("kind", LIVES)
def test_the_end_of_trouble_is_an_event(kind):
    """What was a warning is taken back where it was given."""
    name = f"bot-{LIVES[kind][0]}"
    told = Story(resource(kind), world(resources=(ended("FineTuneJob", "source"),)))
    told.settle()
    unschedulable = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
    made = told.seen.child("Job", name)
    see(told, made, of_job(made, "Pending", conditions=unschedulable))
    see(told, made, of_job(made, "Running"), progress={f"{name}-pod": reading()})
    assert told.events == ["Warning Unschedulable", f"Normal {told.status['state']}"]


def test_two_conditions_that_say_the_same_are_one_event():
    refused = ended("Evaluation", "check", verdict="Failed", verdictMessage="0.1 is below", modelDigest=digest("b"))
    told = Story(resource("InferenceService", **ASKED), world(resources=(ended("ModelMerge"), refused)))
    told.settle()
    assert told.events == ["Warning EvaluationNotPassed"]
