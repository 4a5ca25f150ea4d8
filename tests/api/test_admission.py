"""What the API server refuses: each with kubectl's own message, which names the field and says what is allowed."""

import copy
import re

import pytest
import yaml

from support.api_server import ROOT

API = "tunewright.dev/v1alpha1"
HUB = {"uri": "hf://org/model@main"}
ROWS = {"uri": "configmap://rows/train.jsonl"}
LEAST = {
    "FineTuneJob": {"model": HUB, "dataset": ROWS},
    "ModelMerge": {"adapter": {"ref": {"kind": "FineTuneJob", "name": "bot"}}},
    "Evaluation": {"model": HUB, "dataset": ROWS},
    "InferenceService": {"model": HUB},
}


def resource(kind, name="bot", **spec):
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": {**copy.deepcopy(LEAST[kind]), **spec}}


REFUSED = {
    "unknown field": (resource("FineTuneJob", lerningRate=1), ['unknown field "spec.lerningRate"']),
    "unknown field deep inside": (resource("FineTuneJob", training={"learningrate": 1}), ['unknown field "spec.training.learningrate"']),
    "uri and ref": (
        resource("FineTuneJob", model={**HUB, "ref": {"kind": "ModelMerge", "name": "m"}}), ["spec.model", "exactly one of `uri`, `ref` must be set"],
    ),
    "neither uri nor ref": (resource("FineTuneJob", model={}), ["spec.model", "exactly one of `uri`, `ref` must be set"]),
    "no data set": ({**resource("FineTuneJob"), "spec": {"model": HUB}}, ["spec.dataset", "Required value"]),
    "rank 0": (resource("FineTuneJob", lora={"rank": 0}), ["spec.lora.rank", "greater than or equal to 1"]),
    "rank as text": (resource("FineTuneJob", lora={"rank": "16"}), ["spec.lora.rank", "must be of type integer"]),
    "learning rate -1": (resource("FineTuneJob", training={"learningRate": -1}), ["spec.training.learningRate", "greater than 0"]),
    "learning rate 0": (resource("FineTuneJob", training={"learningRate": 0}), ["spec.training.learningRate", "greater than 0"]),
    "scheduler in lower case": (resource("FineTuneJob", training={"scheduler": "cosine"}), ["spec.training.scheduler", '"Cosine"']),
    "name of 253 characters": (resource("FineTuneJob", "n" * 253), ["`metadata.name` must have at most 52 characters"]),
    "name of 53 characters": (resource("InferenceService", "n" * 53), ["`metadata.name` must have at most 52 characters"]),
    "name that begins with a digit": (resource("FineTuneJob", "7b"), ["`metadata.name`", "begin with a letter"]),
    "name with a dot": (resource("FineTuneJob", "a.b"), ["`metadata.name`"]),
    "dots in a uri": (resource("FineTuneJob", dataset={"uri": "pvc://data/../secret"}), ["spec.dataset", "`uri` must not contain `..`"]),
    "dots at the end of an output": (resource("FineTuneJob", output={"uri": "pvc://data/x/.."}), ["spec.output", "`uri` must not contain `..`"]),
    "not a location": (resource("FineTuneJob", model={"uri": "https://example.com/model"}), ["spec.model.uri"]),
    "an output that cannot be written": (resource("FineTuneJob", output={"uri": "s3://bucket/x"}), ["spec.output.uri"]),
    "ref to a kind that makes no base model": (resource("FineTuneJob", model={"ref": {"kind": "FineTuneJob", "name": "x"}}), ["spec.model.ref.kind", '"ModelMerge"']),
    "merge of an adapter by uri without base": (resource("ModelMerge", adapter=HUB), ["spec", "`base` must be set when `adapter` is a `uri`"]),
    "gain without baseline": (
        resource("Evaluation", thresholds=[{"metric": "ExactMatch", "minimumGain": 0.4}]), ["spec", "`minimumGain` needs a `baseline` to compare with"],
    ),
    "threshold without a number": (resource("Evaluation", thresholds=[{"metric": "ExactMatch"}]), ["spec.thresholds[0]", "`minimum` or `minimumGain` must be set"]),
    "threshold above 1": (resource("Evaluation", thresholds=[{"metric": "ExactMatch", "minimum": 80}]), ["spec.thresholds[0].minimum", "less than or equal to 1"]),
    "two thresholds of one metric": (
        resource("Evaluation", thresholds=[{"metric": "ExactMatch", "minimum": 0.1}, {"metric": "ExactMatch", "minimum": 0.2}]), ["spec.thresholds[1]", "Duplicate value"],
    ),
    "two adapters of one name": (resource("InferenceService", adapters=[{"name": "a", **HUB}, {"name": "a", **HUB}]), ["spec.adapters[1]", "Duplicate value"]),
    "adapter named as the service": (resource("InferenceService", adapters=[{"name": "bot", **HUB}]), ["must have another name than the resource"]),
    "several GPUs to train on": (resource("FineTuneJob", resources={"gpus": 2}), ["spec", "`resources.gpus` must be 0 or 1"]),
    "several GPUs to score on": (resource("Evaluation", resources={"gpus": 8}), ["spec", "`resources.gpus` must be 0 or 1"]),
    "negative replicas": (resource("InferenceService", replicas=-1), ["spec.replicas", "greater than or equal to 0"]),
    "a node label with a space": (resource("FineTuneJob", resources={"nodeSelector": [{"key": "a b", "value": "x"}]}), ["spec.resources.nodeSelector[0].key"]),
    "a node label that ends with a slash": (resource("Evaluation", resources={"nodeSelector": [{"key": "a", "value": "x/"}]}), ["spec.resources.nodeSelector[0].value"]),
    "a taint with an emoji": (resource("InferenceService", resources={"tolerations": [{"key": "\U0001f600"}]}), ["spec.resources.tolerations[0].key"]),
    "a Secret that cannot be": (resource("InferenceService", model={**HUB, "secretName": "a..b"}), ["spec.model.secretName"]),
    "a storage class that cannot be": (resource("ModelMerge", storage={"storageClassName": "a-.b"}), ["spec.storage.storageClassName"]),
    "a Secret for what needs none": (
        resource("InferenceService", model={"ref": {"kind": "ModelMerge", "name": "m"}, "secretName": "s"}), ["spec.model", "`secretName` goes with `uri` only"],
    ),
    "a volume of nothing": (resource("ModelMerge", storage={"size": "0Gi"}), ["spec.storage.size", "`size` must be more than 0"]),
    "a way up in a hub file": (resource("FineTuneJob", dataset={"uri": "hf://datasets/org/rows#../x"}), ["spec.dataset", "`uri` must not contain `..`"]),
    "memory that is no quantity": (resource("FineTuneJob", resources={"memory": "lots"}), ["spec.resources.memory"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_and_the_field_is_named(cluster, case):
    body, words = REFUSED[case]
    refused = cluster.server.kubectl("apply", "-n", cluster.namespace, "-f", "-", stdin=yaml.safe_dump(body))
    assert refused.returncode != 0, refused.stdout
    for word in words:
        assert word in refused.stderr
    assert cluster.list(body["kind"]) == []


EDITED = {
    "model": (resource("FineTuneJob"), {"model": {"uri": "hf://org/other"}}, "`model` cannot change once set"),
    "hyperparameter": (resource("FineTuneJob"), {"training": {"epochs": 5}}, "`training` cannot change once set"),
    "data set of an evaluation": (resource("Evaluation"), {"dataset": {"uri": "configmap://rows/other.jsonl"}}, "`dataset` cannot change once set"),
    "baseline added": (resource("Evaluation"), {"baseline": HUB}, "`baseline` cannot be added or removed"),
    "output added": (resource("FineTuneJob"), {"output": {"uri": "pvc://x/y"}}, "`output` cannot be added or removed"),
    "deadline removed": (
        resource("FineTuneJob", activeDeadlineSeconds=60),
        {"activeDeadlineSeconds": None},
        "`activeDeadlineSeconds` can be changed but not removed",
    ),
    "base of a merge": (resource("ModelMerge", base=HUB), {"base": {"uri": "hf://org/other"}}, "`base` cannot change once set"),
}


@pytest.mark.parametrize("case", EDITED)
def test_an_immutable_field_cannot_be_edited(cluster, case):
    body, change, message = EDITED[case]
    cluster.apply(body)
    edited = {**body, "spec": {**body["spec"], **change}}
    refused = cluster.server.kubectl("apply", "-n", cluster.namespace, "-f", "-", stdin=yaml.safe_dump(edited))
    assert refused.returncode != 0
    assert message in refused.stderr


def test_what_may_change_can_be_edited(cluster):
    for kind, change in (
        ("FineTuneJob", {"suspend": True, "ttlSecondsAfterFinished": 5}),
        ("Evaluation", {"thresholds": [{"metric": "ExactMatch", "minimum": 0.5}]}),
        ("InferenceService", {"model": {"uri": "hf://org/other"}, "replicas": 2, "evaluationRef": {"name": "e"}}),
    ):
        cluster.apply(resource(kind))
        cluster.apply(resource(kind, **change))


def test_a_scheduler_may_not_write_a_wrong_condition(cluster):
    """The status has a schema as well: what the operator writes is checked by the server."""
    cluster.apply(resource("FineTuneJob"))
    path = cluster.path("FineTuneJob", "bot") + "/status"
    with pytest.raises(Exception, match="422"):
        cluster.server.merge(path, {"status": {"conditions": [{"type": "Succeeded", "status": "Maybe"}]}})


def test_short_names_columns_and_explain_work(cluster):
    cluster.apply(*(resource(kind) for kind in LEAST))
    table = cluster.server.kubectl("get", "ftj,mmerge,tfeval,tfisvc", "-n", cluster.namespace)
    assert table.returncode == 0
    for column in ("STATE", "PROGRESS", "LOSS", "EVAL", "TOKENS/S", "ETA", "METRIC", "SCORE", "BASELINE", "VERDICT", "READY", "URL", "AGE"):
        assert column in table.stdout
    explained = cluster.server.kubectl("explain", "ftj.spec.training.learningRate")
    assert "learningRate at its peak" in explained.stdout


def test_the_resources_in_the_readme_are_accepted(cluster):
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    documents = [each for block in blocks for each in yaml.safe_load_all(block)]
    assert {each["kind"] for each in documents} == set(LEAST)
    for each in documents:
        each["metadata"]["namespace"] = cluster.namespace
    accepted = cluster.server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(documents))
    assert accepted.returncode == 0, accepted.stderr


EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_every_example_is_accepted(cluster, path):
    if path.name == "kustomization.yaml":
        pytest.skip("no object of the API server")
    documents = [each for each in yaml.safe_load_all(path.read_text()) if each]
    for each in documents:
        each["metadata"]["namespace"] = cluster.namespace
    accepted = cluster.server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(documents))
    assert accepted.returncode == 0, accepted.stderr
