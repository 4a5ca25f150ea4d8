"""What a resource waits for: said by name, in one condition, and no Job is made meanwhile."""

from dataclasses import replace

import pytest

from support.worlds import Story, condition, ended, resource, world
from tunewright.api.common import Kind
from tunewright.reconcile.references import find_cycle, references

MERGE_REF = {"ref": {"kind": "ModelMerge", "name": "base"}}
JOB_REF = {"ref": {"kind": "FineTuneJob", "name": "tuned"}}

REFERENCES = [
    ("FineTuneJob", {"model": MERGE_REF}, "ModelMerge", "base"),
    ("FineTuneJob", {"dataset": JOB_REF}, "FineTuneJob", "tuned"),
    ("ModelMerge", {"adapter": JOB_REF}, "FineTuneJob", "tuned"),
    ("ModelMerge", {"adapter": {"uri": "hf://org/adapter"}, "base": MERGE_REF}, "ModelMerge", "base"),
    ("Evaluation", {"model": JOB_REF}, "FineTuneJob", "tuned"),
    ("Evaluation", {"model": MERGE_REF}, "ModelMerge", "base"),
    ("Evaluation", {"baseline": MERGE_REF}, "ModelMerge", "base"),
    ("Evaluation", {"dataset": JOB_REF}, "FineTuneJob", "tuned"),
    ("InferenceService", {"model": MERGE_REF}, "ModelMerge", "base"),
    ("InferenceService", {"adapters": [{"name": "a", **JOB_REF}]}, "FineTuneJob", "tuned"),
]
every_reference = pytest.mark.parametrize(("kind", "spec", "other", "name"), REFERENCES)


def check_waits(kind, spec, seen, reason, *words):
    story = Story(resource(kind, **spec), seen)
    story.settle()
    ready = condition(story.status, "InputsReady")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    for word in words:
        assert word in ready["message"]
    total = condition(story.status, "Ready" if kind == "InferenceService" else "Succeeded")
    assert total["status"] == ("False" if kind == "InferenceService" else "Unknown")
    assert (total["reason"], total["message"]) == (ready["reason"], ready["message"])
    assert story.status["state"] == "Waiting"
    assert story.made == []
    assert story.events == ([] if reason.startswith("WaitingFor") else [f"Warning {reason}"]), "one event of trouble, however often it is looked at"
    return ready["message"]


@every_reference
def test_for_a_resource_that_is_not_there(kind, spec, other, name):
    check_waits(kind, spec, world(), f"WaitingFor{other}", f"{other} `{name}`", "does not exist")


@every_reference
def test_for_a_resource_that_has_not_ended_with_one_sentence_however_far_it_is(kind, spec, other, name):
    """A sentence for each of its steps would be a write of all who wait for it."""
    steps: list[dict[str, str]] = [{}, {"state": "Waiting"}, {"state": "Preparing"}, {"state": "Training"}]
    seen = (world(resources=(resource(other, name, status=status),)) for status in steps)
    assert {check_waits(kind, spec, each, f"WaitingFor{other}") for each in seen} == {f"waiting for {other} `{name}`"}


@every_reference
def test_for_a_resource_that_a_person_stopped(kind, spec, other, name):
    check_waits(kind, spec, world(resources=(resource(other, name, status={"state": "Suspended"}),)), f"WaitingFor{other}", "which is suspended")


@every_reference
def test_for_a_resource_that_failed_its_reason_is_told(kind, spec, other, name):
    failed = ended(other, name, succeeded=False, reason="BadData", message="line 7 is not JSON")
    check_waits(kind, spec, world(resources=(failed,)), "InputFailed", f"{other} `{name}`", "BadData", "line 7 is not JSON")


@pytest.mark.parametrize(("kind", "spec", "other", "name"), [each for each in REFERENCES if "dataset" not in each[1]])
def test_for_a_resource_that_is_being_deleted(kind, spec, other, name):
    dying = ended(other, name)
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    check_waits(kind, spec, world(resources=(dying,)), f"WaitingFor{other}", f"{other} `{name}`", "being deleted")


@every_reference
def test_the_wait_ends_when_the_resource_has_succeeded(kind, spec, other, name):
    story = Story(resource(kind, **spec), world())
    story.settle()
    story.seen = replace(story.seen, resources={(Kind(other), name): ended(other, name)})
    story.settle()
    assert condition(story.status, "InputsReady")["status"] == "True"
    assert story.made


PLACES = [
    ("pvc://data/rows.jsonl", {}, "ClaimNotFound", ("`data`",)),
    ("configmap://small/rows.jsonl", {}, "ConfigMapNotFound", ("`small`",)),
    ("configmap://small/rows.jsonl", {"configmaps": {"small": frozenset({"other.jsonl"})}}, "KeyNotFound", ("`small`", "`rows.jsonl`", "`other.jsonl`")),
    ("configmap://small/rows.jsonl", {"configmaps": {"small": frozenset()}}, "KeyNotFound", ("none",)),
    ("pvc://data/../x", {}, "BadConfiguration", ("`..`",)),
    ("ftp://data/x", {}, "BadConfiguration", ("hf://org/name",)),
]


@pytest.mark.parametrize("kind", ["FineTuneJob", "Evaluation"])
@pytest.mark.parametrize(("uri", "there", "reason", "words"), PLACES)
def test_for_a_place_that_is_not_there(kind, uri, there, reason, words):
    spec = {"dataset": {"uri": uri}}
    if reason == "BadConfiguration":
        # The API server refuses it; the operator would too, whatever an older CRD let in.
        story = Story(resource(kind, **spec), world(**there))
        try:
            story.settle()
        except ValueError:
            return
    check_waits(kind, spec, world(**there), reason, *words)


@pytest.mark.parametrize("kind", ["FineTuneJob", "ModelMerge", "Evaluation"])
def test_for_the_claim_of_an_output(kind):
    spec = {"output": {"uri": "pvc://shared/x"}}
    others = (ended("FineTuneJob", "source"),) if kind == "ModelMerge" else ()
    check_waits(kind, spec, world(resources=others), "ClaimNotFound", "`shared`")


def test_an_output_is_used_and_no_claim_is_made():
    story = Story(resource("FineTuneJob", output={"uri": "pvc://shared/x"}), world(claims={"shared": {}}))
    story.settle()
    assert story.made == ["Job/bot-prepare"]


CYCLES = [
    (resource("FineTuneJob", "a", model={"ref": {"kind": "ModelMerge", "name": "b"}}), resource("ModelMerge", "b", adapter={"ref": {"kind": "FineTuneJob", "name": "a"}})),
    (resource("FineTuneJob", "a", dataset={"ref": {"kind": "FineTuneJob", "name": "b"}}), resource("FineTuneJob", "b", dataset={"ref": {"kind": "FineTuneJob", "name": "a"}})),
    (resource("FineTuneJob", "a", dataset={"ref": {"kind": "FineTuneJob", "name": "a"}}),),
]  # fmt: skip


@pytest.mark.parametrize("cycle", CYCLES, ids=("job and merge", "job and job", "itself"))
def test_a_cycle_is_told_as_a_path_by_each_of_its_members(cycle):
    for body in cycle:
        story = Story(body, world(resources=cycle))
        story.settle()
        found = condition(story.status, "Succeeded")
        assert (found["status"], found["reason"]) == ("Unknown", "ReferenceCycle")
        assert all(f"{each['kind']} `{each['metadata']['name']}`" in found["message"] for each in cycle)
        assert story.events == ["Warning ReferenceCycle"]
        assert story.made == []


def test_who_only_looks_at_a_cycle_waits_for_its_member():
    check_waits("Evaluation", {"model": {"ref": {"kind": "FineTuneJob", "name": "a"}}}, world(resources=CYCLES[0]), "WaitingForFineTuneJob", "`a`")


def test_references_are_each_listed_once_in_order():
    body = {"spec": {"model": MERGE_REF, "adapters": [{"name": "x", **JOB_REF}, {"name": "y", **JOB_REF}], "evaluationRef": {"name": "e"}}}
    assert references(body) == ((Kind.MODEL_MERGE, "base"), (Kind.FINE_TUNE_JOB, "tuned"), (Kind.EVALUATION, "e"))


def test_a_cycle_elsewhere_ends_the_search():
    bodies = {(Kind(each["kind"]), each["metadata"]["name"]): each for each in CYCLES[0]}
    assert find_cycle((Kind.EVALUATION, "e"), {**bodies, (Kind.EVALUATION, "e"): {"spec": {"model": JOB_REF}}}) is None
    assert find_cycle((Kind.FINE_TUNE_JOB, "a"), bodies) is not None
