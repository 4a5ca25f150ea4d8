"""ModelMerge: folds an adapter into its base model."""

from pydantic import Field

from tunewright.api.common import AdapterSource, BaseModelSource, BoundedStatus, CpuResources, Output, ProgressStatus, ResolvedInput, Storage
from tunewright.api.schema import ApiModel, cel, immutable


class ModelMergeSpec(ApiModel):
    """What to fold into what."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": cel(
            ("has(self.base) || has(self.adapter.ref)", "`base` must be set when `adapter` is a `uri`; with a `ref` it is the model the FineTuneJob trained on")
        ),
    }
    adapter: AdapterSource = Field(description="adapter to fold in.", json_schema_extra=immutable("adapter"))
    base: BaseModelSource | None = Field(
        None, description="base model; by default the one the referenced FineTuneJob trained on.", json_schema_extra=immutable("base")
    )
    resources: CpuResources = Field(CpuResources(), description="resources of the Pod; merging runs on CPU.", json_schema_extra=immutable("resources"))
    storage: Storage = Field(
        Storage(), description="storage of the volume made for the merged model when `output` is absent.", json_schema_extra=immutable("storage")
    )
    output: Output | None = Field(None, description="output: an existing place for the merged model.", json_schema_extra=immutable("output"))
    max_retries: int = Field(3, ge=0, le=100, description="maxRetries after failures that a retry can mend.")
    ttl_seconds_after_finished: int | None = Field(
        None, ge=0, le=315360000, description="ttlSecondsAfterFinished: the resource, and the volume it owns, is deleted so long after its end."
    )


class ModelMergeStatus(BoundedStatus):
    """What the operator saw; recomputed each time."""

    progress: ProgressStatus | None = Field(None, description="progress of the merge.")
    base: ResolvedInput | None = Field(None, description="base model as it was resolved when the merge began.")
    adapter: ResolvedInput | None = Field(None, description="adapter as it was resolved when the merge began.")
