"""The cache: Kopf's indexes (here plain dicts), overlaid with what the operator wrote itself."""

import json

from tunewright.api.common import Kind
from tunewright.cluster.cache import Cache
from tunewright.cluster.trim import trim, trimmed

FTJ = (Kind.FINE_TUNE_JOB, "team", "bot")
MERGE = (Kind.MODEL_MERGE, "team", "bot")
EVAL = (Kind.EVALUATION, "team", "bot")


def body(uid="u1", version=1, owner=None, **more):
    meta = {"uid": uid, "resourceVersion": str(version), "namespace": "team", "name": uid}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "controller": True}]
    return {"metadata": meta, **more}


def cache(resources=None, children=None, dependents=None):
    return Cache(resources if resources is not None else {}, children if children is not None else {}, dependents if dependents is not None else {})


def test_what_was_written_is_seen_until_the_watch_has_caught_up():
    resources = {FTJ: [body(version=1)]}
    made = cache(resources)
    made.wrote(body(version=5, status={"state": "Training"}))
    assert made.resource(FTJ)["status"] == {"state": "Training"}
    resources[FTJ] = [body(version=3)]
    assert made.resource(FTJ)["metadata"]["resourceVersion"] == "5", "an event of an older write changes nothing"
    resources[FTJ] = [body(version=10, status={"state": "Done"})]
    assert made.resource(FTJ)["status"] == {"state": "Done"}


def test_versions_are_numbers_not_text():
    made = cache({FTJ: [body(version=9)]})
    made.wrote(body(version=10))
    assert made.resource(FTJ)["metadata"]["resourceVersion"] == "10"


def test_a_written_resource_does_not_outlive_the_one_seen():
    resources = {FTJ: [body()]}
    made = cache(resources)
    made.wrote(body(version=2))
    del resources[FTJ]
    assert made.resource(FTJ) is None


def test_another_object_of_the_same_name_is_not_overlaid():
    resources = {FTJ: [body("u1", 1)]}
    made = cache(resources)
    made.wrote(body("u1", 9))
    resources[FTJ] = [body("u2", 3)]
    assert made.resource(FTJ)["metadata"]["uid"] == "u2"


def test_children_include_what_was_made_and_not_what_was_deleted():
    children = {"u1": [body("c1", 1, "u1")]}
    made = cache(children=children)
    made.wrote(body("c2", 2, "u1"))
    made.wrote(body("c3", 3, "somebody-else"))
    assert [each["metadata"]["uid"] for each in made.children("u1")] == ["c1", "c2"]
    made.deleted("c1")
    assert [each["metadata"]["uid"] for each in made.children("u1")] == ["c2"]
    children["u1"] = []
    made.forget("c1")
    made.forget("c2")
    assert made.children("u1") == ()


def test_managed_fields_are_not_kept():
    seen = body()
    seen["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in trimmed(seen)["metadata"]
    made = cache({FTJ: [body()]})
    made.wrote({**seen, "metadata": {**seen["metadata"], "resourceVersion": "2"}})
    assert "managedFields" not in made.resource(FTJ)["metadata"]


def test_references_are_followed_within_the_namespace_and_through_cycles():
    def referring(uid, kind, name):
        return body(uid, spec={"model": {"ref": {"kind": kind, "name": name}}})

    resources = {
        FTJ: [referring("f", "ModelMerge", "bot")],
        MERGE: [referring("m", "FineTuneJob", "bot")],
        (Kind.MODEL_MERGE, "other", "bot"): [body("other")],
    }
    found = cache(resources).referenced(referring("e", "FineTuneJob", "bot"))
    assert {key: each["metadata"]["uid"] for key, each in found.items()} == {(Kind.FINE_TUNE_JOB, "bot"): "f", (Kind.MODEL_MERGE, "bot"): "m"}
    assert cache(resources).referenced(referring("e", "FineTuneJob", "nobody")) == {}


def test_dependents_are_found_through_others_and_cycles_end():
    made = cache(dependents={FTJ: [MERGE], MERGE: [EVAL, FTJ], EVAL: []})
    assert made.dependents(FTJ) == {MERGE, EVAL}
    assert made.dependents(EVAL) == set()


def test_what_was_written_is_forgotten_with_its_owner_or_once_it_is_seen():
    children = {}
    made = cache(children=children)
    for owner in ("u1", "u2"):
        made.wrote(body(f"c-{owner}", 2, owner))
    children["u1"] = [body("c-u1", 3, "u1", status={"seen": True})]
    assert [each["status"] for each in made.children("u1")] == [{"seen": True}]
    children.clear()
    assert made.children("u1") == (), "the watch has seen it and seen it go"
    made.forget("u2")
    assert made.children("u2") == ()


def test_of_a_pod_the_ports_are_kept_and_of_a_job_what_it_was_told():
    container = {"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}], "ports": [{"name": "progress"}]}
    pod = body(kind="Pod", spec={"volumes": [{}], "containers": [container]}, status={"phase": "Running"})
    job = body(kind="Job", spec={"suspend": True, "template": {"metadata": {}, "spec": {"volumes": [{}], "containers": [container]}}})
    assert trimmed(pod)["spec"] == {"containers": [{"ports": [{"name": "progress"}]}]}
    assert trimmed(job)["spec"] == {"suspend": True, "template": {"spec": {"containers": [{"env": [{"name": "A", "value": "b"}]}]}}}
    assert trimmed(trimmed(job)) == trimmed(job)
    held = {**pod}
    assert trim(pod) == trimmed(held)
    assert held["spec"] == {"containers": [{"ports": [{"name": "progress"}]}]}, "whoever else holds it holds less"


def test_of_two_objects_of_one_name_the_newer_is_the_one_there_is():
    """The deletion of the older was missed: Kopf keeps it for ever."""
    resources = {FTJ: [body("old", 3), body("new", 12)]}
    assert cache(resources).resource(FTJ)["metadata"]["uid"] == "new"
    jobs = [body(uid, version, "u1", kind="Job") for uid, version in (("a-new", 12), ("b-old", 9))]
    for each in jobs:
        each["metadata"]["name"] = "bot-train"
    assert [each["metadata"]["uid"] for each in cache(children={"u1": jobs}).children("u1")] == ["a-new"]


def test_a_resource_found_gone_is_not_seen_any_more():
    made = cache({FTJ: [body("u1", 3)]})
    made.deleted("u1")
    assert made.resource(FTJ) is None


def test_what_the_watches_have_brought_is_told_by_kind_with_whose_news_it_is():
    job = body("j", 2, "u1", kind="Job")
    job["metadata"]["labels"] = {"tunewright.dev/kind": "FineTuneJob", "tunewright.dev/name": "bot"}
    made = cache({FTJ: [body("u1", 1)]}, {"u1": [job]})
    assert made.seen() == {"FineTuneJob": {"u1": FTJ}, "Job": {"j": FTJ}}
    made.deleted("j")
    assert made.seen()["Job"] == {}


def test_what_is_kept_has_its_words_once():
    """Each answer is parsed into strings of its own."""
    first, second = (
        trimmed(json.loads(json.dumps({"kind": "Service", "metadata": {"uid": "u"}, "spec": {}, "status": {"reasons": ["Why", "x" * 41]}}))) for _ in "12"
    )
    assert first == second
    assert [a is b for one, other in ((first, second), (first["status"], second["status"])) for a, b in zip(one, other, strict=True)] == [True] * 5
    assert [a is b for a, b in zip(first["status"]["reasons"], second["status"]["reasons"], strict=True)] == [True, False], "long ones are hardly ever the same"
