"""Every kind under crashes, old views, outcomes of its children, deletions by hand and edits, in any order: see `machine`."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from support.machine import LIFE, Key, ResourceMachine, View
from support.worlds import HUB, done, ends, failed_pod, failure
from tunewright.reconcile.conditions import condition, has_ended
from tunewright.reconcile.plan import Plan


class BoundedMachine(ResourceMachine):
    """A kind that ends: its Jobs succeed or fail, and their Pods may be lost with what they said."""

    end: str | None = None

    def create(self, manifest: dict[str, Any]) -> None:
        assert manifest["kind"] != "Job" or not has_ended(self.body["status"]), "an ended resource makes nothing"
        if manifest["metadata"]["name"] == "bot-train":
            assert "dataDigest" in json.dumps(manifest), "training begins with prepared data"
        super().create(manifest)

    def running_jobs(self) -> list[Key]:
        return [key for key, body in self.objects.items() if key[0] == "Job" and not body["status"] and not body["spec"].get("suspend")]

    @precondition(lambda self: self.running_jobs())
    @rule(data=st.data(), succeeds=st.booleans(), pod_is_lost=st.booleans())
    def a_job_ends(self, data: st.DataObject, succeeds: bool, pod_is_lost: bool) -> None:
        self.end_job(data.draw(st.sampled_from(sorted(self.running_jobs()))), succeeds=succeeds, pod_is_lost=pod_is_lost)

    def end_job(self, key: Key, *, succeeds: bool = True, pod_is_lost: bool = False) -> None:
        job, verb = self.objects[key], key[1].rsplit("-", 1)[1]
        if succeeds:
            completed, ran = done(key[1], verb)
            job["status"] = completed["status"]
        else:
            job["status"] = ends("Failed", reason="PodFailurePolicy", failed=1)
            ran = failed_pod(key[1], 65, failure(verb, "BadData", "line 7 is not JSON"), uid=f"{key[1]}-pod")
        ran["metadata"]["ownerReferences"] = [{"uid": job["metadata"]["uid"]}]
        if not pod_is_lost:
            self.objects["Pod", ran["metadata"]["name"]] = ran

    @invariant()
    def an_end_is_never_undone(self) -> None:
        status = self.condition("Succeeded").get("status")
        if self.end is not None:
            assert status == self.end
        elif status in ("True", "False"):
            self.end = status

    def teardown(self) -> None:
        """If the edits and faults stop and every Job succeeds, the resource ends, and then nothing more is written."""
        if "suspend" in self.body["spec"]:
            self.edit({"suspend": False})
        for _ in range(40):
            self.reconcile_and_crash(99)
            for key in self.running_jobs():
                self.end_job(key)
        assert has_ended(self.body["status"]), self.body["status"]
        assert self.body["status"]["observedGeneration"] == self.body["metadata"]["generation"]
        assert replace(self.plan(self.look()), requeue_after=None) == Plan()


class FineTuneJobMachine(BoundedMachine):
    kind = "FineTuneJob"
    edits = ({"suspend": True}, {"suspend": False}, {"maxRetries": 7}, {"activeDeadlineSeconds": 600})


class ModelMergeMachine(BoundedMachine):
    kind = "ModelMerge"
    spec = {"adapter": {"uri": "hf://org/adapter@main"}, "base": HUB}
    edits = ({}, {"maxRetries": 7}, {"maxRetries": 0})


class EvaluationMachine(BoundedMachine):
    kind = "Evaluation"
    edits = ({}, {"maxRetries": 7}, {"thresholds": [{"metric": "ExactMatch", "minimum": 0.1}]}, {"thresholds": [{"metric": "ExactMatch", "minimum": 1}]})


class InferenceServiceMachine(ResourceMachine):
    """A kind that never ends: the replicas of its Deployment come and go."""

    kind = "InferenceService"
    edits = ({"replicas": 1}, {"replicas": 2}, {"replicas": 0}, {"model": {"uri": "hf://org/other@main"}}, {"model": HUB})

    @precondition(lambda self: ("Deployment", "bot-server") in self.objects)
    @rule(answer=st.integers(0, 2), updated=st.booleans(), seen=st.booleans())
    def replicas_come_and_go(self, answer: int, updated: bool, seen: bool) -> None:
        made = self.objects["Deployment", "bot-server"]
        wanted, generation = made["spec"]["replicas"], made["metadata"]["generation"]
        made["status"] = {
            "observedGeneration": generation if seen else generation - 1, "replicas": wanted,
            "updatedReplicas": wanted if updated else 0, "readyReplicas": min(answer, wanted),
        }  # fmt: skip

    def check(self, plan: Plan, view: View) -> None:
        if plan.status is None:
            return
        live = view[0].child("Deployment", "bot-server")
        answer = (live or {}).get("status", {}).get("readyReplicas", 0)
        ready = condition(plan.status, "Ready")
        assert ready is not None
        assert (ready["status"] == "True") == (answer > 0), "readiness is what answers now, and goes back with it"
        assert plan.status["readyReplicas"] == answer

    def teardown(self) -> None:
        """If the edits and faults stop and all replicas come up, all answer with what the spec says, and then nothing more is written."""
        for _ in range(10):
            self.reconcile_and_crash(99)
            if ("Deployment", "bot-server") in self.objects:
                self.replicas_come_and_go(2, updated=True, seen=True)
        replicas = self.body["spec"].get("replicas", 1)
        assert self.condition("Ready")["reason"] == ("Answering" if replicas else "ScaledToZero"), self.body["status"]
        assert self.body["status"]["readyReplicas"] == replicas
        assert self.body["status"]["observedGeneration"] == self.body["metadata"]["generation"]
        assert self.body["spec"]["model"]["uri"] in json.dumps(self.objects["Deployment", "bot-server"])
        last = self.plan(self.look())
        assert replace(last, requeue_after=None) == Plan(status=self.body["status"])


TestFineTuneJob, TestModelMerge, TestEvaluation, TestInferenceService = (
    each.TestCase for each in (FineTuneJobMachine, ModelMergeMachine, EvaluationMachine, InferenceServiceMachine)
)
TestFineTuneJob.settings = TestModelMerge.settings = TestEvaluation.settings = TestInferenceService.settings = LIFE
