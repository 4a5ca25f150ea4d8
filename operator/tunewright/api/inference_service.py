"""InferenceService: serves a model with vLLM; rolls out only what passed."""

from pydantic import Field

from tunewright.api.common import AdapterSource, BaseModelSource, Condition, EvaluationRef, Resources, Uri
from tunewright.api.schema import ApiModel, Digest, Name


class ServedAdapter(AdapterSource):
    """An adapter, served under its own model name."""

    name: Name = Field(description="name clients pass as `model` to use the adapter.")


class InferenceServiceSpec(ApiModel):
    """What to serve, and how."""

    model: BaseModelSource = Field(description="model to serve.")
    adapters: tuple[ServedAdapter, ...] | None = Field(
        None,
        max_length=16,
        description="adapters served on top of the model.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    evaluation_ref: EvaluationRef | None = Field(
        None, description="evaluationRef is a gate: only the model that this Evaluation passed is rolled out; until then the old one stays."
    )
    replicas: int = Field(1, ge=0, le=1000, description="replicas of the server.")
    max_model_len: int = Field(4096, ge=16, le=10485760, description="maxModelLen: prompt and answer together, in tokens.")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="gpuMemoryUtilization: share of the GPU's memory vLLM takes.")
    resources: Resources = Field(Resources(), description="resources of each server Pod.")


class InferenceServiceStatus(ApiModel):
    """What the operator saw; recomputed each time."""

    observed_generation: int | None = Field(None, ge=0, description="observedGeneration is the generation of the spec this status was computed from.")
    state: str | None = Field(None, max_length=32, description=(
        "state in one word, for printing only: `Waiting` (for an input), `Starting` (not all answer yet), `Ready` (all answer), `Updating` (the old ones answer "
        "meanwhile), `Holding` (the old ones stay, for what is new may not be rolled out), `Degraded` (some answer), `NotReady` (none does any more) or `Idle`."
    ))  # fmt: skip
    conditions: tuple[Condition, ...] = Field(
        (), max_length=16, description="conditions: `Ready` sums up the resource; the others say what it waits for.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )  # fmt: skip
    url: str | None = Field(None, max_length=512, description="url of the OpenAI API inside the cluster.")
    ready_replicas: int | None = Field(None, ge=0, description="readyReplicas that answer now.")
    replicas: int | None = Field(None, ge=0, description="replicas asked for.")
    model_uri: Uri | str | None = Field(None, max_length=1024, description="modelUri that is rolled out.")
    model_digest: Digest | None = Field(None, description="modelDigest of the model that is rolled out, where a resource made it.")
