"""FineTuneJob: prepare the data on CPU, then train."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tunewright.api.fine_tune_job import FineTuneJobSpec
from tunewright.build.jobs import ADAPTER, prepare_job, train_job
from tunewright.build.resolved import ResolvedSource
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri
from tunewright.contract.run_result import DataCounts
from tunewright.reconcile.bounded import Outcome, advance, after_end, blocked, output_claim, plan, succeeded, with_claims
from tunewright.reconcile.conditions import Fact
from tunewright.reconcile.inputs import Blocked, resolve_base, resolve_dataset, resolve_output
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.stage import StageState
from tunewright.reconcile.world import World


def reconcile_fine_tune_job(resource: Resource[FineTuneJobSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for a FineTuneJob."""
    return after_end(resource, now) or plan(resource, _next(resource, world, settings, now), now)


def _next(resource: Resource[FineTuneJobSpec], world: World, settings: Settings, now: datetime) -> Outcome:
    """Return the next step of a job that has not ended."""
    spec = resource.spec
    output = resolve_output(spec.output, resource.kind, resource.name, world)
    model = _model(resource, world)
    # Once the rows are prepared, where they came from may go.
    dataset = None if "dataDigest" in resource.status else resolve_dataset(spec.dataset, "train", world)
    for each in (output, model, dataset):
        if isinstance(each, Blocked):
            return replace(blocked(each), fields=_frozen(resource))
    assert isinstance(output, str)
    assert isinstance(model, ResolvedSource)
    claims = output_claim(resource, spec.storage, settings, world)
    if isinstance(claims, Blocked):
        return blocked(claims)
    if claims and spec.suspend:
        claims = ()
    ready = Fact("InputsReady", True, "Resolved", "model and data set are known")
    kept = _kept(resource, model)

    if isinstance(dataset, ResolvedSource):
        step = advance(world, prepare_job(resource.owner, spec, model, dataset, output, settings), "Preparing")
        if step.stage.state != StageState.SUCCEEDED:
            unprepared = Fact("DataPrepared", False if step.state == "Failed" else None, step.facts[-1].reason, step.facts[-1].message)
            return with_claims(step.outcome((ready, unprepared), kept), claims)
        result = step.stage.result
        assert result is not None
        assert result.artifact is not None
        kept = {**kept, **({"data": _counts(result.data)} if result.data else {}), "dataDigest": result.artifact.digest}

    prepared = Fact("DataPrepared", True, "Prepared", _data_message(kept.get("data", {})))
    step = advance(world, train_job(resource.owner, spec, model, kept["dataDigest"], output, settings), "Training")
    if step.stage.state != StageState.SUCCEEDED:
        return with_claims(step.outcome((ready, prepared), kept), claims)
    assert step.stage.result is not None
    metrics = step.stage.result.train
    fields = dict(kept)
    message = "the adapter is published"
    figures: dict[str, float | int | None] = {}
    if metrics is not None:
        fields["metrics"] = {key: value for key, value in metrics.model_dump(by_alias=True, exclude_none=True).items() if key not in ("step", "totalSteps")}
        message = f"the adapter of step {metrics.best_step or metrics.step} is published" + (
            f"; eval loss {metrics.eval_loss:.4f}" if metrics.eval_loss is not None else ""
        )
        figures = {
            "step": metrics.step, "totalSteps": metrics.total_steps, "loss": round(metrics.loss, 4),
            "evalLoss": round(metrics.eval_loss, 4) if metrics.eval_loss is not None else None,
            "tokensPerSecond": round(metrics.tokens_per_second, 1) if metrics.tokens_per_second is not None else None,
        }  # fmt: skip
    return succeeded(step, resource, join_uri(output, ADAPTER), (ready, prepared), fields, message, now, **figures)


def _model(resource: Resource[FineTuneJobSpec], world: World) -> ResolvedSource | Blocked:
    """Resolve the base model, or take what was frozen when the job began: its ModelMerge may be gone by now."""
    frozen = resource.status.get("base")
    if frozen is not None:
        return ResolvedSource.of_artifact(frozen)
    return resolve_base(resource.spec.model, world)


def _frozen(resource: Resource[FineTuneJobSpec]) -> dict[str, Any]:
    """Return what the status holds of it already."""
    return {key: resource.status[key] for key in ("base", "data", "dataDigest", "failures") if key in resource.status}


def _kept(resource: Resource[FineTuneJobSpec], model: ResolvedSource) -> dict[str, Any]:
    """Return the status fields that, once known, stay: what the inputs were resolved to, and the prepared data."""
    kept = _frozen(resource)
    if model.digest is not None:
        kept["base"] = model.artifact()
    return kept


def _counts(data: DataCounts) -> dict[str, Any]:
    """Return the counts as they stand in the status."""
    return data.model_dump(by_alias=True)


def _data_message(data: Mapping[str, Any]) -> str:
    """Return the sentence of the `DataPrepared` condition."""
    if not data:
        return "the data is prepared"
    left_out = ", ".join(f"{data[key]} {word}" for key, word in (("invalid", "invalid"), ("duplicates", "duplicate"), ("tooLong", "too long")) if data.get(key))
    return f"{data['train']} rows to train on, {data['evaluation']} held out, of {data['rows']} read" + (f" ({left_out})" if left_out else "")
