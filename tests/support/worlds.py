"""Resources, Jobs and Pods as the API server would give them, and a small world that does what a Plan says."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tunewright.api import API_VERSION
from tunewright.api.common import Kind
from tunewright.build.settings import Settings
from tunewright.cluster.trim import trimmed
from tunewright.contract.progress import Progress
from tunewright.contract.run_result import ArtifactRef, DataCounts, EvaluationScores, RunResult, Score, TrainMetrics
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.registry import reconcile
from tunewright.reconcile.world import World

Body = dict[str, Any]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MADE = "2026-01-02T03:04:00Z"
"""When the objects of these worlds were made."""
SETTINGS = Settings(trainer_image="trainer:1", server_image="server:1", server_device="CPU")
HUB = {"uri": "hf://org/model@main"}
ROWS = {"uri": "configmap://rows/train.jsonl"}


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def resource(kind: str, name: str = "bot", *, status: Body | None = None, generation: int = 1, **spec: Any) -> Body:
    """Return a resource of ours; its spec has what its kind needs unless given."""
    least: Body = {
        "FineTuneJob": {"model": HUB, "dataset": ROWS},
        "ModelMerge": {"adapter": {"ref": {"kind": "FineTuneJob", "name": "source"}}},
        "Evaluation": {"model": HUB, "dataset": ROWS},
        "InferenceService": {"model": HUB},
    }[kind]
    meta = {"name": name, "namespace": "team", "uid": f"{kind}-{name}", "generation": generation, "resourceVersion": "1"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": {**least, **spec}, "status": status or {}}


def ended(kind: str, name: str = "bot", *, succeeded: bool = True, reason: str = "Succeeded", message: str = "done", **status: Any) -> Body:
    """Return a resource that has succeeded with an artifact, or failed."""
    condition = {
        "type": "Succeeded", "status": "True" if succeeded else "False", "reason": reason, "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    more: Body = {"state": "Done" if succeeded else "Failed", "completionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    if succeeded:
        suffix = {"FineTuneJob": "ftj/adapter", "ModelMerge": "merge/model", "Evaluation": "evaluate/answers"}[kind]
        letter = {"FineTuneJob": "a", "ModelMerge": "b", "Evaluation": "c"}[kind]
        more["artifact"] = {"uri": f"pvc://{name}-{suffix}", "digest": digest(letter), "sizeBytes": 10}
    if kind == "FineTuneJob" and succeeded:
        more["dataDigest"] = digest("d")
    return resource(kind, name, status={**more, "conditions": [condition], **status})


def condition(status: Body, type_: str) -> Body:
    """Return one condition; KeyError when it is not there."""
    return {each["type"]: each for each in status["conditions"]}[type_]


def job(name: str, **status: Any) -> Body:
    """Return a Job seen without its spec's details; `ends` makes one that has ended."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "team", "uid": f"job-{name}", "creationTimestamp": MADE},
        "spec": {"backoffLimit": 3},
        "status": status,
    }


def ends(type_: str, reason: str = "", **status: Any) -> Body:
    return {"conditions": [{"type": type_, "status": "True", "reason": reason, "message": "m"}], **status}


def pod(
    job_name: str, phase: str = "Running", *, uid: str = "pod-1", created: str = "2026-01-01T00:00:00Z", container: Body | None = None, **status: Any
) -> Body:
    """Return a Pod of a Job; `container` is the `state` of its one container."""
    meta = {"name": uid, "uid": uid, "creationTimestamp": created, "ownerReferences": [{"uid": f"job-{job_name}"}]}
    seen = {"phase": phase, **status}
    if container is not None:
        seen["containerStatuses"] = [{"name": "c", "image": "trainer:1", "restartCount": 0, "state": container}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": seen}


def terminated(code: int, result: RunResult | None = None, reason: str = "Error", finished: str = "2026-01-01T01:00:00Z") -> Body:
    return {"terminated": {"exitCode": code, "reason": reason, "message": result.to_json() if result else "", "finishedAt": finished}}


def failed_pod(job_name: str, code: int, result: RunResult | None = None, **more: Any) -> Body:
    reason = more.pop("reason_of_container", "Error")
    finished = more.pop("finished", "2026-01-01T01:00:00Z")
    return pod(job_name, "Failed", container=terminated(code, result, reason, finished), **more)


def result(verb: str, **changes: Any) -> RunResult:
    """Return the result of a verb that succeeded."""
    more: Body = {"artifact": ArtifactRef(path="/x", digest=digest({"prepare": "d", "train": "a", "merge": "b", "evaluate": "c"}[verb]), size_bytes=10)}
    if verb == "prepare":
        more["data"] = DataCounts(rows=100, invalid=1, duplicates=2, too_long=3, train=90, evaluation=4, train_tokens=1000)
    if verb == "train":
        more["train"] = TrainMetrics(step=50, total_steps=50, loss=0.81234, eval_loss=0.94321, best_step=40, tokens_per_second=4210.123, train_seconds=60.5)
    if verb == "evaluate":
        more["scores"] = EvaluationScores(model=(score(0.9),), baseline=(score(0.4),))
    return RunResult(verb=verb, outcome="Succeeded", **{**more, **changes})


def score(exact: float, compliance: float = 1.0, similarity: float = 1.0, category: str | None = None, count: int = 100) -> Score:
    return Score(category=category, count=count, exact_match=exact, format_compliance=compliance, similarity=similarity)


def failure(verb: str, reason: str, message: str) -> RunResult:
    return RunResult(verb=verb, outcome="Failed", reason=reason, message=message)


def done(job_name: str, verb: str, **changes: Any) -> tuple[Body, ...]:
    """Return a Job that has completed, with the Pod whose result can be read."""
    return job(job_name, **ends("Complete")), pod(job_name, "Succeeded", uid=f"{job_name}-pod", container=terminated(0, result(verb, **changes), "Completed"))


def reading(**changes: Any) -> Progress:
    values: Body = {
        "verb": "train", "phase": "Training", "percent": 62, "step": 31, "total_steps": 50, "epoch": 1.2345, "loss": 0.812345, "eval_loss": 0.94,
        "tokens_per_second": 4210.04, "eta_seconds": 185, "updated_time": "2026-01-01T00:30:00Z",
    }  # fmt: skip
    return Progress(**{**values, **changes})


def world(*children: Body, resources: tuple[Body, ...] = (), **more: Any) -> World:
    """Return a world in which the default data set exists; of the children there is no more than the operator keeps."""
    keyed = {(Kind(each["kind"]), each["metadata"]["name"]): each for each in resources}
    return World(children=tuple(map(trimmed, children)), resources=keyed, **{"configmaps": {"rows": frozenset({"train.jsonl"})}, **more})


def passed(body: Body, plan: Plan) -> Body:
    """Return the resource with the status the plan wrote."""
    return body if plan.status is None else {**body, "status": plan.status}


def applied(seen: World, plan: Plan) -> World:
    """Return the world after the plan's objects were written."""
    gone = {each.uid for each in plan.delete}
    made = []
    for manifest in plan.create:
        meta = manifest["metadata"]
        uid = f"{manifest['kind'].lower()}-{meta['name']}"
        made.append({**manifest, "metadata": {**meta, "uid": uid, "generation": 1, "creationTimestamp": MADE}, "status": {}})
    children = []
    for child in seen.children:
        for update in plan.update:
            if update["metadata"].get("uid") == child["metadata"]["uid"]:
                meta = {**child["metadata"], **update["metadata"], "generation": child["metadata"].get("generation", 1) + 1}
                child = {**child, "metadata": meta, "spec": {**child["spec"], **update["spec"]}}
        if child["metadata"]["uid"] not in gone:
            children.append(child)
    return replace(seen, children=(*children, *made))


@dataclass
class Story:
    """A resource and its world, reconciled step by step."""

    body: Body
    seen: World
    now: datetime = NOW
    settings: Settings = SETTINGS
    events: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    statuses: list[Body] = field(default_factory=list)
    """Each status that differed from the one before: those that are written."""

    def step(self) -> Plan:
        seen = replace(self.seen, children=tuple(map(trimmed, self.seen.children)))
        plan = reconcile(self.body, seen, self.settings, self.now)
        before, self.body = self.body, passed(self.body, plan)
        if self.body != before:
            self.statuses.append(self.body["status"])
        self.seen = applied(self.seen, plan)
        self.events += [f"{event.type} {event.reason}" for event in plan.events]
        self.made += [f"{each['kind']}/{each['metadata']['name']}" for each in plan.create]
        self.now += timedelta(seconds=7)
        return plan

    def settle(self) -> Plan:
        """Reconcile until a pass writes nothing, and return that pass; fails when that takes more than six."""
        for _ in range(6):
            before = self.body
            plan = self.step()
            if not (plan.create or plan.update or plan.delete or plan.events) and self.body == before:
                return plan
        raise AssertionError(f"does not settle: {plan}")

    @property
    def status(self) -> Body:
        return self.body["status"]
