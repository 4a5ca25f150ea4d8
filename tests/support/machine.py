"""A resource under everything that can happen to it in any order: crashes between writes, old views, deletions by hand, edits.

The world here is what an API server would hold: names are unique; a write for another uid or another version is refused, as `cluster.reconciler` and
`cluster.transport` have it refused. Invariants are those of a level-based operator. What becomes of the children is for each kind to say.
"""

import copy
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.worlds import MADE, NOW, SETTINGS, resource, world
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.registry import reconcile
from tunewright.reconcile.world import World

LIFE = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)
Key = tuple[str, str]
"""Kind and name."""
View = tuple[World, dict[str, Any], int]
"""The children and the resource as they were once seen, and which version of the resource that was."""


class ResourceMachine(RuleBasedStateMachine):
    """`objects` is the API server's store; `views` are what the operator has seen of it, the newest last."""

    kind: ClassVar[str]
    spec: ClassVar[Mapping[str, Any]] = {}
    edits: ClassVar[tuple[Mapping[str, Any], ...]]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.body = resource(self.kind, **self.spec, **data.draw(st.sampled_from(self.edits)))
        self.version = 0
        self.objects: dict[Key, dict[str, Any]] = {}
        self.views: list[View] = []
        self.serial = 0
        self.now = NOW
        self.created: dict[Key, int] = {}
        self.gone: dict[Key, int] = {}
        self.look()

    # What the operator does.

    def look(self) -> View:
        self.views.append((world(*copy.deepcopy(list(self.objects.values()))), copy.deepcopy(self.body), self.version))
        return self.views[-1]

    @rule(crash_after=st.integers(0, 6))
    def reconcile_and_crash(self, crash_after: int) -> None:
        """A pass on a fresh view that dies after so many writes."""
        view = self.look()
        self.carry_out(self.plan(view), view, crash_after)

    @rule(data=st.data())
    def reconcile_on_an_old_view(self, data: st.DataObject) -> None:
        view = data.draw(st.sampled_from(self.views[-6:]))
        self.carry_out(self.plan(view), view, 99)

    def plan(self, view: View) -> Plan:
        self.now += timedelta(seconds=5)
        return reconcile(view[1], view[0], SETTINGS, self.now)

    def carry_out(self, plan: Plan, view: View, writes: int) -> None:
        self.check(plan, view)
        if view[2] != self.version:
            return  # everything is refused, or not even tried
        steps = [(self.create, each) for each in plan.create] + [(self.update, each) for each in plan.update]
        if plan.status is not None and plan.status != self.body["status"]:
            steps.append((self.tell, plan.status))
        steps += [(self.delete, each) for each in plan.delete]
        for step, what in steps[:writes]:
            step(what)

    def create(self, manifest: dict[str, Any]) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if key in self.objects:
            return  # AlreadyExists
        self.serial += 1
        self.created[key] = self.created.get(key, 0) + 1
        meta = {**manifest["metadata"], "uid": f"uid-{self.serial}", "generation": 1, "creationTimestamp": MADE}
        self.objects[key] = {**copy.deepcopy(manifest), "metadata": meta, "status": {}}

    def update(self, update: dict[str, Any]) -> None:
        held = self.objects.get((update["kind"], update["metadata"]["name"]))
        if held is not None and held["metadata"]["uid"] == update["metadata"]["uid"]:
            held["spec"] |= copy.deepcopy(update["spec"])
            held["metadata"] |= {"generation": held["metadata"]["generation"] + 1, **copy.deepcopy(update["metadata"])}

    def tell(self, status: dict[str, Any]) -> None:
        self.body = {**self.body, "status": status}
        self.version += 1

    def delete(self, delete: Any) -> None:
        assert delete.kind != self.kind, "no time to live is set"
        held = self.objects.get((delete.kind, delete.name))
        if held is not None and held["metadata"]["uid"] == delete.uid:
            self.remove((delete.kind, delete.name))

    def remove(self, key: Key) -> None:
        removed = self.objects.pop(key)
        self.gone[key] = self.gone.get(key, 0) + 1
        for name in [each for each, body in self.objects.items() if each[0] == "Pod" and owner_of(body) == removed["metadata"]["uid"]]:
            del self.objects[name]

    # What people do.

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def somebody_deletes_an_object(self, data: st.DataObject) -> None:
        self.remove(data.draw(st.sampled_from(sorted(self.objects))))

    @rule(data=st.data())
    def the_user_edits(self, data: st.DataObject) -> None:
        self.edit(data.draw(st.sampled_from(self.edits)))

    def edit(self, change: Mapping[str, Any]) -> None:
        meta = {**self.body["metadata"], "generation": self.body["metadata"]["generation"] + 1}
        self.body = {**self.body, "metadata": meta, "spec": {**self.body["spec"], **change}}
        self.version += 1

    # What must hold.

    def check(self, plan: Plan, view: View) -> None:
        """Check a plan against what it was made from."""

    @invariant()
    def nothing_is_made_again_unless_it_was_gone(self) -> None:
        for key, count in self.created.items():
            assert count <= 1 + self.gone.get(key, 0), key

    def condition(self, type_: str) -> dict[str, Any]:
        return next((each for each in self.body["status"].get("conditions", []) if each["type"] == type_), {})


def owner_of(pod: dict[str, Any]) -> str | None:
    return next((each["uid"] for each in pod["metadata"].get("ownerReferences", [])), None)
