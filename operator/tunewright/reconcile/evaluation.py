"""Evaluation: score a model and its baseline, and judge the scores against the thresholds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tunewright.api.evaluation import EvaluationSpec, Metric, Threshold
from tunewright.build.jobs import ANSWERS, evaluate_job
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri
from tunewright.contract.run_result import EvaluationScores, Score
from tunewright.reconcile.bounded import Outcome, advance, after_end, blocked, output_claim, plan, succeeded, with_claims
from tunewright.reconcile.conditions import Fact
from tunewright.reconcile.inputs import Blocked, resolve_any, resolve_dataset, resolve_output
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.stage import StageState
from tunewright.reconcile.world import World

TOTAL: Final = "Total"
_FIELD: Final = {Metric.EXACT_MATCH: "exact_match", Metric.FORMAT_COMPLIANCE: "format_compliance", Metric.SIMILARITY: "similarity"}


def reconcile_evaluation(resource: Resource[EvaluationSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for an Evaluation."""
    return after_end(resource, now) or plan(resource, _next(resource, world, settings, now), now)


def _next(resource: Resource[EvaluationSpec], world: World, settings: Settings, now: datetime) -> Outcome:
    """Return the next step of an Evaluation that has not ended."""
    spec = resource.spec
    output = resolve_output(spec.output, resource.kind, resource.name, world)
    if isinstance(output, Blocked):
        return blocked(output)
    model = resolve_any(spec.model, world)
    if isinstance(model, Blocked):
        return blocked(model)
    baseline = resolve_any(spec.baseline, world) if spec.baseline is not None else None
    if isinstance(baseline, Blocked):
        return blocked(baseline)
    dataset = resolve_dataset(spec.dataset, "eval", world)
    if isinstance(dataset, Blocked):
        return blocked(dataset)
    claims = output_claim(resource, spec.storage, settings, world)
    if isinstance(claims, Blocked):
        return blocked(claims)
    ready = Fact("InputsReady", True, "Resolved", "model, baseline and data set are known")
    fields: dict[str, Any] = {"modelDigest": model.digest} if model.digest else {}
    step = advance(world, evaluate_job(resource.owner, spec, model, baseline, dataset, output, settings), "Evaluating")
    if step.stage.state != StageState.SUCCEEDED:
        return with_claims(step.outcome((ready,), fields), claims)
    assert step.stage.result is not None
    assert step.stage.result.scores is not None
    verdict, message, verdict_fields = judge(spec, step.stage.result.scores)
    return succeeded(step, resource, join_uri(output, ANSWERS), (ready, verdict), {**fields, **verdict_fields}, message, now)


def judge(spec: EvaluationSpec, scores: EvaluationScores) -> tuple[Fact, str, dict[str, Any]]:
    """Return the `Passed` condition, its sentence, and the status fields of `scores` against the thresholds."""
    total = scores.model[0]
    baseline = scores.baseline[0] if scores.baseline else None
    metric = spec.thresholds[0].metric if spec.thresholds else Metric.EXACT_MATCH
    fields: dict[str, Any] = {"scores": score_table(scores), "metric": metric.value, "score": _value(total, metric)}
    if baseline is not None:
        fields["baselineScore"] = _value(baseline, metric)
    if not spec.thresholds:
        message = f"{metric.value} {_value(total, metric):.4f} over {total.count} rows; no thresholds are set"
        return Fact("Passed", None, "NoThresholds", message), message, {**fields, "verdict": "NoThresholds", "verdictMessage": message}
    checks = [check for threshold in spec.thresholds for check in check_threshold(threshold, total, baseline)]
    passed = all(held for held, _ in checks)
    message = "; ".join(sentence for _, sentence in checks) + f" ({total.count} rows)"
    verdict = "Passed" if passed else "Failed"
    fact = Fact("Passed", passed, "ThresholdsMet" if passed else "ThresholdsNotMet", message)
    return fact, f"verdict {verdict}: {message}", {**fields, "verdict": verdict, "verdictMessage": message[:1024]}


def check_threshold(threshold: Threshold, total: Score, baseline: Score | None) -> Sequence[tuple[bool, str]]:
    """Return, for `minimum` and `minimumGain`, whether it holds and the sentence that says so."""
    score = _value(total, threshold.metric)
    checks = []
    if threshold.minimum is not None:
        held = score >= threshold.minimum
        checks.append((held, f"{threshold.metric.value} {score:.4f} {'reaches' if held else 'is below'} the minimum {threshold.minimum:g}"))
    if threshold.minimum_gain is not None:
        if baseline is None:
            return [*checks, (False, f"{threshold.metric.value} has no baseline to gain over")]
        # Scores are rounded to 4 digits; without rounding the gain, 0.5 - 0.1 would miss a threshold of 0.4.
        gain = round(score - _value(baseline, threshold.metric), 4)
        held = gain >= threshold.minimum_gain
        checks.append((held, f"{threshold.metric.value} gains {gain:+.4f} over the baseline, {'at least' if held else 'less than'} {threshold.minimum_gain:g}"))
    return checks


def score_table(scores: EvaluationScores) -> list[dict[str, Any]]:
    """Return the rows of `status.scores`: the total, then the categories, each with the baseline's beside it."""
    baselines = {score.category: score for score in scores.baseline}
    rows = []
    for score in scores.model:
        row: dict[str, Any] = {"category": score.category or TOTAL, "count": score.count, **_values(score)}
        beside = baselines.get(score.category)
        if beside is not None:
            row |= {f"baseline{key[0].upper()}{key[1:]}": value for key, value in _values(beside).items()}
        rows.append(row)
    return rows[:64]


def _values(score: Score) -> dict[str, float]:
    """Return the three scores under their names in the status."""
    return {"exactMatch": round(score.exact_match, 4), "formatCompliance": round(score.format_compliance, 4), "similarity": round(score.similarity, 4)}


def _value(score: Score, metric: Metric) -> float:
    """Return one score, as printed."""
    return round(float(getattr(score, _FIELD[metric])), 4)
