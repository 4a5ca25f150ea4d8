"""Status truth: every row of the tables (support/truth.py), there and back, is printed as it must be, and never better than the world is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.columns import printed
from support.stand_in import ended_job, pod_of
from support.truth import CLAIMS, STAGES, TABLES, Row, Seen, expected, healthy, is_better_than, says_when_well
from support.worlds import Story, condition, digest, done, ended, ends, reading, resource, world
from tunewright.reconcile.plan import Plan

CASES = [(kind, row) for kind, rows in TABLES.items() for row in rows]
every_row = pytest.mark.parametrize(("kind", "row"), CASES, ids=[f"{kind}: {row.name}" for kind, row in CASES])
TOTAL = {"InferenceService": "Ready"}


class Played:
    """A resource of a kind, and a world that is set to what a row says."""

    def __init__(self, kind: str) -> None:
        self.kind, self.stage = kind, STAGES[kind]
        self.main = ("Deployment" if kind == "InferenceService" else "Job", f"bot-{self.stage}")
        status = {"dataDigest": digest("d")} if kind == "FineTuneJob" else {}
        spec = {"replicas": 2} if kind == "InferenceService" else {}
        inputs = (ended("FineTuneJob", "source"),) if kind == "ModelMerge" else ()
        self.told = Story(resource(kind, status=status, **spec), world(resources=inputs))
        self.told.settle()
        self.ages: dict[str, str] = {}

    def show(self, seen: Seen) -> Plan:
        """Let the world be as the row says, and reconcile until nothing is written any more."""
        main = self.told.seen.child(*self.main)
        if main is not None and seen.by_hand:
            self.change(main, spec={**main["spec"], **seen.by_hand}, metadata={**main["metadata"], "generation": main["metadata"].get("generation", 1) + 1})
        if seen.leaving:
            self.mark(seen.leaving)
        else:
            self.told.seen = replace(self.told.seen, children=tuple(each for each in self.told.seen.children if "deletionTimestamp" not in each["metadata"]))
        gone = (*seen.deleted, "Pod") if self.main[0] in seen.deleted else seen.deleted
        self.told.seen = replace(self.told.seen, children=tuple(each for each in self.told.seen.children if each["kind"] not in gone))
        self.told.settle()
        # A Job or Deployment that is gone takes its Pods with it; another has been made by now, whose Pods these are.
        self.set_status(seen)
        self.set_pods(seen)
        return self.told.settle()

    def set_status(self, seen: Seen) -> None:
        main = self.told.seen.child(*self.main)
        if main is not None:
            generation = main["metadata"].get("generation", 1)
            self.change(main, status={**self.status_of(seen), **({"observedGeneration": generation} if self.kind == "InferenceService" else {})})
        claim = self.told.seen.child("PersistentVolumeClaim", CLAIMS.get(self.kind, ""))
        if claim is not None:
            self.change(claim, status={"phase": seen.claim})

    def status_of(self, seen: Seen) -> dict[str, Any]:
        match seen.status.get("phase"):
            case "Complete":
                return ended_job()
            case "Failed":
                return ends("Failed", "BackoffLimitExceeded", failed=4)
            case _:
                return seen.status

    def set_pods(self, seen: Seen) -> None:
        main = self.told.seen.child(*self.main)
        pods = []
        for pod in seen.pods if main is not None else ():
            made = pod_of(main, pod.suffix)
            uid = made["metadata"]["name"]
            age = self.ages.setdefault(uid, f"2026-01-01T00:{len(self.ages):02}:00Z")
            meta = {**made["metadata"], "uid": uid, "creationTimestamp": age, **({"deletionTimestamp": "2026-01-01T01:00:00Z"} if pod.deleting else {})}
            pods.append({**made, "metadata": meta, "spec": {**made["spec"], **({"nodeName": pod.node} if pod.node else {})}, "status": pod.status})
        others = tuple(each for each in self.told.seen.children if each["kind"] != "Pod")
        # Who is not asked any more, for it is being deleted or has ended, leaves its last answer.
        silent = {each["metadata"]["name"] for each in pods if is_asked(each) and not seen.answers}
        answers = (
            {} if self.kind == "InferenceService" else {each["metadata"]["uid"]: None if each["metadata"]["name"] in silent else reading() for each in pods}
        )
        self.told.seen = replace(self.told.seen, children=(*others, *pods), progress=answers)

    def change(self, child: Any, **parts: Any) -> None:
        changed = {**child, **parts}
        self.told.seen = replace(self.told.seen, children=tuple(changed if each is child else each for each in self.told.seen.children))

    def mark(self, kinds: tuple[str, ...]) -> None:
        for child in self.told.seen.children:
            if child["kind"] in kinds:
                self.change(child, metadata={**child["metadata"], "deletionTimestamp": "2026-01-01T00:30:00Z"})

    def finish(self) -> None:
        """Let the Job complete, and its result be read."""
        completed, ran = done(self.main[1], self.stage)
        job = self.told.seen.child(*self.main)
        ran["metadata"]["ownerReferences"] = [{"uid": job["metadata"]["uid"]}]
        self.change(job, status=completed["status"])
        self.told.seen = replace(self.told.seen, children=(*(each for each in self.told.seen.children if each["kind"] != "Pod"), ran))
        self.told.settle()

    @property
    def columns(self) -> dict[str, str]:
        return printed(self.told.body)

    @property
    def total(self) -> dict[str, Any]:
        return condition(self.told.status, TOTAL.get(self.kind, "Succeeded"))


def play(kind: str, row: Row) -> tuple[Played, Seen]:
    """Return a resource that was well, unless it never was, and is now in the row's world."""
    played = Played(kind)
    if not row.first:
        played.show(healthy(kind, played.stage))
        check(played, says_when_well(kind))
    seen = row.seen(played.stage)
    if seen.status.get("phase") == "Succeeded":
        played.finish()
    played.show(seen)
    return played, seen


def check(played: Played, says: Any, words: tuple[str, ...] = ()) -> None:
    """Check the columns, the condition that sums up, and that every condition speaks of the spec as it is."""
    columns = played.columns
    assert {key: columns[key] for key in says} == dict(says), played.total
    assert columns["REASON"] == played.total["reason"]
    for word in words:
        assert word in played.total["message"], played.total["message"]
    status = played.told.status
    generation = played.told.body["metadata"]["generation"]
    assert {each["observedGeneration"] for each in status["conditions"]} == {generation} == {status["observedGeneration"]}


@every_row
def test_a_row_is_printed_as_it_must_be(kind, row):
    played, _ = play(kind, row)
    check(played, expected(kind, row.says), row.words)
    if row.ends:
        return
    promised = played.total["status"] == "True"
    assert promised == (int(played.columns.get("READY") or 0) > 0), "Ready is True while anything answers; what has not ended has not succeeded"


@every_row
def test_and_goes_back_when_the_world_does(kind, row, record_property):
    record_property("rows", 1)
    played, _ = play(kind, row)
    before, total = played.told.status, played.total
    played.told.events.clear()
    played.show(healthy(kind, played.stage, "y"))
    if row.ends:
        assert played.told.status == before, "an end is never undone"
        return
    check(played, says_when_well(kind))
    stale = [word for word in (*row.words, row.says["REASON"]) if word in played.total["message"] and word not in condition_when_well(kind)]
    assert not stale, "the message names what is no more"
    moved = played.total["lastTransitionTime"] != total["lastTransitionTime"]
    assert moved == (played.total["status"] != total["status"]), "the time is that of the last change of `status`"
    assert not [event for event in played.told.events if event.startswith("Warning")], "to be well again is no warning"


@every_row
def test_what_is_printed_is_never_better_than_the_world(kind, row):
    played, seen = play(kind, row)
    assert not is_better_than(played.columns, kind, seen_again(played, seen))


@every_row
def test_a_row_is_told_once(kind, row):
    """However often it is looked at: nothing is written, and there is no second event."""
    played, _ = play(kind, row)
    before = list(played.told.events)
    for _ in range(3):
        plan = played.told.step()
        assert (plan.create, plan.update, plan.delete, plan.events) == ((), (), (), ())
    assert played.told.events == before


def is_asked(pod: Any) -> bool:
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


def seen_again(played: Played, seen: Seen) -> Seen:
    """Return the row without the Pods of a Job or Deployment that is gone."""
    return replace(seen, pods=()) if played.told.seen.child(*played.main) is None else seen


def condition_when_well(kind: str) -> str:
    played = Played(kind)
    played.show(healthy(kind, played.stage))
    return played.total["message"]


@pytest.mark.parametrize("kind", TABLES)
def test_no_two_rows_have_one_name(kind):
    names = [row.name for row in TABLES[kind]]
    assert len(names) == len(set(names))


def test_every_word_that_is_printed_is_explained():
    text = (Path(__file__).parents[3] / "docs/status.md").read_text()
    said = {word.strip("{}") for kind, row in CASES for word in (expected(kind, row.says)["STATE"], expected(kind, row.says)["REASON"])} - {"Succeeded"}
    assert [word for word in sorted(said) if f"`{word}`" not in text] == []
