"""CustomResourceDefinitions made from the pydantic types: pydantic's JSON schema turned into a Kubernetes structural schema."""

from dataclasses import dataclass
from typing import Any, Final

from tunewright.api import GROUP, VERSION
from tunewright.api.common import Kind
from tunewright.api.evaluation import EvaluationSpec, EvaluationStatus
from tunewright.api.fine_tune_job import FineTuneJobSpec, FineTuneJobStatus
from tunewright.api.inference_service import InferenceServiceSpec, InferenceServiceStatus
from tunewright.api.model_merge import ModelMergeSpec, ModelMergeStatus
from tunewright.api.schema import MAX_NAME, ApiModel, cel

Schema = dict[str, Any]

_KEPT: Final = frozenset({
    "type", "description", "properties", "required", "items", "enum", "default", "format", "pattern",
    "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
})  # fmt: skip
"""What a structural schema may have beside `x-kubernetes-*`; anything else pydantic emits is dropped."""


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. `wide` columns are shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class KindDefinition:
    """What the CRD of a kind is made from."""

    kind: Kind
    plural: str
    short: str
    summary: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str], ...] = ()
    """CEL rules over the whole resource: what a rule of the spec cannot see is its name."""


_STATE: Final = Column("State", ".status.state")
_PROGRESS: Final = Column("Progress", ".status.progress.percentText")
_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")

DEFINITIONS: Final = (
    KindDefinition(
        Kind.FINE_TUNE_JOB, "finetunejobs", "ftj",
        "FineTuneJob checks and prepares a data set on CPU, then trains a LoRA adapter on it.",
        FineTuneJobSpec, FineTuneJobStatus,
        (
            _STATE, _PROGRESS,
            Column("Loss", ".status.progress.loss", "number"),
            Column("Eval", ".status.progress.evalLoss", "number"),
            Column("Tokens/s", ".status.progress.tokensPerSecond", "number"),
            Column("ETA", ".status.progress.etaText"),
            _AGE,
            Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason'),
        ),
    ),
    KindDefinition(
        Kind.MODEL_MERGE, "modelmerges", "mmerge",
        "ModelMerge folds an adapter into its base model and publishes a model directory that can be served.",
        ModelMergeSpec, ModelMergeStatus,
        (_STATE, _PROGRESS, Column("Size", ".status.artifact.sizeText"), _AGE,
         Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason')),
    ),
    KindDefinition(
        Kind.EVALUATION, "evaluations", "tfeval",
        "Evaluation scores a model on held-out rows, compares it with a baseline and gives a verdict.",
        EvaluationSpec, EvaluationStatus,
        (
            _STATE, _PROGRESS,
            Column("Metric", ".status.metric"),
            Column("Score", ".status.score", "number"),
            Column("Baseline", ".status.baselineScore", "number"),
            Column("Verdict", ".status.verdict"),
            _AGE,
            Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason'),
        ),
    ),
    KindDefinition(
        Kind.INFERENCE_SERVICE, "inferenceservices", "tfisvc",
        "InferenceService serves a model and its adapters with vLLM (OpenAI API), and rolls out only what passed its Evaluation.",
        InferenceServiceSpec, InferenceServiceStatus,
        (
            _STATE,
            Column("Ready", ".status.readyReplicas", "integer"),
            Column("Desired", ".status.replicas", "integer"),
            Column("URL", ".status.url"),
            _AGE,
            Column("Digest", ".status.modelDigest", wide=True),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        ),
        ((
            "!has(self.spec.adapters) || self.spec.adapters.all(a, a.name != self.metadata.name)",
            "an adapter in `spec.adapters` must have another name than the resource: clients tell them apart by it",
        ),),
    ),
)  # fmt: skip


def definition(kind: Kind) -> KindDefinition:
    """Return the definition of `kind`."""
    return next(each for each in DEFINITIONS if each.kind == kind)


def crd(kind: KindDefinition) -> Schema:
    """Return the CustomResourceDefinition of one kind."""
    spec = structural(kind.spec)
    _freeze_absence(spec)
    root: Schema = {
        "type": "object",
        "description": kind.summary,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"apiVersion of the resource: `{GROUP}/{VERSION}`."},
            "kind": {"type": "string", "description": f"kind of the resource: `{kind.kind}`."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural(kind.status),
        },
        **cel(
            (
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"`metadata.name` must have at most {MAX_NAME} characters: names of Pods and Services are made from it",
            ),
            (
                "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                "`metadata.name` must be lowercase letters, digits and `-`, begin with a letter and not end with `-`",
            ),
            *kind.rules,
        ),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind.value,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["tunewright"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": root},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": column.name, "type": column.type, "jsonPath": column.path, **({"priority": 1} if column.wide else {})}
                        for column in kind.columns
                    ],
                }
            ],
        },
    }


def structural(model: type[ApiModel]) -> Schema:
    """Return the structural schema of `model`: no `$ref`, no `anyOf`, no titles, bounds in OpenAPI 3.0's form."""
    whole = model.model_json_schema(by_alias=True)
    result = _convert(whole, whole.get("$defs", {}))
    assert isinstance(result, dict)
    return result


def _convert(node: Schema, defs: dict[str, Schema]) -> Schema:
    """Convert one schema node and everything below it."""
    node = _inline(node, defs)
    result = {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
    if "const" in node:
        result["type"] = "string"
        result["enum"] = [node["const"]]
    if result.get("default", ...) is None:
        del result["default"]
    # OpenAPI 3.0 has exclusive bounds as flags beside the bound; JSON Schema 2020 as numbers.
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if flag in result:
            result[bound], result[flag] = result[flag], True
    if "properties" in result:
        result["properties"] = {name: _convert(child, defs) for name, child in node["properties"].items()}
    if "items" in result:
        result["items"] = _convert(node["items"], defs)
        result.setdefault("x-kubernetes-list-type", "atomic")
    if "default" in result:
        result["default"] = _without_none(result["default"])
    return result


def _inline(node: Schema, defs: dict[str, Schema]) -> Schema:
    """Replace a `$ref`, a one-element `allOf` or `X | None` by what it stands for; what stands beside it wins, CEL rules add up."""
    for key in ("anyOf", "allOf"):
        if key in node:
            alternatives = [each for each in node[key] if each.get("type") != "null"]
            # `Uri | str` widens a bounded string: the last, widest alternative is what the field accepts.
            node = {**alternatives[-1], **{name: value for name, value in node.items() if name != key}}
            return _inline(node, defs)
    if "$ref" in node:
        target = _inline(defs[node["$ref"].rsplit("/", 1)[1]], defs)
        rules = target.get("x-kubernetes-validations", []) + node.get("x-kubernetes-validations", [])
        node = {**target, **{name: value for name, value in node.items() if name != "$ref"}}
        if rules:
            node["x-kubernetes-validations"] = rules
    return node


def _without_none(value: Any) -> Any:
    """Drop the keys whose value is None: in a default they would be nulls that the schema does not allow."""
    if isinstance(value, dict):
        return {key: _without_none(child) for key, child in value.items() if child is not None}
    return value


def _freeze_absence(spec: Schema) -> None:
    """Add, for each immutable field that may be absent, the rule that it stays so: `oldSelf` rules do not see a field come or go."""
    for name, field in spec["properties"].items():
        frozen = any("oldSelf" in rule["rule"] for rule in field.get("x-kubernetes-validations", []))
        if frozen and name not in spec.get("required", []) and "default" not in field:
            rule = cel((f"has(self.{name}) == has(oldSelf.{name})", f"`{name}` cannot be added or removed; create a resource with another name"))
            spec["x-kubernetes-validations"] = spec.get("x-kubernetes-validations", []) + rule["x-kubernetes-validations"]
