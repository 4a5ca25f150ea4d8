"""A tenant cannot reach another namespace through any field: every text field of every kind is made to name one, in every way we know."""

import copy
from collections.abc import Iterator

import pytest

from support.api_server import Conflict, wait_for
from support.schema_walk import get, leaves, spec_schema
from support.stand_in import Cluster
from support.worlds import result
from tunewright.api.crd import DEFINITIONS
from unit.properties.test_every_field import FULL, VARIANTS

KINDS = [each.kind.value for each in DEFINITIONS]
REFUSED = 422


def hostile(namespace, name):
    """Return names and locations of something of `namespace`, for a field that knows no namespaces."""
    path = f"../../{namespace}"
    names = [
        f"{namespace}/{name}", f"{namespace}:{name}", f"{namespace}.{name}", f"{name}.{namespace}", f"{name}.{namespace}.svc.cluster.local", f"{name}@{namespace}",
        f"{path}/configmaps/{name}", f"..%2f..%2f{namespace}%2fconfigmaps%2f{name}", f"{name}?namespace={namespace}", f"{name}#{namespace}", f"{name}\n{namespace}",
        f"{name}..{namespace}", "..", f"system:serviceaccount:{namespace}:default",
    ]  # fmt: skip
    places = [
        f"{scheme}://{each}"
        for scheme in ("configmap", "pvc")
        for each in (
            f"{namespace}/{name}",
            f"{namespace}/{name}/key",
            f"{name}.{namespace}/key",
            f"{path}/{name}",
            f"..%2f{namespace}/{name}",
            f"{name}/../../{namespace}",
        )
    ]
    return [*names, *places, f"http://{name}.{namespace}.svc/x", f"k8s://{namespace}/{name}", f"file:///volumes/{namespace}/{name}", f"s3://{namespace}/{name}"]


def attempts(kind, namespace, name):
    """Yield (field, spec): a whole spec of the kind with one text field that names something of `namespace`."""
    specs = [FULL[kind], *({**FULL[kind], field: value} for field, value in VARIANTS[kind].items())]
    for path in sorted(text_fields(kind), key=str):
        spec = next(each for each in specs if has(each, path))
        for value in hostile(namespace, name):
            changed = copy.deepcopy(spec)
            get(changed, path[:-1])[path[-1]] = [value] if isinstance(get(spec, path), list) else value
            yield path, changed


def has(spec, path):
    try:
        get(spec, path)
    except (KeyError, IndexError):
        return False
    return True


def text_fields(kind):
    return {path for path, schema in leaves(spec_schema(kind)) if "enum" not in (inner := schema.get("items", schema)) and inner["type"] == "string"}


def tunewright(kind, spec, name="rows"):
    return {"apiVersion": "tunewright.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def versions(cluster) -> Iterator[tuple[str, str]]:
    for kind in ("ConfigMap", "PersistentVolumeClaim", "Job", "Deployment", "Service", "Pod", "Event", *KINDS):
        yield from ((each["metadata"]["uid"], each["metadata"]["resourceVersion"]) for each in cluster.list(kind))


@pytest.fixture(scope="module")
def victim(server, operator):
    """A namespace that has all that a tenant would like to use: data, a claim, a tuned model."""
    made = Cluster(server, "victim")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n", "key": "{}\n"}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "rows"}, "spec": claim},
        tunewright("FineTuneJob", {"model": {"uri": "hf://org/model@main"}, "dataset": {"uri": "configmap://rows/train.jsonl"}, "resources": {"gpus": 0}}),
        tunewright("ModelMerge", {"adapter": {"uri": "hf://org/adapter"}, "base": {"uri": "hf://org/model"}}),
    )  # fmt: skip
    made.finish_job("rows-prepare", result("prepare"))
    made.finish_job("rows-train", result("train"))
    made.finish_job("rows-merge", result("merge"))
    for kind in ("FineTuneJob", "ModelMerge"):
        made.wait_condition(kind, "rows", "Succeeded", "True", "Succeeded")
    return made


def test_no_field_reaches_another_namespace(server, operator, cluster, victim, record_property):
    """What the schema lets in, the operator acts on; its requests and the objects of the other namespace show that none of it went there."""
    # Its own data, so that nothing waits for them: every field gets as far as into a Job.
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}})
    before, asked_before = set(versions(victim)), len(list(server.audited()))
    tried = {kind: set() for kind in KINDS}
    accepted, refused = {}, 0
    for kind in KINDS:
        for path, spec in attempts(kind, victim.namespace, "rows"):
            tried[kind].add(path)
            name = f"try-{len(accepted)}"
            try:
                server.request("POST", cluster.path(kind), tunewright(kind, spec, name))
                accepted[name] = (kind, *path, get(spec, path))
            except Conflict as error:
                assert error.code == REFUSED, error
                refused += 1
    assert tried == {kind: text_fields(kind) for kind in KINDS}

    def unseen():
        names = [each["metadata"]["name"] for kind in KINDS for each in cluster.list(kind) if "observedGeneration" not in each.get("status", {})]
        return [accepted[name] for name in names]

    try:
        wait_for("the operator has seen all", lambda: not unseen(), timeout=90, every=1)
    except AssertionError:
        raise AssertionError(f"the operator does not go on with {unseen()}:\n{operator.log.read_text()[-3000:]}") from None
    asked = [each["objectRef"] for each in list(server.audited())[asked_before:] if "objectRef" in each]
    assert [each for each in asked if each.get("namespace") == victim.namespace] == []
    assert any(each.get("namespace") == cluster.namespace for each in asked)
    assert set(versions(victim)) == before
    for kind in ("Job", "Deployment"):
        for made in cluster.list(kind):
            for volume in made["spec"]["template"]["spec"]["volumes"]:
                assert not {"hostPath", "nfs", "csi", "iscsi"} & volume.keys()
    record_property("fields", sum(map(len, tried.values())))
    record_property("refused", refused)
    record_property("accepted", len(accepted))


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_looked_for_in_the_own_namespace(cluster, victim, kind):
    """The very names that exist in the other namespace, plainly: to the tenant they do not exist."""
    source = {"ref": {"kind": "ModelMerge" if kind == "InferenceService" else "FineTuneJob", "name": "rows"}}
    spec = {
        "FineTuneJob": {"model": {"uri": "hf://org/model@main"}, "dataset": source, "resources": {"gpus": 0}},
        "ModelMerge": {"adapter": source},
        "Evaluation": {"model": source, "dataset": {"uri": "configmap://rows/train.jsonl"}, "resources": {"gpus": 0}},
        "InferenceService": {"model": source, "resources": {"gpus": 0}},
    }[kind]
    cluster.apply(tunewright(kind, spec, "bot"))
    found = cluster.wait_condition(kind, "bot", "InputsReady", "False", f"WaitingFor{source['ref']['kind']}")
    assert "`rows` does not exist in this namespace" in found["message"]
