"""A FineTuneJob under everything that can happen to it in any order: crashes between writes, stale views, outcomes, deletions by hand, edits.

The world here is what an API server would hold: names are unique, a write to another uid is refused. Invariants are those of a level-based operator.
"""

import copy
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.worlds import MADE, NOW, SETTINGS, done, ends, failed_pod, failure, resource, world
from tunewright.reconcile.conditions import has_ended
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.registry import reconcile
from tunewright.reconcile.world import World

LIFE = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)


class FineTuneJobMachine(RuleBasedStateMachine):
    """`objects` is the API server's store by kind and name; `view` is what the operator has seen of it, which may be older."""

    @initialize(suspended=st.booleans())
    def begin(self, suspended: bool) -> None:
        self.body = resource("FineTuneJob", suspend=suspended)
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.view = self.seen()
        self.viewed_body = copy.deepcopy(self.body)
        self.serial = 0
        self.now = NOW
        self.created: dict[tuple[str, str], int] = {}
        self.gone: dict[tuple[str, str], int] = {}
        self.end: str | None = None

    def seen(self) -> World:
        return world(*copy.deepcopy(list(self.objects.values())))

    # What the operator does.

    @rule(crash_after=st.integers(0, 6))
    def reconcile_and_crash(self, crash_after: int) -> None:
        """A pass on a fresh view that dies after so many writes."""
        self.look()
        self.carry_out(self.plan(), crash_after)

    @rule()
    def reconcile_on_an_old_view(self) -> None:
        self.carry_out(self.plan(), 99)

    @rule()
    def look(self) -> None:
        self.view, self.viewed_body = self.seen(), copy.deepcopy(self.body)

    def plan(self) -> Plan:
        self.now += timedelta(seconds=5)
        return reconcile(self.viewed_body, self.view, SETTINGS, self.now)

    def carry_out(self, plan: Plan, writes: int) -> None:
        for manifest in plan.create:
            if writes == 0:
                return
            writes -= 1
            self.create(manifest)
        for update in plan.update:
            if writes == 0:
                return
            writes -= 1
            self.update(update)
        if plan.status is not None and plan.status != self.body["status"] and writes > 0:
            writes -= 1
            # The status is written to the very object, whatever its spec has become meanwhile.
            self.body["status"] = plan.status
        for delete in plan.delete:
            assert delete.kind != "FineTuneJob", "no time to live is set"
            held = self.objects.get((delete.kind, delete.name))
            if writes > 0 and held is not None and held["metadata"]["uid"] == delete.uid:
                writes -= 1
                self.remove((delete.kind, delete.name))

    def create(self, manifest: dict[str, Any]) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if key in self.objects:
            return  # AlreadyExists
        assert self.end is None or manifest["kind"] != "Job" or not has_ended(self.viewed_body["status"]), "an ended resource makes nothing"
        if key[1] == "bot-train":
            assert "dataDigest" in json.dumps(manifest), "training begins with prepared data"
        self.serial += 1
        self.created[key] = self.created.get(key, 0) + 1
        meta = {**manifest["metadata"], "uid": f"uid-{self.serial}", "generation": 1, "creationTimestamp": MADE}
        self.objects[key] = {**copy.deepcopy(manifest), "metadata": meta, "status": {}}

    def update(self, update: dict[str, Any]) -> None:
        held = self.objects.get((update["kind"], update["metadata"]["name"]))
        if held is not None and held["metadata"]["uid"] == update["metadata"]["uid"]:
            held["spec"] |= update["spec"]

    def remove(self, key: tuple[str, str]) -> None:
        removed = self.objects.pop(key)
        self.gone[key] = self.gone.get(key, 0) + 1
        for name in [each for each, body in self.objects.items() if each[0] == "Pod" and owner_of(body) == removed["metadata"]["uid"]]:
            del self.objects[name]

    # What the world does.

    def running_jobs(self) -> list[tuple[str, str]]:
        return [key for key, body in self.objects.items() if key[0] == "Job" and not body["status"] and not body["spec"].get("suspend")]

    @precondition(lambda self: self.running_jobs())
    @rule(data=st.data(), succeeds=st.booleans(), pod_is_lost=st.booleans())
    def a_job_ends(self, data: st.DataObject, succeeds: bool, pod_is_lost: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running_jobs())))
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

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def somebody_deletes_an_object(self, data: st.DataObject) -> None:
        self.remove(data.draw(st.sampled_from(sorted(self.objects))))

    @rule(change=st.sampled_from([{"suspend": True}, {"suspend": False}, {"maxRetries": 7}, {"activeDeadlineSeconds": 600}]))
    def the_user_edits(self, change: dict[str, Any]) -> None:
        meta = {**self.body["metadata"], "generation": self.body["metadata"]["generation"] + 1}
        self.body = {**self.body, "metadata": meta, "spec": {**self.body["spec"], **change}}

    # What must hold.

    @invariant()
    def an_end_is_never_undone(self) -> None:
        total = next((each for each in self.body["status"].get("conditions", []) if each["type"] == "Succeeded"), {})
        if self.end is not None:
            assert total["status"] == self.end
        elif total.get("status") in ("True", "False"):
            self.end = total["status"]

    @invariant()
    def nothing_is_made_again_unless_it_was_gone(self) -> None:
        for key, count in self.created.items():
            assert count <= 1 + self.gone.get(key, 0), key

    def teardown(self) -> None:
        """If the edits and faults stop and every Job succeeds, the resource ends, and then nothing more is written."""
        self.body["spec"]["suspend"] = False
        for _ in range(40):
            self.look()
            plan = self.plan()
            self.carry_out(plan, 99)
            for key in self.running_jobs():
                completed, ran = done(key[1], key[1].rsplit("-", 1)[1])
                ran["metadata"]["ownerReferences"] = [{"uid": self.objects[key]["metadata"]["uid"]}]
                self.objects[key]["status"] = completed["status"]
                self.objects["Pod", ran["metadata"]["name"]] = ran
        assert has_ended(self.body["status"]), self.body["status"]
        assert self.body["status"]["observedGeneration"] == self.body["metadata"]["generation"]
        self.look()
        assert replace(self.plan(), requeue_after=None) == Plan()


def owner_of(pod: dict[str, Any]) -> str | None:
    return next((each["uid"] for each in pod["metadata"].get("ownerReferences", [])), None)


TestFineTuneJob = FineTuneJobMachine.TestCase
TestFineTuneJob.settings = LIFE
