"""RunSpec: the whole instruction of one trainer container, rendered by the operator into `TUNEWRIGHT_RUN_SPEC`.

It travels in the Job's own Pod template and not in a ConfigMap: one object fewer, and the two can never disagree.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from tunewright.contract.wire import Wire

RUN_SPEC_ENV: Final = "TUNEWRIGHT_RUN_SPEC"
PROGRESS_PORT: Final = 8080
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"


class Owner(Wire):
    """The resource the work is done for; it goes into the manifest."""

    kind: str
    namespace: str
    name: str
    uid: str


class Source(Wire):
    """Where an input is.

    `path` is set where the kubelet already mounted it (pvc, configmap, another resource's output); otherwise the trainer
    downloads `uri`. With `digest` set the artifact's manifest must have this digest, or the run ends with BAD_DATA.
    """

    uri: str
    path: str | None = None
    digest: str | None = None


class ModelSource(Wire):
    """A model: a directory of weights, and an adapter on top of it where there is one."""

    base: Source
    adapter: Source | None = None


class PrepareSpec(Wire):
    """CPU stage of a FineTuneJob: read, check, de-duplicate, format and split the data into an artifact at `output_dir`."""

    verb: Literal["prepare"] = "prepare"
    owner: Owner
    dataset: Source
    model: Source
    output_dir: str
    eval_fraction: float
    seed: int
    max_length: int
    max_invalid_fraction: float


class LoraParameters(Wire):
    """peft's LoraConfig, as far as it is exposed. `target_modules` are module names of the transformer's projections."""

    rank: int
    alpha: int
    dropout: float
    target_modules: tuple[str, ...]


class Hyperparameters(Wire):
    """What TRL's SFTConfig is made from. Lengths in tokens, `warmup_ratio` a share of all optimizer steps."""

    epochs: float
    max_steps: int | None = None
    learning_rate: float
    batch_size: int
    gradient_accumulation_steps: int
    scheduler: Literal["Cosine", "Linear", "Constant"]
    warmup_ratio: float
    weight_decay: float
    max_length: int
    packing: bool
    precision: Literal["BF16", "FP32"]
    checkpoint_steps: int
    seed: int


class TrainSpec(Wire):
    """GPU stage of a FineTuneJob: train on the artifact at `data_dir`, checkpoint below `checkpoint_dir`, publish at `output_dir`."""

    verb: Literal["train"] = "train"
    owner: Owner
    model: Source
    data_dir: str
    data_digest: str
    checkpoint_dir: str
    output_dir: str
    lora: LoraParameters
    hyperparameters: Hyperparameters


class MergeSpec(Wire):
    """Fold `model.adapter` into `model.base` and publish a servable model directory at `output_dir`."""

    verb: Literal["merge"] = "merge"
    owner: Owner
    model: ModelSource
    output_dir: str


class EvaluateSpec(Wire):
    """Score `model`, and `baseline` where given, on `dataset`; every item's answer goes to the artifact at `output_dir`."""

    verb: Literal["evaluate"] = "evaluate"
    owner: Owner
    model: ModelSource
    baseline: ModelSource | None = None
    dataset: Source
    response_format: Literal["Text", "JSON", "Markdown"]
    max_new_tokens: int
    batch_size: int
    limit: int | None = None
    precision: Literal["BF16", "FP32"]
    output_dir: str


class FetchSpec(Wire):
    """Bring a model and its adapters to `output_dir` (`model/`, `adapters/NAME/`) for a server, verified."""

    verb: Literal["fetch"] = "fetch"
    owner: Owner
    model: Source
    adapters: dict[str, Source] = {}
    output_dir: str


RunSpec = Annotated[PrepareSpec | TrainSpec | MergeSpec | EvaluateSpec | FetchSpec, Field(discriminator="verb")]

_ADAPTER: Final[TypeAdapter[PrepareSpec | TrainSpec | MergeSpec | EvaluateSpec | FetchSpec]] = TypeAdapter(RunSpec)


def parse_run_spec(text: str) -> PrepareSpec | TrainSpec | MergeSpec | EvaluateSpec | FetchSpec:
    """Parse the JSON of `TUNEWRIGHT_RUN_SPEC`; raises pydantic.ValidationError, which names the field."""
    return _ADAPTER.validate_json(text)
