"""FineTuneJob: checks the data on CPU, then trains a LoRA adapter."""

from typing import Annotated, Literal

from pydantic import Field

from tunewright.api.common import ONE_GPU, BaseModelSource, BoundedStatus, DatasetSource, Output, ProgressStatus, ResolvedInput, Resources, Storage
from tunewright.api.schema import ApiModel, Digest, cel, immutable

ALL_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ModuleName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]


class DataChecks(ApiModel):
    """What the CPU stage does with the rows before any GPU is asked for."""

    eval_fraction: float = Field(0.05, gt=0, le=0.5, description="evalFraction of the rows, held out to measure eval loss.")
    seed: int = Field(42, ge=0, le=2147483647, description="seed of the split.")
    max_invalid_fraction: float = Field(
        0, ge=0, le=1, description="maxInvalidFraction of the rows that may be invalid (they are left out); with more, the job fails and names the lines."
    )


class Lora(ApiModel):
    """The adapter."""

    rank: int = Field(16, ge=1, le=512, description="rank of the adapter's matrices.")
    alpha: int = Field(32, ge=1, le=2048, description="alpha: the update is scaled by alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout on the adapter's input.")
    target_modules: tuple[ModuleName, ...] = Field(
        ALL_PROJECTIONS, min_length=1, max_length=32, description="targetModules that get an adapter; by default all seven projections of a transformer block.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )  # fmt: skip


class Training(ApiModel):
    """Hyperparameters of supervised fine-tuning."""

    epochs: float = Field(3, gt=0, le=1000, description="epochs over the training rows.")
    max_steps: int | None = Field(None, ge=1, le=10000000, description="maxSteps ends training after so many optimizer steps, whatever `epochs` says.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="learningRate at its peak, such as `2e-4`.")
    batch_size: int = Field(4, ge=1, le=4096, description="batchSize: sequences per GPU and forward pass.")
    gradient_accumulation_steps: int = Field(1, ge=1, le=4096, description="gradientAccumulationSteps: forward passes per optimizer step.")
    scheduler: Literal["Cosine", "Linear", "Constant"] = Field("Cosine", description="scheduler of the learning rate after the warm-up.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="warmupRatio: share of the steps in which the learning rate rises from 0.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="weightDecay of AdamW.")
    max_length: int = Field(1024, ge=16, le=1048576, description="maxLength of a sequence in tokens; longer rows are left out and counted.")
    packing: bool = Field(True, description="packing puts several rows into one sequence of `maxLength`; faster, and exact.")
    precision: Literal["BF16", "FP32"] = Field("BF16", description="precision of weights and arithmetic.")
    checkpoint_steps: int = Field(
        50, ge=1, le=1000000, description="checkpointSteps: optimizer steps from one checkpoint and eval loss to the next. A retry loses at most so many."
    )
    seed: int = Field(42, ge=0, le=2147483647, description="seed of initialisation and order.")


_DEADLINE_STAYS = (
    "!has(oldSelf.activeDeadlineSeconds) || has(self.activeDeadlineSeconds)",
    "`activeDeadlineSeconds` can be changed but not removed once set; set a larger one",
)


class FineTuneJobSpec(ApiModel):
    """What to train, on what, and how. The defaults are a good LoRA run."""

    model_config = {**ApiModel.model_config, "json_schema_extra": cel(ONE_GPU, _DEADLINE_STAYS)}
    model: BaseModelSource = Field(description="model to tune.", json_schema_extra=immutable("model"))
    dataset: DatasetSource = Field(
        description="dataset in JSON lines: `instruction`/`input`/`output`, `prompt`/`completion` or chat `messages`.", json_schema_extra=immutable("dataset")
    )
    data_checks: DataChecks = Field(DataChecks(), description="dataChecks: how rows are checked and split.", json_schema_extra=immutable("dataChecks"))
    lora: Lora = Field(Lora(), description="lora: shape of the adapter.", json_schema_extra=immutable("lora"))
    training: Training = Field(Training(), description="training: hyperparameters.", json_schema_extra=immutable("training"))
    resources: Resources = Field(Resources(), description="resources of the training Pod; data is prepared on CPU.", json_schema_extra=immutable("resources"))
    storage: Storage = Field(
        Storage(), description="storage of the volume made for data, checkpoints and adapter when `output` is absent.", json_schema_extra=immutable("storage")
    )
    output: Output | None = Field(None, description="output: an existing place for the results.", json_schema_extra=immutable("output"))
    suspend: bool = Field(False, description="suspend stops the Pods, after a checkpoint, until it is false again.")
    active_deadline_seconds: int | None = Field(
        None,
        ge=1,
        le=31536000,
        description="activeDeadlineSeconds the training may run before it fails; time suspended does not count. It can be changed while it runs.",
    )
    max_retries: int = Field(
        3,
        ge=0,
        le=100,
        description="maxRetries after failures that a retry can mend; each resumes from the newest good checkpoint. It can be changed while it runs.",
    )
    ttl_seconds_after_finished: int | None = Field(
        None,
        ge=0,
        le=315360000,
        description="ttlSecondsAfterFinished: the resource, and the volume it owns, is deleted so long after its end. By default it stays.",
    )


class DataStatus(ApiModel):
    """Counts of the prepared data."""

    rows: int = Field(ge=0, description="rows read.")
    invalid: int = Field(ge=0, description="invalid rows left out.")
    duplicates: int = Field(ge=0, description="duplicates left out.")
    too_long: int = Field(ge=0, description="tooLong: rows left out for being longer than `maxLength` tokens.")
    train: int = Field(ge=0, description="train: rows trained on.")
    evaluation: int = Field(ge=0, description="evaluation: rows held out.")
    train_tokens: int = Field(ge=0, description="trainTokens in the rows trained on, in one epoch.")


class Metrics(ApiModel):
    """The end of the training."""

    loss: float = Field(description="loss of the last logged step, nats per token.")
    eval_loss: float | None = Field(None, description="evalLoss of the checkpoint kept, nats per token.")
    best_step: int | None = Field(None, ge=0, description="bestStep: the checkpoint kept, the one with the least eval loss.")
    tokens_per_second: float | None = Field(None, ge=0, description="tokensPerSecond over the run.")
    train_seconds: float = Field(ge=0, description="trainSeconds of the last attempt.")
    resumed_from_step: int | None = Field(None, ge=0, description="resumedFromStep: the checkpoint the last attempt began with.")


class FineTuneJobStatus(BoundedStatus):
    """What the operator saw; recomputed each time."""

    progress: ProgressStatus | None = Field(None, description="progress of the running stage.")
    data: DataStatus | None = Field(None, description="data: counts of the prepared rows.")
    metrics: Metrics | None = Field(None, description="metrics of the finished training.")
    data_digest: Digest | None = Field(None, description="dataDigest of the prepared data.")
    base: ResolvedInput | None = Field(None, description="base model as it was resolved when the data was prepared.")
