"""Which function reconciles which kind."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from tunewright.api.common import Kind
from tunewright.build.settings import Settings
from tunewright.reconcile.bounded import after_end, blocked, plan
from tunewright.reconcile.evaluation import reconcile_evaluation
from tunewright.reconcile.fine_tune_job import reconcile_fine_tune_job
from tunewright.reconcile.inference_service import reconcile_inference_service
from tunewright.reconcile.inputs import blocked_by_cycle
from tunewright.reconcile.model_merge import reconcile_model_merge
from tunewright.reconcile.plan import Plan
from tunewright.reconcile.resource import Resource, parse_resource
from tunewright.reconcile.world import World

Reconcile = Callable[[Resource[Any], World, Settings, datetime], Plan]

RECONCILERS: Final[Mapping[Kind, Reconcile]] = {
    Kind.FINE_TUNE_JOB: reconcile_fine_tune_job,
    Kind.MODEL_MERGE: reconcile_model_merge,
    Kind.EVALUATION: reconcile_evaluation,
    Kind.INFERENCE_SERVICE: reconcile_inference_service,
}


def reconcile(body: Mapping[str, Any], world: World, settings: Settings, now: datetime) -> Plan:
    """Return what to do next for the resource `body`. Raises pydantic.ValidationError when its spec is not of this version."""
    resource = parse_resource(body)
    if resource.deleting:
        # Garbage collection follows the owner references; there is nothing to do and no finalizer to take off.
        return Plan()
    # A Job that exists needs nobody any more, whatever was made since of the resources it once waited for.
    cycle = blocked_by_cycle(resource.kind, resource.name, body, world) if not world.of_kind("Job") else None
    if cycle is not None and resource.kind != Kind.INFERENCE_SERVICE:
        return after_end(resource, now) or plan(resource, blocked(cycle), now)
    return RECONCILERS[resource.kind](resource, world, settings, now)
