"""The judges bite: a planted flaw alarms, and what is right does not."""

import copy

import pytest

from support.campaign import oracles
from support.campaign.explained import Explained, in_vain, unexplained
from support.campaign.meanings import names, transitions
from support.campaign.mirror import complaints
from support.campaign.oracles import Alarm
from support.campaign.plan import Situation, bases, lanes
from support.campaign.snapshot import GONE, snapshot
from support.campaign.transitions import NAME, Transition
from support.campaign.verdict import names_the_field, schema_refuses
from support.end_state import difference
from support.schema_walk import leaves, spec_schema
from support.specs import FULL
from support.worlds import Story, resource, world
from tunewright.build import jobs

RANK = Transition(("lora", "rank"), "beyond the maximum", 513)
RETRIES = Transition(("maxRetries",), "next", 1)


def came_to(kind, **spec):
    """Return the snapshot of a resource that the operator has brought as far as it goes."""
    told = Story(resource(kind, **{**FULL[kind], **spec}), world(configmaps={"rows": frozenset({"train.jsonl"})}))
    told.settle()
    return snapshot(told.body, told.seen.children)


def test_a_builder_that_drops_a_field_alarms(monkeypatch):
    reference, changed = came_to("FineTuneJob"), came_to("FineTuneJob", maxRetries=1)
    assert oracles.consistency("FineTuneJob", RETRIES, [reference], [changed]) == []
    monkeypatch.setattr(jobs, "prepare_limits", lambda spec: jobs.job_limits(max_retries=3, suspend=spec.suspend))
    monkeypatch.setattr("tunewright.reconcile.fine_tune_job.prepare_limits", jobs.prepare_limits)
    (message,) = oracles.consistency("FineTuneJob", RETRIES, [came_to("FineTuneJob")], [came_to("FineTuneJob", maxRetries=1)])
    assert "shows in no object" in message


def test_what_is_on_the_list_of_no_effect_does_not_alarm():
    shot = came_to("FineTuneJob")
    time_to_live = Transition(("ttlSecondsAfterFinished",), "next", 1)
    assert oracles.consistency("FineTuneJob", time_to_live, [shot], [shot]) == []
    assert oracles.consistency("FineTuneJob", RETRIES, [shot], [shot])


def test_an_edit_that_is_not_carried_out_alarms():
    before, fresh = came_to("FineTuneJob"), came_to("FineTuneJob", maxRetries=1)
    spec = {**FULL["FineTuneJob"], "maxRetries": 1}
    assert oracles.differential(spec, fresh, before, fresh) == []
    (message,) = oracles.differential(spec, fresh, before, before)
    assert message == ".children.Job/NAME-prepare.spec.backoffLimit: 1 became 2"


def test_while_a_gate_is_closed_what_is_there_stays():
    blocked = came_to("InferenceService", model={"uri": "pvc://nowhere/x"})
    before = came_to("InferenceService")
    held = copy.deepcopy(before) | {"status": copy.deepcopy(blocked["status"])}
    spec = {**FULL["InferenceService"], "model": {"uri": "pvc://nowhere/x"}}
    assert oracles.differential(spec, blocked, before, held) == []
    del held["children"]["Service/NAME"]
    (message,) = oracles.differential(spec, blocked, before, held)
    assert message.startswith(".Service/NAME")


def test_a_suspended_job_may_differ_by_its_limits_alone():
    fresh, before = came_to("FineTuneJob", suspend=True), came_to("FineTuneJob")
    after = copy.deepcopy(before) | {"status": fresh["status"]}
    after["children"]["Job/NAME-prepare"]["spec"]["suspend"] = True
    spec = {**FULL["FineTuneJob"], "suspend": True}
    assert oracles.differential(spec, fresh, before, after) == []
    after["children"]["Job/NAME-prepare"]["spec"]["completions"] = 9
    assert oracles.differential(spec, fresh, before, after)


def test_a_resource_that_is_deleted_in_only_one_way_alarms():
    shot = came_to("FineTuneJob")
    assert oracles.differential(FULL["FineTuneJob"], GONE, shot, GONE) == []
    assert oracles.differential(FULL["FineTuneJob"], GONE, shot, shot)


@pytest.mark.parametrize("part", ["status", "condition"])
def test_a_status_of_another_generation_alarms(part):
    told = Story(resource("FineTuneJob", generation=4), world())
    told.settle()
    assert oracles.generation(told.body) == []
    body = copy.deepcopy(told.body)
    (body["status"] if part == "status" else body["status"]["conditions"][0])["observedGeneration"] = 3
    (message,) = oracles.generation(body)
    assert "of generation 3, the newest is 4" in message


def written(code, resource="jobs", message="", group="batch", verb="create"):
    return {"verb": verb, "requestURI": "/x", "objectRef": {"resource": resource, "apiGroup": group}, "responseStatus": {"code": code, "message": message}}


def test_a_refused_child_alarms():
    assert oracles.children([written(201), written(409), written(404)]) == []
    assert oracles.children([written(422, message='Job.batch "bot-train" is invalid')]) == ['create jobs was refused: Job.batch "bot-train" is invalid']


def test_a_write_after_convergence_alarms():
    assert oracles.quiescence([written(200, "finetunejobs", group="tunewright.dev", verb="delete")]) == []
    assert oracles.quiescence([written(200, "finetunejobs", group="tunewright.dev", verb="patch")]) == ["patch /x"]


def test_failed_passes_and_errors_are_heard_of():
    lines = [
        "2026-11-25 00:00:00,000 INFO tunewright started",
        "2026-11-25 00:00:00,000 WARNING tunewright FineTuneJob campaign-7/bot: 422 Invalid: no; again in 0.5 s",
        "2026-11-25 00:00:00,000 ERROR tunewright FineTuneJob campaign-8/bot has a spec this version does not understand: x",
        "Traceback (most recent call last):",
    ]
    assert [namespace for namespace, _ in complaints(lines)] == ["campaign-7", "campaign-8", None]


def test_a_watch_that_was_asked_to_wait_is_no_error():
    def line(status):
        return (
            f"2026-11-25 00:00:00,000 ERROR kopf._cogs.clients.watching Request attempt #1 failed; will retry: GET /x?watch=true -> E('{{}}', status={status})"
        )

    assert complaints([line(429)]) == []
    assert len(complaints([line(500)])) == 1


def test_a_bound_that_is_not_enforced_alarms():
    spec = RANK.applied(FULL["FineTuneJob"])
    assert oracles.admission("FineTuneJob", spec, RANK, 422, {"message": "spec.lora.rank: Invalid value: 513"}) == []
    wrong = oracles.admission("FineTuneJob", spec, RANK, 201, {"spec": spec})
    assert any("does not allow it, and it was accepted" in each for each in wrong)
    assert any("the operator's type refuses it" in each for each in wrong)


def test_a_refusal_without_a_rule_alarms():
    spec = RETRIES.applied(FULL["FineTuneJob"])
    (message,) = oracles.admission("FineTuneJob", spec, RETRIES, 422, {"message": "spec.maxRetries: no"})
    assert "no rule speaks against it" in message


@pytest.mark.parametrize(("code", "message", "words"), [(500, "spec.lora.rank: boom", "refused with 500"), (422, "is invalid", "does not name the field")])
def test_a_refusal_that_does_not_help_alarms(code, message, words):
    (found,) = oracles.admission("FineTuneJob", RANK.applied(FULL["FineTuneJob"]), RANK, code, {"message": message})
    assert words in found


def test_an_edit_must_be_judged_as_a_creation_is():
    frozen = {"message": "spec.lora: Invalid value: `lora` cannot change once set; create a resource with another name"}
    assert oracles.edit(RANK, True, 422, frozen) == []
    assert oracles.edit(RANK, True, 200, {}) == []
    assert oracles.edit(RANK, False, 200, {})
    assert oracles.edit(RANK, True, 422, {"message": "spec.lora.rank: no"})


def test_what_names_a_field():
    assert names_the_field('FineTuneJob "x" is invalid: spec.lora.rank: Invalid value: 0', ("lora", "rank"))
    assert names_the_field("spec: Invalid value: `resources.gpus` must be 0 or 1", ("resources", "gpus"))
    assert names_the_field("`metadata.name` must have at most 52 characters", NAME)
    assert not names_the_field("spec.model: Invalid value", ("lora", "rank"))
    assert not names_the_field("spec.loras: Invalid value", ("lora",))


def test_explanations_cover_only_what_they_say_and_nothing_in_vain():
    alarm = Alarm("consistency", "ModelMerge", "by reference, made", Transition(("storage", "size"), "one", "1"), "shows in no object")
    explained = Explained("consistency", "storage", "no object", "because", base="by reference")
    assert unexplained([alarm], (explained,)) == []
    assert unexplained([alarm], (Explained("consistency", "stor", "", "another field"),)) == [alarm]
    assert unexplained([alarm], (Explained("rollback", "storage", "", "another oracle"),)) == [alarm]
    assert in_vain([], (explained,)) == [explained]


def test_snapshots_hide_names_and_times_and_nothing_else():
    named = {**resource("FineTuneJob", "other", **FULL["FineTuneJob"])}
    other = Story(named, world(configmaps={"rows": frozenset({"train.jsonl"})}))
    other.settle()
    assert difference(came_to("FineTuneJob"), snapshot(other.body, other.seen.children)) == []
    assert difference(came_to("FineTuneJob"), came_to("FineTuneJob", dataChecks={"seed": 8}))


@pytest.mark.parametrize("kind", list(FULL))
def test_every_field_is_changed_in_good_and_in_bad_ways(kind):
    found = transitions(kind, FULL[kind])
    changed = {each.path for each in found}
    for path, _ in leaves(spec_schema(kind)):
        if not {"ref", "output", "evaluationRef"} & set(path):
            assert path in changed, path
    by_verdict = {refused: {each.path[0] for each in found if schema_refuses(kind, each.applied(FULL[kind])) is refused} for refused in (True, False)}
    assert by_verdict[True] == by_verdict[False] | {"model", "adapter", "dataset"} & by_verdict[True] == set(spec_schema(kind)["properties"])
    assert all(repr(each.applied(FULL[kind])) != repr(FULL[kind]) for each in found), "a change that changes nothing tests nothing"


@pytest.mark.parametrize("kind", list(FULL))
def test_the_bases_are_allowed_and_every_change_of_the_full_one_is_dealt_once(kind):
    assert not any(schema_refuses(kind, spec) for spec in bases(kind).values())
    dealt = [each for lane in lanes(kind, 1, 0) if (lane.base, lane.situation) == ("full", Situation.MADE) for each in lane.changes]
    assert sorted(map(repr, dealt)) == sorted(map(repr, [*transitions(kind, FULL[kind]), *names()]))
    assert lanes(kind, 1, 0) != lanes(kind, 2, 0)
    assert [lane.changes for lane in lanes(kind, 1, 0)] == [lane.changes for lane in lanes(kind, 1, 0)]
