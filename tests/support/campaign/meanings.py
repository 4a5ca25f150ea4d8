"""Single-field changes by the meaning of a field: references, locations, quantities, labels, names."""

from collections.abc import Iterator
from typing import Any, Final

from support.campaign.transitions import ABSENT, NAME, SELF, Body, Schema, Transition, by_type, nodes
from support.schema_walk import Path, spec_schema
from tunewright.api import API_VERSION

_LOOP: Final = "loop"

_URIS: Final = {
    "a hub model": "hf://org/other", "a hub model at a commit": f"hf://org/model@{'0' * 40}", "a hub data set's file": "hf://datasets/org/rows@main#data/train.jsonl",
    "a branch with a slash": "hf://org/model@feature/x", "an upper-case repository": "hf://Org/Model.v1_2", "a bucket": "s3://bucket", "a path in a bucket": "s3://bucket/a/b+c=d",
    "a claim": "pvc://shared", "a path on a claim": "pvc://shared/x/y", "the root of a claim": "pvc://shared/", "doubled slashes": "pvc://shared//x//", "a dot": "pvc://shared/./x",
    "a claim that is missing": "pvc://nowhere/x", "a ConfigMap": "configmap://rows/train.jsonl", "a key that is missing": "configmap://rows/other", "a ConfigMap that is missing": "configmap://nowhere/x",
    "a hidden key": "configmap://rows/..data", "another host": "http://169.254.169.254/latest", "a file": "file:///etc/passwd", "a hub model without organisation": "hf://model",
    "an empty revision": "hf://org/model@", "no bucket": "s3:///x", "an upper-case bucket": "s3://Bucket/x", "no claim": "pvc:///x", "a key and no ConfigMap": "configmap:///x",
    "no key": "configmap://rows", "a way up": "pvc://shared/../x", "a way up at the end": "pvc://shared/..", "a way up in a hub file": "hf://org/model#../x",
    "a way up in a revision": "hf://org/model@../x", "a claim with two dots": "pvc://a..b/x", "a claim with a leading dash": "pvc://-a/x", "an upper-case scheme": "HF://org/model",
    "credentials": "s3://user:secret@bucket/x", "a query": "hf://org/model?x=1", "an escape": "pvc://shared/%2e%2e/x", "a space inside": "pvc://shared/a b", "a variable inside": "pvc://shared/$(HOME)",
    "a colon inside": "pvc://shared/a:b", "a claim of 254 characters": f"pvc://{'a' * 254}/x", "a ConfigMap of 254 characters": f"configmap://{'a' * 254}/x",
}  # fmt: skip

_QUANTITIES: Final = {
    "zero": "0", "zero with a point": "0.0", "zero of a unit": "0Gi", "one": "1", "milli": "500m", "one milli": "1m", "a fraction": "1.5", "a fraction of a unit": "0.5Gi", "leading zeros": "007",
    "kilo": "1k", "kibi": "1Ki", "more than fits": "9" * 32, "huge": "100000Ti", "less than fits": "0." + "0" * 28 + "1", "negative": "-1", "signed": "+1", "exponent": "1e3",
    "exbi": "1Ei", "lower case": "1gi", "a space": "1 Gi", "bytes": "1GB", "words": "lots", "comma": "1,5", "no digits before the point": ".5", "no digits after the point": "5.",
}  # fmt: skip

_KEYS: Final = {
    "a name": "gpu", "a prefix": "nvidia.com/gpu.product", "the hostname": "kubernetes.io/hostname", "a dotted name": "a.b_c-d", "an upper-case prefix": "Example.com/x",
    "a name of 63": "n" * 63, "a name of 64": "n" * 64, "a prefix of 254": f"{'p' * 254}/x", "a leading underscore": "_x", "a trailing underscore": "x_", "an upper-case name": "GPU",
    "a prefix with a label of 64": f"{'p' * 64}.com/x",
}  # fmt: skip
_VALUES: Final = {
    "a name": "a100-80GB_v1.2",
    "of 63": "v" * 63,
    "of 64": "v" * 64,
    "a leading underscore": "_x",
    "a trailing underscore": "x_",
    "a number": "1",
}
_SECRETS: Final = {
    "another": "other-secret", "of 253": "s" * 253, "of 254": "s" * 254, "dotted": "a.b.c", "a dot after a dash": "a-.b", "a leading digit": "1a", "many dots": f"a{'.a' * 126}",
    "a label of 64": f"{'a' * 64}.b",
}  # fmt: skip
_NAMES: Final = {
    "of 52": "n" * 52, "of 53": "n" * 53, "of 63": "n" * 63, "of 253": "n" * 253, "one letter": "n", "with a digit": "a1", "a leading digit": "7b", "dotted": "a.b",
    "upper case": "Bot", "with an underscore": "a_b", "a leading dash": "-a", "a trailing dash": "a-", "like a child": "bot-prepare",
}  # fmt: skip
_BY_NAME: Final = {
    "uri": _URIS,
    "cpu": _QUANTITIES,
    "memory": _QUANTITIES,
    "size": _QUANTITIES,
    "key": _KEYS,
    "value": _VALUES,
    "secretName": _SECRETS,
    "storageClassName": _SECRETS,
}


def transitions(kind: str, spec: Body) -> list[Transition]:
    """Return every change of one field of `spec` that its schema and its meaning suggest, each once; those that change nothing are left out."""
    schema = spec_schema(kind)
    found: dict[tuple[Path, str], Transition] = {}
    for path, field, value in nodes(schema, spec):
        for each in (*by_type(path, field, value, _is_required(schema, path)), *_by_meaning(path, field, value)):
            if each.value is ABSENT or each.value != value or type(each.value) is not type(value):
                found.setdefault((path, repr(each.value)), each)
    return list(found.values())


def names() -> list[Transition]:
    """Return the names a resource may be given, good and bad."""
    return [Transition(NAME, what, name) for what, name in _NAMES.items()]


def _is_required(schema: Schema, path: Path) -> bool:
    """Return whether the object around the field must have it."""
    for step in path[:-1]:
        schema = schema["items"] if isinstance(step, int) else schema["properties"][step]
    return path[-1] in schema.get("required", ())


def _by_meaning(path: Path, schema: Schema, value: Any) -> Iterator[Transition]:
    """Yield the changes that the name of a field suggests."""
    name = str(path[-1])
    for what, text in _BY_NAME.get(name, {}).items() if schema["type"] == "string" else ():
        yield Transition(path, what, text)
    fields = schema.get("properties", {})
    if {"uri", "ref"} <= fields.keys():
        # A source is one thing: `uri` and `ref` stand in place of each other.
        extra = {key: each for key, each in value.items() if key not in ("uri", "ref", "secretName")} if isinstance(value, dict) else {}
        for kind in fields["ref"]["properties"]["kind"]["enum"]:
            for what, ref, beside in _references(kind):
                yield Transition(path, what, {**extra, "ref": {"kind": kind, "name": ref}}, beside)
        yield Transition(
            path, "a reference with a Secret", {**extra, "ref": {"kind": fields["ref"]["properties"]["kind"]["enum"][0], "name": "base"}, "secretName": "s"}
        )
        yield Transition(path, "a location instead", {**extra, "uri": "hf://org/instead"})
        yield Transition(
            path, "uri and ref", {**extra, "uri": "hf://org/both", "ref": {"kind": fields["ref"]["properties"]["kind"]["enum"][0], "name": "base"}}
        )
    elif name == "evaluationRef":
        for what, ref in (("an Evaluation that passed", "check"), ("an Evaluation that failed", "failed"), ("an Evaluation that is missing", "nobody")):
            yield Transition(path, what, {"name": ref})
    elif name == "output":
        for what, uri in (("a claim", "pvc://shared/out"), ("a claim that is missing", "pvc://nowhere/out"), ("a bucket", "s3://bucket/out")):
            yield Transition(path, what, {"uri": uri})
    elif name == "thresholds":
        yield Transition(path, "a gain", [{"metric": "ExactMatch", "minimumGain": 0.1}])
        yield Transition(path, "no number", [{"metric": "ExactMatch"}])
    elif name == "tolerations" or name == "nodeSelector":
        yield Transition(path, "of a GPU", [{"key": "nvidia.com/gpu", "value": "true"}])


def _references(kind: str) -> Iterator[tuple[str, str, tuple[Body, ...]]]:
    """Yield a resource that has ended, one that is missing, the resource itself, and one that waits for it in turn."""
    yield f"a {kind} that has ended", {"ModelMerge": "base", "FineTuneJob": "source"}[kind], ()
    yield f"a {kind} that is missing", "nobody", ()
    yield f"a {kind} of its own name", SELF, ()
    other = {"ModelMerge": "FineTuneJob", "FineTuneJob": "ModelMerge"}[kind]
    back: Body = {"ref": {"kind": other, "name": SELF}}
    rows = {"uri": "configmap://rows/train.jsonl"}
    spec = {"adapter": back} if kind == "ModelMerge" else {"model": back, "dataset": rows}
    loop = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": _LOOP + "-" + SELF}, "spec": spec}
    yield f"a {kind} that waits for it", _LOOP + "-" + SELF, (loop,)
