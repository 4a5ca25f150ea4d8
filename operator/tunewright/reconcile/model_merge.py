"""ModelMerge: fold an adapter into its base model."""

from datetime import datetime
from typing import Any

from tunewright.api.common import Kind
from tunewright.api.model_merge import ModelMergeSpec
from tunewright.build import Manifest
from tunewright.build.jobs import MODEL, merge_job
from tunewright.build.resolved import ResolvedModel
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri
from tunewright.reconcile.bounded import Outcome, after_end, blocked, only_job, plan, succeeded, with_claims
from tunewright.reconcile.conditions import Fact
from tunewright.reconcile.inputs import Blocked, base_of_job, output_uri, resolve_adapter, resolve_base, resolve_output
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.stage import StageState
from tunewright.reconcile.told import resolved, run_spec
from tunewright.reconcile.world import Body, World


def reconcile_model_merge(resource: Resource[ModelMergeSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for a ModelMerge."""
    return after_end(resource, now) or plan(resource, _next(resource, world, settings, now), now)


def _next(resource: Resource[ModelMergeSpec], world: World, settings: Settings, now: datetime) -> Outcome:
    """Return the next step of a merge that has not ended."""
    found = only_job(resource, "merge", "Merging", world, settings, lambda: _wanted(resource, world, settings))
    if isinstance(found, Blocked):
        return blocked(found)
    job, step, claims = found
    ready = Fact("InputsReady", True, "Resolved", "adapter and base model are known")
    fields = _inputs(job)
    if step.stage.state != StageState.SUCCEEDED:
        return with_claims(step.outcome((ready,), fields), claims)
    assert step.stage.result is not None
    output = output_uri(resource.kind, resource.name, resource.spec.output)
    return succeeded(step, resource, join_uri(output, MODEL), (ready,), fields, step.stage.result.message or "the merged model is published", now)


def _wanted(resource: Resource[ModelMergeSpec], world: World, settings: Settings) -> Manifest | Blocked:
    """Return the Job to make: only here are the inputs resolved."""
    output = resolve_output(resource.spec.output, resource.kind, resource.name, world)
    if isinstance(output, Blocked):
        return output
    model = _model(resource.spec, world)
    return model if isinstance(model, Blocked) else merge_job(resource.owner, resource.spec, model, output, settings)


def _model(spec: ModelMergeSpec, world: World) -> ResolvedModel | Blocked:
    """Resolve the adapter, and the base it was trained on unless another is named."""
    adapter = resolve_adapter(spec.adapter, world)
    if isinstance(adapter, Blocked):
        return adapter
    if spec.base is not None:
        base = resolve_base(spec.base, world)
    elif spec.adapter.ref is not None and (Kind.FINE_TUNE_JOB, spec.adapter.ref.name) in world.resources:
        base = base_of_job(spec.adapter.ref.name, world)
    else:
        base = Blocked("BadConfiguration", "`base` must be set when `adapter` is a `uri`")
    return base if isinstance(base, Blocked) else ResolvedModel(base, adapter)


def _inputs(job: Body) -> dict[str, Any]:
    """Return what the Job was told to merge, as it stands in the status."""
    model = run_spec(job).get("model", {})
    found = {name: resolved(model.get(name)) for name in ("base", "adapter")}
    return {name: source for name, source in found.items() if source}
