"""Evaluation: score a model and its baseline, and judge the scores against the thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from tunewright.api.evaluation import EvaluationSpec, Metric, Threshold
from tunewright.build import Manifest
from tunewright.build.jobs import ANSWERS, evaluate_job
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri
from tunewright.contract.run_result import EvaluationScores, Score
from tunewright.reconcile.bounded import Outcome, after_end, blocked, only_job, plan, succeeded, with_claims
from tunewright.reconcile.conditions import Fact, write_conditions
from tunewright.reconcile.inputs import Blocked, output_uri, resolve_any, resolve_dataset, resolve_output
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.stage import StageState
from tunewright.reconcile.told import run_spec
from tunewright.reconcile.world import Body, World

TOTAL: Final = "Total"
_FIELD: Final = {Metric.EXACT_MATCH: "exactMatch", Metric.FORMAT_COMPLIANCE: "formatCompliance", Metric.SIMILARITY: "similarity"}
_BASELINE: Final = {Metric.EXACT_MATCH: "baselineExactMatch", Metric.FORMAT_COMPLIANCE: "baselineFormatCompliance", Metric.SIMILARITY: "baselineSimilarity"}


def reconcile_evaluation(resource: Resource[EvaluationSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for an Evaluation."""
    ended = after_end(resource, now)
    if ended is None:
        return plan(resource, _next(resource, world, settings, now), now)
    return replace(ended, status=_judged_again(resource, ended.status, now)) if ended.status is not None else ended


def _next(resource: Resource[EvaluationSpec], world: World, settings: Settings, now: datetime) -> Outcome:
    """Return the next step of an Evaluation that has not ended."""
    found = only_job(resource, "evaluate", "Evaluating", world, settings, lambda: _wanted(resource, world, settings))
    if isinstance(found, Blocked):
        return blocked(found)
    job, step, claims = found
    ready = Fact("InputsReady", True, "Resolved", "model, baseline and data set are known")
    fields = _scored_model(job)
    if step.stage.state != StageState.SUCCEEDED:
        return with_claims(step.outcome((ready,), fields), claims)
    assert step.stage.result is not None
    assert step.stage.result.scores is not None
    table = score_table(step.stage.result.scores)
    verdict, message, verdict_fields = judge(resource.spec, table[0])
    output = output_uri(resource.kind, resource.name, resource.spec.output)
    return succeeded(step, resource, join_uri(output, ANSWERS), (ready, verdict), {**fields, "scores": table, **verdict_fields}, message, now)


def _wanted(resource: Resource[EvaluationSpec], world: World, settings: Settings) -> Manifest | Blocked:
    """Return the Job to make: only here are the inputs resolved."""
    spec = resource.spec
    output = resolve_output(spec.output, resource.kind, resource.name, world)
    if isinstance(output, Blocked):
        return output
    model = resolve_any(spec.model, world)
    if isinstance(model, Blocked):
        return model
    baseline = resolve_any(spec.baseline, world) if spec.baseline is not None else None
    if isinstance(baseline, Blocked):
        return baseline
    dataset = resolve_dataset(spec.dataset, "eval", world)
    if isinstance(dataset, Blocked):
        return dataset
    return evaluate_job(resource.owner, spec, model, baseline, dataset, output, settings)


def _scored_model(job: Body) -> dict[str, Any]:
    """Return the digest of the model that the Job was told to score: the adapter's where there is one."""
    model = run_spec(job).get("model", {})
    digest = model.get("adapter", model.get("base", {})).get("digest")
    return {"modelDigest": digest} if digest else {}


def _judged_again(resource: Resource[EvaluationSpec], status: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the status with the verdict of the thresholds as they are now; the scores stay, nothing is generated again."""
    if not status.get("scores"):
        return dict(status)
    verdict, message, fields = judge(resource.spec, status["scores"][0])
    (written,) = write_conditions(status, (verdict,), resource.generation, now)
    conditions = [
        written if each["type"] == verdict.type else {**each, "message": message} if each["type"] == "Succeeded" else each for each in status["conditions"]
    ]
    kept = {key: value for key, value in status.items() if key != "baselineScore"}
    return {**kept, **fields, "conditions": conditions}


def judge(spec: EvaluationSpec, total: Mapping[str, Any]) -> tuple[Fact, str, dict[str, Any]]:
    """Return the `Passed` condition, its sentence, and the status fields of the total scores against the thresholds."""
    metric = spec.thresholds[0].metric if spec.thresholds else Metric.EXACT_MATCH
    fields: dict[str, Any] = {"metric": metric.value, "score": total[_FIELD[metric]]}
    if _BASELINE[metric] in total:
        fields["baselineScore"] = total[_BASELINE[metric]]
    if not spec.thresholds:
        message = f"{metric.value} {total[_FIELD[metric]]:.4f} over {total['count']} rows; no thresholds are set"
        return Fact("Passed", None, "NoThresholds", message), message, {**fields, "verdict": "NoThresholds", "verdictMessage": message}
    checks = [check for threshold in spec.thresholds for check in check_threshold(threshold, total)]
    passed = all(held for held, _ in checks)
    message = "; ".join(sentence for _, sentence in checks) + f" ({total['count']} rows)"
    verdict = "Passed" if passed else "Failed"
    fact = Fact("Passed", passed, "ThresholdsMet" if passed else "ThresholdsNotMet", message)
    return fact, f"verdict {verdict}: {message}", {**fields, "verdict": verdict, "verdictMessage": message[:1024]}


def check_threshold(threshold: Threshold, total: Mapping[str, Any]) -> Sequence[tuple[bool, str]]:
    """Return, for `minimum` and `minimumGain`, whether it holds and the sentence that says so."""
    score, baseline = total[_FIELD[threshold.metric]], total.get(_BASELINE[threshold.metric])
    checks = []
    if threshold.minimum is not None:
        held = score >= threshold.minimum
        checks.append((held, f"{threshold.metric.value} {score:.4f} {'reaches' if held else 'is below'} the minimum {threshold.minimum:g}"))
    if threshold.minimum_gain is not None:
        if baseline is None:
            return [*checks, (False, f"{threshold.metric.value} has no baseline to gain over")]
        # Scores are rounded to 4 digits; without rounding the gain, 0.5 - 0.1 would miss a threshold of 0.4.
        gain = round(score - baseline, 4)
        held = gain >= threshold.minimum_gain
        checks.append((held, f"{threshold.metric.value} gains {gain:+.4f} over the baseline, {'at least' if held else 'less than'} {threshold.minimum_gain:g}"))
    return checks


def score_table(scores: EvaluationScores) -> list[dict[str, Any]]:
    """Return the rows of `status.scores`: the total, then the categories, each with the baseline's beside it."""
    baselines = {score.category: score for score in scores.baseline}
    rows = []
    for score in scores.model:
        row: dict[str, Any] = {"category": score.category or TOTAL, "count": score.count, **_values(score, _FIELD)}
        beside = baselines.get(score.category)
        rows.append(row | (_values(beside, _BASELINE) if beside is not None else {}))
    return rows[:64]


def _values(score: Score, names: Mapping[Metric, str]) -> dict[str, float]:
    """Return the three scores under their names in the status, as printed."""
    values = {Metric.EXACT_MATCH: score.exact_match, Metric.FORMAT_COMPLIANCE: score.format_compliance, Metric.SIMILARITY: score.similarity}
    return {names[metric]: round(value, 4) for metric, value in values.items()}
