"""The sample of each kind, and the whole chain: what the fault tests run in many namespaces at once."""

from collections.abc import Mapping
from typing import Final

from support.api_server import Body
from support.conductor import Admin
from support.paths import PLURALS, everywhere, path

API: Final = "tunewright.dev/v1alpha1"
HUB: Final = {"uri": "hf://org/model@main"}
ROWS: Final = {"uri": "configmap://rows/train.jsonl"}
DATA: Final[Body] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}}
_THRESHOLDS: Final = [{"metric": "ExactMatch", "minimumGain": 0.4}]


def resource(kind: str, name: str = "bot", **spec: object) -> Body:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


CHAIN: Final = (
    resource("InferenceService", model={"ref": {"kind": "ModelMerge", "name": "bot"}}, evaluationRef={"name": "bot"}, resources={"gpus": 0}),
    resource(
        "Evaluation", model={"ref": {"kind": "ModelMerge", "name": "bot"}}, baseline=HUB, dataset={"ref": {"kind": "FineTuneJob", "name": "bot"}},
        thresholds=_THRESHOLDS, resources={"gpus": 0},
    ),
    resource("ModelMerge", adapter={"ref": {"kind": "FineTuneJob", "name": "bot"}}),
    resource("FineTuneJob", model=HUB, dataset=ROWS, resources={"gpus": 0}),
)  # fmt: skip

SAMPLES: Final[dict[str, tuple[Body, ...]]] = {
    "ftj": (resource("FineTuneJob", model=HUB, dataset=ROWS, resources={"gpus": 0}),),
    "merge": (resource("ModelMerge", adapter={"uri": "hf://org/adapter@main"}, base=HUB),),
    "eval": (resource("Evaluation", model=HUB, baseline=HUB, dataset=ROWS, thresholds=_THRESHOLDS, resources={"gpus": 0}),),
    "isvc": (resource("InferenceService", model=HUB, resources={"gpus": 0}),),
    "chain": CHAIN,
}


def create(admin: Admin, namespace: str, *bodies: Body) -> None:
    """Make a namespace with the data set and `bodies` in it."""
    admin.must("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    admin.must("POST", f"/api/v1/namespaces/{namespace}/configmaps", DATA)
    for body in bodies:
        admin.must("POST", path(body["kind"], namespace), body)


def unfinished(admin: Admin, samples: Mapping[str, str]) -> list[str]:
    """Return those of `samples`, by namespace, whose resources are not all at their ends."""
    ended = {
        (body["metadata"]["namespace"], kind)
        for kind in PLURALS
        for body in admin.served(everywhere(kind))
        if body["metadata"]["name"] == "bot" and _has_ended(body)
    }
    return [namespace for namespace, sample in samples.items() if not ended.issuperset((namespace, body["kind"]) for body in SAMPLES[sample])]


def _has_ended(body: Body) -> bool:
    """Return whether a resource is at the end that the samples come to."""
    wanted = ("Ready", "Answering") if body["kind"] == "InferenceService" else ("Succeeded", "Succeeded")
    return any((each["type"], each["reason"], each["status"]) == (*wanted, "True") for each in body.get("status", {}).get("conditions", []))
