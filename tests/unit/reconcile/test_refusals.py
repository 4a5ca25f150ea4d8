"""What the API server refuses: a reason, its own sentence, told once."""

import pytest

from support.worlds import NOW, SETTINGS, condition, resource, world
from tunewright.reconcile.refusals import Refusal, refused
from tunewright.reconcile.registry import reconcile

SENTENCES = {
    "QuotaExceeded": 'persistentvolumeclaims "bot-ftj" is forbidden: exceeded quota: none, requested: persistentvolumeclaims=1, used: persistentvolumeclaims=0, limited: persistentvolumeclaims=0',
    "NamespaceTerminating": 'jobs.batch "bot-prepare" is forbidden: unable to create new content in namespace team because it is being terminated',
    "AdmissionDenied": "jobs.batch \"bot-prepare\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no test of this",
    "NotPermitted": 'jobs.batch is forbidden: User "o" cannot create resource "jobs" in API group "batch" in the namespace "team"',
    "Refused": "Job.batch is invalid: spec.template: Invalid value",
}


def plan_of(kind, **more):
    body = resource(kind, **more)
    return body, reconcile(body, world(), SETTINGS, NOW)


@pytest.mark.parametrize("reason", SENTENCES)
@pytest.mark.parametrize("kind", ["FineTuneJob", "Evaluation", "InferenceService"])
def test_a_refusal_is_the_condition_that_sums_up(kind, reason):
    body, plan = plan_of(kind)
    assert plan.create
    left = refused(plan, body, Refusal("Job", "bot-prepare", SENTENCES[reason]))
    assert (left.create, left.update, left.delete) == ((), (), ())
    found = condition(left.status, "Ready" if kind == "InferenceService" else "Succeeded")
    assert (found["status"], found["reason"]) == ("False" if kind == "InferenceService" else "Unknown", reason)
    assert SENTENCES[reason] in found["message"]
    assert left.status["state"] == "Waiting"
    assert "startTime" not in left.status, "it has not begun"
    assert [(event.type, event.reason) for event in left.events] == [("Warning", reason)]


def test_another_try_with_the_same_answer_writes_nothing():
    refusal = Refusal("Job", "bot-prepare", SENTENCES["QuotaExceeded"])
    body, plan = plan_of("FineTuneJob")
    told = {**body, "status": refused(plan, body, refusal).status}
    again = refused(reconcile(told, world(), SETTINGS, NOW), told, refusal)
    assert again.status == told["status"]
    assert again.events == ()


def test_a_plan_without_a_status_leaves_it():
    body, plan = plan_of("FineTuneJob")
    assert refused(type(plan)(create=plan.create), body, Refusal("Job", "x", "no")) == type(plan)()
