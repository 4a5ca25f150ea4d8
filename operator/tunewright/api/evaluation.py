"""Evaluation: scores a model on held-out rows, compares it with a baseline, gives a verdict."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from tunewright.api.common import ONE_GPU, AnyModelSource, BoundedStatus, DatasetSource, Output, ProgressStatus, Resources, Storage
from tunewright.api.schema import ApiModel, Digest, Score01, cel, immutable


class Metric(StrEnum):
    """What is scored; each is a share between 0 and 1."""

    EXACT_MATCH = "ExactMatch"
    FORMAT_COMPLIANCE = "FormatCompliance"
    SIMILARITY = "Similarity"


class Threshold(ApiModel):
    """What one metric must reach."""

    model_config = {**ApiModel.model_config, "json_schema_extra": cel(("has(self.minimum) || has(self.minimumGain)", "`minimum` or `minimumGain` must be set"))}
    metric: Metric = Field(description="metric: `ExactMatch`, `FormatCompliance` or `Similarity`.")
    minimum: Score01 | None = Field(None, description="minimum score of the model.")
    minimum_gain: float | None = Field(None, ge=-1, le=1, description="minimumGain of the model's score over the baseline's.")


class Generation(ApiModel):
    """How answers are generated; always greedy, so that a score can be repeated."""

    max_new_tokens: int = Field(256, ge=1, le=32768, description="maxNewTokens of an answer.")
    batch_size: int = Field(8, ge=1, le=1024, description="batchSize: prompts generated at once.")
    precision: Literal["BF16", "FP32"] = Field("BF16", description="precision, the same for model and baseline.")


class EvaluationSpec(ApiModel):
    """What to score, on what, and what counts as passed."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": cel(
            ("has(self.baseline) || !has(self.thresholds) || self.thresholds.all(t, !has(t.minimumGain))", "`minimumGain` needs a `baseline` to compare with"),
            ONE_GPU,
        ),
    }
    model: AnyModelSource = Field(description="model to score.", json_schema_extra=immutable("model"))
    baseline: AnyModelSource | None = Field(None, description="baseline to compare with, usually the untuned model.", json_schema_extra=immutable("baseline"))
    dataset: DatasetSource = Field(
        description="dataset of held-out rows, in the layouts of a FineTuneJob; a `category` field groups the scores.", json_schema_extra=immutable("dataset")
    )
    response_format: Literal["Text", "JSON", "Markdown"] = Field(
        "Text",
        description="responseFormat an answer must comply with: `JSON` parses, `Markdown` is well formed, `Text` is not empty.",
        json_schema_extra=immutable("responseFormat"),
    )
    generation: Generation = Field(Generation(), description="generation: how answers are made.", json_schema_extra=immutable("generation"))
    limit: int | None = Field(None, ge=1, le=10000000, description="limit scores only the first rows.", json_schema_extra=immutable("limit"))
    thresholds: tuple[Threshold, ...] | None = Field(
        None, min_length=1, max_length=3, description="thresholds that must all hold for the verdict `Passed`.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["metric"]},
    )  # fmt: skip
    resources: Resources = Field(Resources(), description="resources of the Pod.", json_schema_extra=immutable("resources"))
    storage: Storage = Field(
        Storage(size="1Gi"), description="storage of the volume made for the answers when `output` is absent.", json_schema_extra=immutable("storage")
    )
    output: Output | None = Field(None, description="output: an existing place for the answers.", json_schema_extra=immutable("output"))
    max_retries: int = Field(3, ge=0, le=100, description="maxRetries after failures that a retry can mend.")
    ttl_seconds_after_finished: int | None = Field(
        None, ge=0, le=315360000, description="ttlSecondsAfterFinished: the resource, and the volume it owns, is deleted so long after its end."
    )


class ScoreStatus(ApiModel):
    """Scores of the model, and of the baseline where there is one, over the same rows."""

    category: str = Field(max_length=128, description="category of the rows; `Total` is all of them.")
    count: int = Field(ge=0, description="count of rows.")
    exact_match: Score01 = Field(description="exactMatch: share of answers equal to the expected one after normalisation.")
    format_compliance: Score01 = Field(description="formatCompliance: share of answers in the `responseFormat`.")
    similarity: Score01 = Field(description="similarity to the expected answer, mean.")
    baseline_exact_match: Score01 | None = Field(None, description="baselineExactMatch: exactMatch of the baseline.")
    baseline_format_compliance: Score01 | None = Field(None, description="baselineFormatCompliance: formatCompliance of the baseline.")
    baseline_similarity: Score01 | None = Field(None, description="baselineSimilarity: similarity of the baseline.")


class EvaluationStatus(BoundedStatus):
    """What the operator saw; recomputed each time."""

    progress: ProgressStatus | None = Field(None, description="progress over the rows.")
    scores: tuple[ScoreStatus, ...] | None = Field(
        None, max_length=64, description="scores: the total, then by category; all categories are in the artifact.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["category"]},
    )  # fmt: skip
    metric: Metric | None = Field(None, description="metric printed by `kubectl get`: the first of the thresholds, or ExactMatch.")
    score: Score01 | None = Field(None, description="score of the model in `metric`.")
    baseline_score: Score01 | None = Field(None, description="baselineScore of the baseline in `metric`.")
    verdict: Literal["Passed", "Failed", "NoThresholds"] | None = Field(None, description="verdict against the thresholds.")
    verdict_message: str | None = Field(None, max_length=1024, description="verdictMessage names each threshold and what was reached.")
    model_digest: Digest | None = Field(
        None, description="modelDigest of the model that was scored, where a resource made it; an InferenceService serves only this one."
    )
