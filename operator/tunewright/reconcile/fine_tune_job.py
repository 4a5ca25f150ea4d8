"""FineTuneJob: prepare the data on CPU, then train."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tunewright.api.fine_tune_job import FineTuneJobSpec
from tunewright.build.jobs import ADAPTER, prepare_job, prepare_limits, train_job, train_limits
from tunewright.build.names import job_name
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri
from tunewright.contract.run_result import TrainMetrics
from tunewright.reconcile.bounded import Outcome, Step, advance, after_end, blocked, output_claim, plan, succeeded, with_claims
from tunewright.reconcile.conditions import Fact
from tunewright.reconcile.inputs import Blocked, frozen_base, output_uri, resolve_base, resolve_dataset, resolve_output
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.stage import StageState
from tunewright.reconcile.told import resolved, run_spec
from tunewright.reconcile.world import World


def reconcile_fine_tune_job(resource: Resource[FineTuneJobSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for a FineTuneJob."""
    return after_end(resource, now) or plan(resource, _next(resource, world, settings, now), now)


def _next(resource: Resource[FineTuneJobSpec], world: World, settings: Settings, now: datetime) -> Outcome:
    """Return the next step of a job that has not ended."""
    claims = output_claim(resource, resource.spec.storage, settings, world) if not resource.spec.suspend else ()
    if isinstance(claims, Blocked):
        return replace(blocked(claims), fields=_kept(resource))
    kept = _kept(resource)
    ready = Fact("InputsReady", True, "Resolved", "model and data set are known")

    if "dataDigest" not in kept:
        step = _prepare(resource, world, settings)
        if isinstance(step, Blocked):
            return replace(blocked(step), fields=kept)
        if step.stage.state != StageState.SUCCEEDED:
            unprepared = Fact("DataPrepared", False if step.state == "Failed" else None, step.facts[-1].reason, step.facts[-1].message)
            return with_claims(step.outcome((ready, unprepared), {**kept, **_base(step)}), claims)
        kept = {**kept, **step.fields, **_prepared(step)}

    prepared = Fact("DataPrepared", True, "Prepared", _data_message(kept.get("data", {})))
    step = _train(resource, kept, world, settings)
    if isinstance(step, Blocked):
        return replace(blocked(step), fields=kept)
    if step.stage.state != StageState.SUCCEEDED:
        return with_claims(step.outcome((ready, prepared), kept), claims)
    output = output_uri(resource.kind, resource.name, resource.spec.output)
    metrics = step.stage.result.train if step.stage.result else None
    message, fields, figures = _trained(metrics)
    return succeeded(step, resource, join_uri(output, ADAPTER), (ready, prepared), {**kept, **fields}, message, now, **figures)


def _prepare(resource: Resource[FineTuneJobSpec], world: World, settings: Settings) -> Step | Blocked:
    """Bring the CPU stage a step further; its inputs are resolved once, when its Job is made."""
    spec, name = resource.spec, job_name(resource.name, "prepare")
    wanted = None
    if world.child("Job", name) is None:
        output = resolve_output(spec.output, resource.kind, resource.name, world)
        model = resolve_base(spec.model, world)
        dataset = resolve_dataset(spec.dataset, "train", world)
        if isinstance(output, Blocked):
            return output
        if isinstance(model, Blocked):
            return model
        if isinstance(dataset, Blocked):
            return dataset
        wanted = prepare_job(resource.owner, spec, model, dataset, output, settings)
    return advance(world, name, "Preparing", wanted, prepare_limits(spec))


def _prepared(step: Step) -> dict[str, Any]:
    """Return what the CPU stage found, and the base model as it was resolved: both stay, whatever comes of where they came from."""
    result = step.stage.result
    assert result is not None
    assert result.artifact is not None
    return {
        **_base(step, result.model_uri),
        **({"data": result.data.model_dump(by_alias=True)} if result.data else {}),
        "dataDigest": result.artifact.digest,
    }


def _base(step: Step, pinned_uri: str | None = None) -> dict[str, Any]:
    """Return the base model that the CPU stage was told, under the uri it pinned."""
    job = step.stage.job or next(iter(step.create), None)
    base = resolved(run_spec(job).get("model"))
    return {"base": base | ({"uri": pinned_uri} if pinned_uri else {})} if base else {}


def _train(resource: Resource[FineTuneJobSpec], kept: Mapping[str, Any], world: World, settings: Settings) -> Step | Blocked:
    """Bring the training a step further, on the model and the rows that the CPU stage saw."""
    spec, name = resource.spec, job_name(resource.name, "train")
    wanted = None
    if world.child("Job", name) is None:
        output = resolve_output(spec.output, resource.kind, resource.name, world)
        if isinstance(output, Blocked):
            return output
        model = frozen_base(kept, spec.model) or resolve_base(spec.model, world)
        if isinstance(model, Blocked):
            return model
        wanted = train_job(resource.owner, spec, model, kept["dataDigest"], output, settings)
    return advance(world, name, "Training", wanted, train_limits(spec))


def _trained(metrics: TrainMetrics | None) -> tuple[str, dict[str, Any], dict[str, float | int | None]]:
    """Return the sentence, the status fields and the last figures of a finished training."""
    if metrics is None:
        return "the adapter is published", {}, {}
    message = f"the adapter of step {metrics.best_step or metrics.step} is published"
    if metrics.eval_loss is not None:
        message += f"; eval loss {metrics.eval_loss:.4f}"
    fields = {key: value for key, value in metrics.model_dump(by_alias=True, exclude_none=True).items() if key not in ("step", "totalSteps")}
    figures: dict[str, float | int | None] = {
        "step": metrics.step,
        "totalSteps": metrics.total_steps,
        "loss": round(metrics.loss, 4),
        "evalLoss": None if metrics.eval_loss is None else round(metrics.eval_loss, 4),
        "tokensPerSecond": None if metrics.tokens_per_second is None else round(metrics.tokens_per_second, 1),
    }
    return message, {"metrics": fields}, figures


def _kept(resource: Resource[FineTuneJobSpec]) -> dict[str, Any]:
    """Return the status fields that, once known, stay."""
    return {key: resource.status[key] for key in ("base", "data", "dataDigest", "failures") if key in resource.status}


def _data_message(data: Mapping[str, Any]) -> str:
    """Return the sentence of the `DataPrepared` condition."""
    if not data:
        return "the data is prepared"
    left_out = ", ".join(f"{data[key]} {word}" for key, word in (("invalid", "invalid"), ("duplicates", "duplicate"), ("tooLong", "too long")) if data.get(key))
    return f"{data['train']} rows to train on, {data['evaluation']} held out, of {data['rows']} read" + (f" ({left_out})" if left_out else "")
