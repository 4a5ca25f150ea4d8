"""Types that several kinds share: where inputs come from, what Pods may use, conditions, progress, artifacts."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tunewright.api.schema import ApiModel, Digest, LabelKey, LabelValue, Name, Quantity, SecretName, Sentence, Time, cel, exactly_one
from tunewright.contract.secrets import SECRET_VARIABLES
from tunewright.contract.uris import URI_PATTERN

Uri = Annotated[str, Field(min_length=8, max_length=1024, pattern=URI_PATTERN)]


class Kind(StrEnum):
    """The four kinds."""

    FINE_TUNE_JOB = "FineTuneJob"
    MODEL_MERGE = "ModelMerge"
    EVALUATION = "Evaluation"
    INFERENCE_SERVICE = "InferenceService"


class ModelMergeRef(ApiModel):
    """A ModelMerge in this namespace."""

    kind: Literal["ModelMerge"] = Field(description="kind of the resource that makes the model: `ModelMerge`.")
    name: Name = Field(description="name of the resource, in this namespace. It may be created later: it is waited for.")


class FineTuneJobRef(ApiModel):
    """A FineTuneJob in this namespace."""

    kind: Literal["FineTuneJob"] = Field(description="kind of the resource: `FineTuneJob`.")
    name: Name = Field(description="name of the resource, in this namespace. It may be created later: it is waited for.")


class ModelRef(ApiModel):
    """A FineTuneJob (its base model with its adapter) or a ModelMerge (its merged model) in this namespace."""

    kind: Literal["FineTuneJob", "ModelMerge"] = Field(description="kind of the resource that makes the model: `FineTuneJob` or `ModelMerge`.")
    name: Name = Field(description="name of the resource, in this namespace. It may be created later: it is waited for.")


class EvaluationRef(ApiModel):
    """An Evaluation in this namespace."""

    name: Name = Field(description="name of the Evaluation, in this namespace. It may be created later: it is waited for.")


_URI_TEXT = (
    "uri of the input: `hf://org/name@revision`, `s3://bucket/path`, `pvc://claim/path` or (small data only) `configmap://name/key`. "
    "Models are directories of safetensors; a directory with Python code or pickles is refused."
)
_SECRET_TEXT = (
    "secretName of a Secret in this namespace with what the download needs. These keys are used, and no others: "
    + ", ".join(f"`{key}`" for key in sorted(SECRET_VARIABLES))
    + ". The operator never reads it."
)
_ONE_SOURCE = cel(
    exactly_one("uri", "ref"),
    ("!has(self.uri) || !self.uri.matches('/[.][.](/|$)')", "`uri` must not contain `..`"),
)


class BaseModelSource(ApiModel):
    """A full model, by location or made by a ModelMerge."""

    model_config = {**ApiModel.model_config, "json_schema_extra": _ONE_SOURCE}
    uri: Uri | None = Field(None, description=_URI_TEXT)
    ref: ModelMergeRef | None = Field(None, description="ref to a ModelMerge whose result is used.")
    secret_name: SecretName | None = Field(None, description=_SECRET_TEXT)


class AdapterSource(ApiModel):
    """A LoRA adapter, by location or trained by a FineTuneJob."""

    model_config = {**ApiModel.model_config, "json_schema_extra": _ONE_SOURCE}
    uri: Uri | None = Field(None, description=_URI_TEXT)
    ref: FineTuneJobRef | None = Field(None, description="ref to the FineTuneJob whose adapter is used.")
    secret_name: SecretName | None = Field(None, description=_SECRET_TEXT)


class AnyModelSource(ApiModel):
    """A model, by location, trained by a FineTuneJob, or made by a ModelMerge."""

    model_config = {**ApiModel.model_config, "json_schema_extra": _ONE_SOURCE}
    uri: Uri | None = Field(None, description=_URI_TEXT)
    ref: ModelRef | None = Field(None, description="ref to the resource whose result is used.")
    secret_name: SecretName | None = Field(None, description=_SECRET_TEXT)


class DatasetSource(ApiModel):
    """Rows in JSON lines, by location or those of a FineTuneJob."""

    model_config = {**ApiModel.model_config, "json_schema_extra": _ONE_SOURCE}
    uri: Uri | None = Field(None, description=_URI_TEXT)
    ref: FineTuneJobRef | None = Field(
        None, description="ref to a FineTuneJob: a FineTuneJob trains on the rows that job trained on, an Evaluation scores the rows it held out."
    )
    secret_name: SecretName | None = Field(None, description=_SECRET_TEXT)


class NodeSelectorTerm(ApiModel):
    """A label a node must have."""

    key: LabelKey = Field(description="key of the node label.")
    value: LabelValue = Field(description="value of the node label.")


class Toleration(ApiModel):
    """A taint the Pods tolerate."""

    key: LabelKey = Field(description="key of the taint.")
    value: LabelValue | None = Field(None, description="value of the taint; absent tolerates every value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(None, description="effect of the taint; absent tolerates every effect.")


class CpuResources(ApiModel):
    """What Pods that need no GPU may use, and where they run."""

    cpu: Quantity | None = Field(None, description="cpu requested, such as `4` or `500m`; by default what the operator's chart sets.")
    memory: Quantity | None = Field(None, description="memory requested and allowed, such as `32Gi`; by default what the operator's chart sets.")
    node_selector: tuple[NodeSelectorTerm, ...] | None = Field(
        None,
        max_length=16,
        description="nodeSelector is a list of labels a node must have.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
    )
    tolerations: tuple[Toleration, ...] | None = Field(
        None, max_length=16, description="tolerations for taints of the nodes.", json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )


class Resources(CpuResources):
    """What the Pods may use, and where they run."""

    gpus: int = Field(1, ge=0, le=16, description="gpus (`nvidia.com/gpu`) of each Pod; 0 runs on CPU.")


ONE_GPU = ("!has(self.resources) || self.resources.gpus <= 1", "`resources.gpus` must be 0 or 1: several GPUs are used by an InferenceService only")
"""The rule of the kinds whose Job runs on one GPU: more would be paid for and lie idle."""


class Storage(ApiModel):
    """The volume the operator makes for the results when `output` is absent."""

    size: Quantity = Field("10Gi", description="size of the PersistentVolumeClaim.")
    storage_class_name: SecretName | None = Field(None, description="storageClassName of the claim; by default the cluster's default class.")


class Output(ApiModel):
    """Where results go instead of a volume owned by the resource."""

    model_config = {**ApiModel.model_config, "json_schema_extra": cel(("!self.uri.matches('/[.][.](/|$)')", "`uri` must not contain `..`"))}
    uri: str = Field(
        min_length=8, max_length=1024, pattern=r"^pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[A-Za-z0-9._/=+-]*)?$",
        description="uri of a directory on an existing claim, `pvc://claim/path`. It stays when the resource is deleted.",
    )  # fmt: skip


class Condition(ApiModel):
    """A condition as in the Kubernetes API conventions."""

    type: str = Field(max_length=64, description="type of the condition; all types are True when all is well.")
    status: Literal["True", "False", "Unknown"] = Field(description="status: True, False or Unknown.")
    reason: str = Field(min_length=1, max_length=128, description="reason in one CamelCase word.")
    message: Sentence = Field(description="message: a sentence that says why, and what to do.")
    observed_generation: int = Field(ge=0, description="observedGeneration is the generation of the spec this was computed from.")
    last_transition_time: Time = Field(description="lastTransitionTime is when `status` last changed.")


class ProgressStatus(ApiModel):
    """The last reading of the running Pod."""

    phase: str = Field(max_length=64, description="phase of the stage, such as `Loading` or `Training`.")
    percent: int = Field(ge=0, le=100, description="percent done of the running stage.")
    percent_text: str = Field(max_length=8, description="percentText is `percent` as printed by `kubectl get`.")
    step: int | None = Field(None, ge=0, description="step: optimizer steps done.")
    total_steps: int | None = Field(None, ge=0, description="totalSteps: optimizer steps in all.")
    epoch: float | None = Field(None, ge=0, description="epoch, with its fraction.")
    loss: float | None = Field(None, description="loss on the training rows, nats per token, of the last logged step.")
    eval_loss: float | None = Field(None, description="evalLoss on the held-out rows, nats per token, of the last evaluation.")
    tokens_per_second: float | None = Field(None, ge=0, description="tokensPerSecond trained on.")
    eta_seconds: int | None = Field(None, ge=0, description="etaSeconds to the end of the stage.")
    eta_text: str | None = Field(None, max_length=16, description="etaText is `etaSeconds` as printed by `kubectl get`.")
    updated_time: Time = Field(description="updatedTime of the reading.")


class Artifact(ApiModel):
    """A published result."""

    uri: str = Field(max_length=1024, description="uri of the directory.")
    digest: Digest = Field(description="digest (sha256) of the directory's manifest; consumers verify it.")
    size_bytes: int = Field(ge=0, description="sizeBytes of all files.")
    size_text: str | None = Field(None, max_length=16, description="sizeText is `sizeBytes` as printed by `kubectl get`.")


class ResolvedInput(ApiModel):
    """An input as it was resolved when the work on it began; later changes of where it came from do not matter."""

    uri: str = Field(max_length=1024, description="uri that was read; of a hub model with the commit that its revision stood for.")
    digest: Digest | None = Field(None, description="digest (sha256) of its manifest, where a resource of this cluster made it.")


class BoundedStatus(ApiModel):
    """What the status of every kind that ends has."""

    observed_generation: int | None = Field(None, ge=0, description="observedGeneration is the generation of the spec this status was computed from.")
    state: str | None = Field(None, max_length=32, description="state in one word, for printing only.")
    conditions: tuple[Condition, ...] = Field(
        (), max_length=16, description="conditions: `Succeeded` sums up the resource; the others say what it waits for.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )  # fmt: skip
    start_time: Time | None = Field(None, description="startTime: when the first Pod was asked for.")
    completion_time: Time | None = Field(None, description="completionTime: when it succeeded or failed for good.")
    failures: int | None = Field(None, ge=0, description="failures: Pods that failed so far.")
    artifact: Artifact | None = Field(None, description="artifact is the published result.")
