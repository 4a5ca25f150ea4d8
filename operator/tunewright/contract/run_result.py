"""RunResult: what a trainer container writes to its termination message (4096 bytes at most, a limit of the kubelet)."""

from typing import Final, Literal

from tunewright.contract.wire import Wire

MAX_RESULT_BYTES: Final = 4096

FailureReason = Literal[
    "BadData", "EmptyDataset", "NoChatTemplate", "UnsafeModel", "ModelNotFound", "DatasetNotFound", "DigestMismatch",
    "Denied", "BadConfiguration", "OutOfMemory", "DiskFull", "NotFinite", "Stopped", "InternalError",
]  # fmt: skip


class ArtifactRef(Wire):
    """A published artifact: where it is in the container, and the sha256 of its manifest."""

    path: str
    digest: str
    size_bytes: int


class DataCounts(Wire):
    """Rows of a prepared data set. `rows` is what was read; it equals invalid + duplicates + too_long + train + evaluation."""

    rows: int
    invalid: int
    duplicates: int
    too_long: int
    train: int
    evaluation: int
    train_tokens: int


class TrainMetrics(Wire):
    """The end of a training run; `best_step` is the checkpoint kept, the one with the least eval loss."""

    step: int
    total_steps: int
    loss: float
    eval_loss: float | None = None
    best_step: int | None = None
    tokens_per_second: float | None = None
    train_seconds: float
    resumed_from_step: int | None = None


class Score(Wire):
    """Scores between 0 and 1 over `count` items. `category` is absent for the total."""

    category: str | None = None
    count: int
    exact_match: float
    format_compliance: float
    similarity: float


class EvaluationScores(Wire):
    """The scores of the model and of the baseline: the total first, then by category (cut to fit the message; all are in the artifact)."""

    model: tuple[Score, ...]
    baseline: tuple[Score, ...] = ()


class RunResult(Wire):
    """How a verb ended. `reason` is set unless it succeeded; `message` is a sentence for the user, with what to do.

    `model_uri` is the model as `prepare` resolved it: a revision such as `main` has become the commit it stood for.
    """

    verb: Literal["prepare", "train", "merge", "evaluate", "fetch"]
    outcome: Literal["Succeeded", "Failed", "Stopped"]
    reason: FailureReason | None = None
    message: str = ""
    artifact: ArtifactRef | None = None
    model_uri: str | None = None
    data: DataCounts | None = None
    train: TrainMetrics | None = None
    scores: EvaluationScores | None = None
