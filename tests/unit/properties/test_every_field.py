"""Every field of a spec reaches an object that the operator makes, or stands below with the reason why it does not.

The commonest flaw of operators (reliability.md: 23 of 56 bugs) is a field that is accepted and does nothing.
"""

import copy
import json
from dataclasses import replace

import pytest

from support.schema_walk import changed, get, leaves, mutable, spec_schema
from support.specs import FULL, HUB, NO_OBJECT, VARIANTS
from support.worlds import SETTINGS, Story, digest, done, ended, resource, world
from tunewright.reconcile.resource import parse_resource

FIELDS = [(kind, path) for kind in FULL for path, _ in leaves(spec_schema(kind))]
BY_VARIANT = {"ref", "output", "evaluationRef"}


def seen_world():
    return world(
        resources=(ended("ModelMerge", "base"), ended("FineTuneJob", "source")), claims={"shared": {}}, configmaps={"rows": frozenset({"train.jsonl"})},
    )  # fmt: skip


def begun(kind, spec):
    """Return a resource with that spec, on a GPU cluster: there every field means something."""
    return Story({**resource(kind), "spec": copy.deepcopy(spec)}, seen_world(), settings=replace(SETTINGS, server_device="GPU"))


def life(kind, spec):
    """Return every object made over the whole life of a resource, and its last status; each Job succeeds as soon as it is made."""
    told = begun(kind, spec)
    made = []
    for _ in range(20):
        plan = told.step()
        made += plan.create
        if not plan.create and not complete_a_job(told):
            return made, told.status
    raise AssertionError("it does not end")


def complete_a_job(told):
    """Let the newest unfinished Job succeed; return whether there was one."""
    for job in told.seen.of_kind("Job"):
        if not job.get("status"):
            name = job["metadata"]["name"]
            completed, ran = done(name, name.rsplit("-", 1)[1])
            ran["metadata"]["ownerReferences"] = [{"uid": job["metadata"]["uid"]}]
            others = tuple(each for each in told.seen.children if each is not job)
            told.seen = replace(told.seen, children=(*others, {**job, "status": completed["status"]}, ran))
            return True
    return False


def text(objects):
    return json.dumps(objects, sort_keys=True)


@pytest.mark.parametrize(("kind", "path"), FIELDS, ids=lambda each: each if isinstance(each, str) else ".".join(map(str, each)))
def test_changes_an_object_or_is_listed_with_the_reason(kind, path):
    if BY_VARIANT & set(path):
        assert path[0] in VARIANTS[kind], "a field that stands in place of another needs a variant"
        return
    schema = dict(leaves(spec_schema(kind)))[path]
    assert get(FULL[kind], path) is not None, "the full spec must have every field"
    other = changed(FULL[kind], path, schema)
    parse_resource({**resource(kind), "spec": other})
    before, after = life(kind, FULL[kind])[0], life(kind, other)[0]
    assert before
    assert (text(before) == text(after)) == ((kind, path[0]) in NO_OBJECT)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, fields in VARIANTS.items() for name in fields])
def test_what_stands_in_place_of_another_changes_an_object(kind, name):
    other = {**FULL[kind], name: VARIANTS[kind][name]}
    assert text(life(kind, other)[0]) != text(life(kind, FULL[kind])[0])


def test_nothing_is_listed_in_vain():
    assert all(name in spec_schema(kind)["properties"] for kind, name in NO_OBJECT)


@pytest.mark.parametrize("change", [{"metric": "Similarity"}, {"minimum": 0.99}, {"minimumGain": 0.99}])
def test_every_threshold_field_changes_the_verdict(change):
    spec = copy.deepcopy(FULL["Evaluation"])
    before = life("Evaluation", spec)[1]
    spec["thresholds"][0] |= change
    after = life("Evaluation", spec)[1]
    assert (before["verdict"], after["verdict"]) == ("Passed", "Failed")
    assert before["verdictMessage"] != after["verdictMessage"]


# Mutable fields: an edit must lead to where creation would have led, and back.


def objects(told):
    """Return the children without what the server gives them."""
    kept = []
    for each in told.seen.children:
        meta = {key: value for key, value in each["metadata"].items() if key not in ("uid", "generation", "creationTimestamp")}
        kept.append({**{key: value for key, value in each.items() if key != "status"}, "metadata": meta})
    return sorted(kept, key=lambda each: (each["kind"], each["metadata"]["name"]))


def edit(told, spec):
    meta = {**told.body["metadata"], "generation": told.body["metadata"]["generation"] + 1}
    told.body = {**told.body, "metadata": meta, "spec": copy.deepcopy(spec)}
    told.settle()
    assert told.status["observedGeneration"] == meta["generation"]


def edits():
    for kind in FULL:
        for path, schema in leaves(spec_schema(kind)):
            if path[0] in mutable(kind) and not BY_VARIANT & set(path):
                yield pytest.param(kind, changed(FULL[kind], path, schema), id=f"{kind}.{'.'.join(map(str, path))}")
        for name, value in VARIANTS[kind].items():
            if name in mutable(kind):
                yield pytest.param(kind, {**FULL[kind], name: value}, id=f"{kind}.{name} in place of another")


@pytest.mark.parametrize(("kind", "other"), list(edits()))
def test_an_edit_leads_to_where_creation_leads_and_back(kind, other):
    created = begun(kind, other)
    created.settle()
    edited = begun(kind, FULL[kind])
    edited.settle()
    before = objects(edited)
    edit(edited, other)
    if not other.get("suspend") and not other.get("evaluationRef"):
        assert objects(edited) == objects(created)
    edit(edited, FULL[kind])
    assert objects(edited) == before, "back to the first spec is back to the first objects"


def test_a_suspended_job_differs_by_suspend_alone():
    """Created suspended nothing is made; suspended later the Job stays: the one case where the way matters."""
    told = begun("FineTuneJob", FULL["FineTuneJob"])
    told.settle()
    before = objects(told)
    edit(told, {**FULL["FineTuneJob"], "suspend": True})
    (job,) = (each for each in objects(told) if each["kind"] == "Job")
    assert job["spec"]["suspend"] is True
    job["spec"]["suspend"] = False
    assert [job] == [each for each in before if each["kind"] == "Job"]


def test_a_gate_that_closes_leaves_what_is_rolled_out():
    told = begun("InferenceService", FULL["InferenceService"])
    told.settle()
    before = objects(told)
    edit(told, {**FULL["InferenceService"], "evaluationRef": {"name": "check"}, "maxModelLen": 64})
    assert objects(told) == before
    passed = ended("Evaluation", "check", verdict="Passed", modelDigest=digest("e"))
    passed["spec"]["model"] = HUB
    del passed["status"]["modelDigest"]
    told.seen = replace(told.seen, resources={**told.seen.resources, ("Evaluation", "check"): passed})
    told.settle()
    assert "--max-model-len 64 " in " ".join(
        next(each for each in objects(told) if each["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    )
