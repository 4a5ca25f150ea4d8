"""ModelMerge: fold an adapter into its base model."""

from datetime import datetime
from typing import Any

from tunewright.api.common import Kind
from tunewright.api.model_merge import ModelMergeSpec
from tunewright.build.jobs import MODEL, merge_job
from tunewright.build.resolved import ResolvedModel, ResolvedSource
from tunewright.build.settings import Settings
from tunewright.build.volumes import join_uri
from tunewright.reconcile.bounded import Outcome, advance, after_end, blocked, output_claim, plan, succeeded, with_claims
from tunewright.reconcile.conditions import Fact
from tunewright.reconcile.inputs import Blocked, base_of_job, resolve_adapter, resolve_base, resolve_output
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource
from tunewright.reconcile.stage import StageState
from tunewright.reconcile.world import World


def reconcile_model_merge(resource: Resource[ModelMergeSpec], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for a ModelMerge."""
    return after_end(resource, now) or plan(resource, _next(resource, world, settings, now), now)


def _next(resource: Resource[ModelMergeSpec], world: World, settings: Settings, now: datetime) -> Outcome:
    """Return the next step of a merge that has not ended."""
    spec = resource.spec
    output = resolve_output(spec.output, resource.kind, resource.name, world)
    if isinstance(output, Blocked):
        return blocked(output)
    model = _model(spec, world)
    if isinstance(model, Blocked):
        return blocked(model)
    claims = output_claim(resource, spec.storage, settings, world)
    if isinstance(claims, Blocked):
        return blocked(claims)
    ready = Fact("InputsReady", True, "Resolved", "adapter and base model are known")
    fields = _inputs(model)
    step = advance(world, merge_job(resource.owner, spec, model, output, settings), "Merging")
    if step.stage.state != StageState.SUCCEEDED:
        return with_claims(step.outcome((ready,), fields), claims)
    assert step.stage.result is not None
    return succeeded(step, resource, join_uri(output, MODEL), (ready,), fields, step.stage.result.message or "the merged model is published", now)


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


def _inputs(model: ResolvedModel) -> dict[str, Any]:
    """Return the inputs that resources of this cluster made, as they stand in the status."""
    named: dict[str, ResolvedSource | None] = {"base": model.base, "adapter": model.adapter}
    return {
        name: {"uri": each.uri, "digest": each.digest, "sizeBytes": each.size_bytes}
        for name, each in named.items()
        if each is not None and each.digest is not None
    }
