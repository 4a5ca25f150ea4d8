"""Runs a campaign: all lanes go through the same rounds, and every step of a round ends when the operator has nothing left to write.

A round tries changes until one is let in as an edit: each is tried as a creation (a twin of the resource) and as an edit. Then both are
brought to where they can be compared, and the edit is taken back, or stays and is what the next one begins from.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from support.api_server import Operator
from support.async_api import AsyncApi
from support.campaign import oracles
from support.campaign.course import Course, Subject, named
from support.campaign.mirror import Mirror
from support.campaign.oracles import Alarm
from support.campaign.plan import Lane, Situation
from support.campaign.settle import Settling
from support.campaign.snapshot import GONE, is_blocked, snapshot
from support.campaign.stage_hand import advance
from support.campaign.transitions import NAME, Body, Transition
from support.campaign.world import ENDED, PLACES, ended_status, resource
from support.end_state import difference
from support.paths import path

_TWINS: Final = 8
"""So many creations a lane tries in one round, as long as no edit is let in."""
_STAYS: Final = 0.4
"""The share of edits that stay."""
_IN_TIME: Final = 30.0
_LAST_HOLD: Final = 17.0
"""At the end nothing may be written for so long: what is blocked is looked at again every 15 s."""
_BASE: Final = Transition((), "as it began", None)


@dataclass
class Figures:
    """What became of the changes of a kind."""

    operations: int = 0
    accepted: int = 0
    refused: int = 0
    rounds: int = 0


class Campaign:
    """One run over the lanes of all kinds."""

    def __init__(self, api: AsyncApi, mirror: Mirror, operator: Operator, settling: Settling) -> None:
        self.alarms: list[Alarm] = []
        self.figures: defaultdict[str, Figures] = defaultdict(Figures)
        self.judged: Counter[tuple[str, str]] = Counter()
        """How often each oracle was asked, by kind and oracle."""
        self._api = api
        self._mirror = mirror
        self._settling = settling
        self._operator = operator
        self._courses: list[Course] = []
        self._by_namespace: dict[str, Course] = {}

    async def run(self, lanes: Iterable[Lane]) -> None:
        """Run all lanes to their end."""
        self._courses = [Course(lane, Subject(lane.kind, lane.namespace, "bot", lane.spec, _BASE)) for lane in lanes]
        self._by_namespace = {course.lane.namespace: course for course in self._courses}
        await self._prepare()
        await self._begin()
        while any(course.lane.changes for course in self._courses):
            await self._round()
        await self._end()

    async def _prepare(self) -> None:
        """Make the places and the resources that specs refer to, as in a namespace in use."""
        namespaces = [course.lane.namespace for course in self._courses]
        await asyncio.gather(*(self._world(each) for each in namespaces))
        others = [(kind, namespace, name) for namespace in namespaces for kind, name, _ in ENDED]
        await self._settling.acknowledged(others)
        await asyncio.gather(*(self._api.must("PATCH", path(*key) + "/status", ended_status(key[0], key[2]), "application/merge-patch+json") for key in others))

    async def _world(self, namespace: str) -> None:
        await self._api.must("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for body in PLACES:
            await self._api.must("POST", path(body["kind"], namespace), body)
        for kind, name, spec in ENDED:
            await self._api.must("POST", path(kind, namespace), resource(kind, name, spec))

    async def _begin(self) -> None:
        """Make the resource of each course and one to compare with: of the same spec, so they must be the same."""
        for course in self._courses:
            course.reference = course.twin(_BASE, course.lane.spec)
            course.twins = [course.reference]
        everyone = [each for course in self._courses for each in (course.subject, *course.twins)]
        made = await asyncio.gather(*(self._create(each) for each in everyone))
        assert all(made), "what a campaign begins with must be accepted"
        await self._settle(everyone)
        for course in self._courses:
            self._judge(course, course.twins[0], "differential", difference(self._shot(course.subject), course.twins[0].shots[0]))
        await self._forward(lambda: [each for course in self._courses for each in ((course.subject, *course.twins) if _at_end(course) else course.twins)])
        await self._remove()

    async def _round(self) -> None:
        """Try changes, judge them, and take back what does not stay."""
        for course in self._courses:
            course.edited, course.before = None, self._shot(course.subject)
            if course.lane.changes:
                self.figures[course.lane.kind].rounds += 1
        await asyncio.gather(*(self._change(course) for course in self._courses))
        await self._settle([each for course in self._courses for each in (course.subject, *course.twins)])
        rolling = [course.subject for course in self._courses if course.lane.situation is Situation.ROLLED_OUT]
        await self._forward(lambda: [*rolling, *(twin for course in self._courses for twin in course.twins if self._must_go_on(course, twin))])
        for course in self._courses:
            for twin in course.twins:
                self._judge_twin(course, twin)
        await self._back()
        await self._remove()

    async def _change(self, course: Course) -> None:
        """Try changes until one is let in as an edit."""
        while course.lane.changes and course.edited is None and len(course.twins) < _TWINS:
            transition = course.lane.changes.pop()
            spec = course.subject.spec
            twin = course.twin(transition, spec)
            for body in transition.beside:
                for name in (twin.name, course.subject.name):
                    await self._api.send("POST", path(body["kind"], course.lane.namespace), named(body, name))
            course.twins.append(twin)
            created = await self._create(twin)
            if not created:
                course.twins.remove(twin)
            if transition.path != NAME and await self._edit(course.subject, twin.spec, transition, created):
                course.edited, course.previous = twin, spec

    async def _back(self) -> None:
        """Take edits back, but for those that stay and are what the next edit begins from, and compare with what was before."""
        back = []
        for course in self._courses:
            if course.edited is None or self._shot(course.subject) == GONE:
                continue
            stays = course.lane.rng.random() < _STAYS and not course.edited.refused and not course.edited.transition.beside
            if stays and (course.lane.kind == "InferenceService" and not is_blocked(course.edited.shots[0])):
                course.reference = course.edited
            elif not (stays and course.lane.situation is Situation.WAITING):
                back.append((course, course.before, self._shot(course.subject)))
        done = await asyncio.gather(*(self._edit(course.subject, course.previous, _of(course), True) for course, _, _ in back))
        gone = [course for course in self._courses if course.edited is not None and self._shot(course.subject) == GONE]
        await asyncio.gather(*(self._again(course) for course in gone))
        await self._settle([course.subject for course, _, _ in back] + [course.subject for course in gone])
        await self._forward(lambda: [course.subject for course in (*(course for course, _, _ in back), *gone) if _at_end(course)])
        for (course, first, between), accepted in zip(back, done, strict=True):
            if accepted and course.edited is not None:
                found = oracles.differential(course.subject.spec, first, between, self._shot(course.subject))
                self._judge(course, course.edited, "rollback", found)

    async def _again(self, course: Course) -> None:
        """Make the resource again, under another name: there is nobody to collect what the one before left."""
        course.subject = course.twin(_BASE, course.lane.spec)
        await self._create(course.subject)

    async def _end(self) -> None:
        """Give those that wait what they wait for, compare them with a new one, and see that nothing is written any more."""
        waiting = [course for course in self._courses if course.lane.situation is Situation.WAITING]
        claim = next(each for each in PLACES if each["kind"] == "PersistentVolumeClaim")
        later = {**claim, "metadata": {"name": "later"}}
        await asyncio.gather(*(self._api.must("POST", path("PersistentVolumeClaim", course.lane.namespace), later) for course in waiting))
        deadline = time.monotonic() + _IN_TIME
        while any("pvc://later/x" in str(course.subject.spec) and is_blocked(self._shot(course.subject)) for course in waiting):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.3)
        for course in waiting:
            course.twins = [course.twin(Transition((), "what it waited for has come", None), course.subject.spec)]
        await asyncio.gather(*(self._create(course.twins[0]) for course in waiting))
        await self._settle([course.twins[0] for course in waiting])
        for course in waiting:
            found = self._shot(course.subject)
            self._judge(course, course.twins[0], "differential", oracles.differential(course.subject.spec, course.twins[0].shots[0], found, found))
        await self._settle([], hold=_LAST_HOLD)
        await self._remove()

    # What a round is made of

    async def _create(self, subject: Subject) -> bool:
        """Create a resource, and judge the answer; return whether it was let in."""
        body = named(resource(subject.kind, subject.name, subject.spec), subject.name)
        code, answer = await self._api.send("POST", path(subject.kind, subject.namespace) + "?fieldValidation=Strict", body)
        self._count(subject.kind, code < 300)
        wrong = oracles.admission(subject.kind, body["spec"], subject.transition, code, answer)
        self._judge(self._course(subject), subject, "admission", wrong)
        if code < 300:
            subject.stored, subject.generation = answer["spec"], answer["metadata"]["generation"]
        return code < 300

    async def _edit(self, subject: Subject, spec: Body, transition: Transition, created: bool) -> bool:
        """Edit the spec of a resource, and judge the answer; return whether it was let in."""
        patch = [named({"op": "replace", "path": "/spec", "value": spec}, subject.name)]
        target = path(*subject.key) + "?fieldValidation=Strict"
        code, answer = await self._api.send("PATCH", target, patch, "application/json-patch+json")
        self._count(subject.kind, code < 300)
        self._judge(self._course(subject), Subject(*subject.key, spec, transition), "admission", oracles.edit(transition, created, code, answer))
        if code < 300:
            subject.spec, subject.stored, subject.generation, subject.refused = spec, answer["spec"], answer["metadata"]["generation"], False
        return code < 300

    async def _settle(self, subjects: list[Subject], hold: float = 0.6) -> None:
        """Wait until the operator has nothing left to write; then it must write nothing. Takes the snapshots."""
        late = await self._settling.converged(subjects)
        for each in late:
            body = self._mirror.resources.get(each.key, {"metadata": {"generation": each.generation}})
            self._judge(self._course(each), each, "generation", oracles.generation(body) or ["no status within the time"])
        for each in subjects:
            if each not in late:
                body = self._mirror.resources.get(each.key)
                self._judge(self._course(each), each, "generation", oracles.generation(body) if body is not None and not each.refused else [])
            each.shots.append(self._shot(each))
        await self._settling.hold(hold)
        for oracle, namespace, text in self._settling.findings():
            course = self._by_namespace.get(namespace, self._courses[0])
            about = course.about(text)
            about.refused |= oracle == "children"
            self._judge(course, course.edited if about is course.subject and course.edited else about, oracle, [text])
        for course in self._courses:
            for oracle in ("errors", "quiescence", "children"):
                self.judged[course.lane.kind, oracle] += sum(each.namespace == course.lane.namespace for each in (course.subject, *course.twins))

    async def _forward(self, wanted: Callable[[], list[Subject]]) -> None:
        """End the Jobs and roll out the Deployments of those that are wanted, as long as they have any; two Jobs are the most."""
        for _ in range(2):
            subjects = [each for each in wanted() if not each.refused]
            moved = await asyncio.gather(*(advance(self._api, self._mirror, each.key) for each in subjects))
            if not any(moved):
                return
            await self._settle([each for each, has in zip(subjects, moved, strict=True) if has])

    @staticmethod
    def _must_go_on(course: Course, twin: Subject) -> bool:
        """Return whether a twin must go on: to where the resource is, or to tell it from the reference, which has gone on."""
        if _at_end(course):
            return True
        assert course.reference is not None
        if course.lane.kind == "InferenceService" or course.lane.situation is not Situation.MADE:
            return False
        return twin.shots == course.reference.shots[: len(twin.shots)] and twin.stored != course.reference.stored

    def _judge_twin(self, course: Course, twin: Subject) -> None:
        """Judge what came of a change: as a creation, and as an edit where it was let in."""
        assert course.reference is not None
        reference = course.reference
        if twin.stored != reference.stored and twin.transition.path != NAME and not twin.refused:
            self._judge(course, twin, "consistency", oracles.consistency(twin.kind, twin.transition, reference.shots, twin.shots))
        if course.edited is twin and not twin.refused:
            fresh = twin.shots[-1 if _at_end(course) else 0]
            self._judge(course, twin, "differential", oracles.differential(twin.spec, fresh, course.before, self._shot(course.subject)))

    async def _remove(self) -> None:
        """Delete the twins; nobody collects their objects, which does not matter."""
        twins = [twin for course in self._courses for twin in course.twins]
        await asyncio.gather(*(self._api.send("DELETE", path(*twin.key)) for twin in twins))
        beside = {
            path(body["kind"], twin.namespace, named(body, name)["metadata"]["name"])
            for course in self._courses
            for twin in course.twins
            for body in twin.transition.beside
            for name in (twin.name, course.subject.name)
        }
        await asyncio.gather(*(self._api.send("DELETE", each) for each in beside))
        for course in self._courses:
            course.twins = []

    def _shot(self, subject: Subject) -> Body:
        body = self._mirror.resources.get(subject.key)
        return GONE if body is None else snapshot(body, self._mirror.children(body["metadata"]["uid"]))

    def _course(self, subject: Subject) -> Course:
        return self._by_namespace[subject.namespace]

    def _count(self, kind: str, accepted: bool) -> None:
        figures = self.figures[kind]
        figures.operations += 1
        figures.accepted += accepted
        figures.refused += not accepted

    def _judge(self, course: Course, subject: Subject, oracle: str, wrong: list[str]) -> None:
        """Keep what an oracle says, once."""
        self.judged[course.lane.kind, oracle] += 1
        for message in wrong:
            alarm = Alarm(oracle, course.lane.kind, f"{course.lane.base}, {course.lane.situation.value}", subject.transition, message)
            if alarm not in self.alarms:
                self.alarms.append(alarm)


def _at_end(course: Course) -> bool:
    """Return whether a resource is edited after the end of its Jobs, or after its roll-out."""
    return course.lane.situation in (Situation.ENDED, Situation.ROLLED_OUT)


def _of(course: Course) -> Transition:
    assert course.edited is not None
    return course.edited.transition
