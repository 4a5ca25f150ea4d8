"""Sources of a spec resolved against the world: to locations with digests, or to what is missing, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunewright.api.common import AdapterSource, AnyModelSource, BaseModelSource, DatasetSource, Kind, Output
from tunewright.build.names import claim_name
from tunewright.build.resolved import ResolvedModel, ResolvedSource
from tunewright.build.volumes import join_uri
from tunewright.contract.uris import Scheme, parse_uri
from tunewright.reconcile.conditions import condition, is_true
from tunewright.reconcile.references import find_cycle
from tunewright.reconcile.world import Body, World


@dataclass(frozen=True)
class Blocked:
    """What a resource waits for; `message` names it."""

    reason: str
    message: str


def blocked_by_cycle(kind: Kind, name: str, body: Body, world: World) -> Blocked | None:
    """Return the cycle that `name` is part of, as a path."""
    cycle = find_cycle((kind, name), {**world.resources, (kind, name): body})
    if cycle is None:
        return None
    path = " -> ".join(f"{each_kind} `{each_name}`" for each_kind, each_name in cycle)
    return Blocked("ReferenceCycle", f"these resources wait for each other: {path}; delete one and create it without the reference")


def resolve_base(source: BaseModelSource, world: World) -> ResolvedSource | Blocked:
    """Resolve a full model."""
    if source.ref is None:
        return _located(source.uri, source.secret_name, world)
    artifact = _artifact(Kind.MODEL_MERGE, source.ref.name, world)
    return artifact if isinstance(artifact, Blocked) else ResolvedSource.of_artifact(artifact)


def resolve_adapter(source: AdapterSource, world: World) -> ResolvedSource | Blocked:
    """Resolve an adapter."""
    if source.ref is None:
        return _located(source.uri, source.secret_name, world)
    artifact = _artifact(Kind.FINE_TUNE_JOB, source.ref.name, world)
    return artifact if isinstance(artifact, Blocked) else ResolvedSource.of_artifact(artifact, _rank(source.ref.name, world))


def resolve_any(source: AnyModelSource, world: World) -> ResolvedModel | Blocked:
    """Resolve a model; a FineTuneJob's is its base model with its adapter on top."""
    if source.ref is not None and source.ref.kind == Kind.FINE_TUNE_JOB.value:
        artifact = _artifact(Kind.FINE_TUNE_JOB, source.ref.name, world)
        if isinstance(artifact, Blocked):
            return artifact
        base = base_of_job(source.ref.name, world)
        return base if isinstance(base, Blocked) else ResolvedModel(base, ResolvedSource.of_artifact(artifact, _rank(source.ref.name, world)))
    base = resolve_base(BaseModelSource.model_validate(source.model_dump()), world)
    return base if isinstance(base, Blocked) else ResolvedModel(base)


def base_of_job(name: str, world: World) -> ResolvedSource | Blocked:
    """Resolve the base model a finished FineTuneJob trained on: what its status froze, or the location in its spec."""
    body = world.resources[Kind.FINE_TUNE_JOB, name]
    source = BaseModelSource.model_validate(body["spec"]["model"])
    return frozen_base(body.get("status", {}), source) or resolve_base(source, world)


def frozen_base(status: Mapping[str, Any], source: BaseModelSource) -> ResolvedSource | None:
    """Return the base model that the status of a FineTuneJob froze when its data was prepared, to be read with the credentials of its `source`."""
    base = status.get("base")
    return None if base is None else ResolvedSource(uri=base["uri"], digest=base.get("digest"), secret_name=source.secret_name)


def resolve_dataset(source: DatasetSource, rows: Literal["train", "eval"], world: World) -> ResolvedSource | Blocked:
    """Resolve a data set; of a FineTuneJob's it is the rows it trained on or the rows it held out."""
    if source.ref is None:
        return _located(source.uri, source.secret_name, world)
    name = source.ref.name
    body = world.resources.get((Kind.FINE_TUNE_JOB, name))
    if body is None:
        return _missing(Kind.FINE_TUNE_JOB, name)
    digest = body.get("status", {}).get("dataDigest")
    if digest is None:
        return _unfinished(Kind.FINE_TUNE_JOB, name, body)
    data = join_uri(output_uri(Kind.FINE_TUNE_JOB, name, _output(body)), "data")
    return ResolvedSource(uri=join_uri(data, f"{rows}.jsonl"), digest=digest)


def resolve_output(output: Output | None, kind: Kind, name: str, world: World) -> str | Blocked:
    """Return the location results go to: the given one, which must exist, or the claim that will be made."""
    if output is not None:
        missing = _missing_place(output.uri, world)
        if missing is not None:
            return missing
    return output_uri(kind, name, output)


def output_uri(kind: Kind, name: str, output: Output | None) -> str:
    """Return the location below which a resource publishes."""
    return output.uri.rstrip("/") if output else f"pvc://{claim_name(kind, name)}"


def _located(uri: str | None, secret_name: str | None, world: World) -> ResolvedSource | Blocked:
    """Resolve a location, which must exist as far as the operator can see."""
    if uri is None:
        return Blocked("BadConfiguration", "`uri` or `ref` must be set")
    return _missing_place(uri, world) or ResolvedSource(uri=uri, secret_name=secret_name)


def _missing_place(uri: str, world: World) -> Blocked | None:
    """Return the claim, ConfigMap or key of `uri` that does not exist."""
    try:
        location = parse_uri(uri)
    except ValueError as error:
        return Blocked("BadConfiguration", str(error))
    if location.scheme == Scheme.PVC and location.root not in world.claims:
        return Blocked("ClaimNotFound", f"the PersistentVolumeClaim `{location.root}` of `{uri}` does not exist in this namespace; it is waited for")
    if location.scheme == Scheme.CONFIGMAP:
        keys = world.configmaps.get(location.root)
        if keys is None:
            return Blocked("ConfigMapNotFound", f"the ConfigMap `{location.root}` of `{uri}` does not exist in this namespace; it is waited for")
        if location.path not in keys:
            return Blocked(
                "KeyNotFound", f"the ConfigMap `{location.root}` has no key `{location.path}`; it has {', '.join(f'`{key}`' for key in sorted(keys)) or 'none'}"
            )
    return None


def _artifact(kind: Kind, name: str, world: World) -> dict[str, Any] | Blocked:
    """Return the artifact a referenced resource published, or what is missing until it has."""
    body = world.resources.get((kind, name))
    if body is None:
        return _missing(kind, name)
    status = body.get("status", {})
    if "deletionTimestamp" in body["metadata"]:
        return Blocked(f"WaitingFor{kind}", f"{kind} `{name}` is being deleted; a new one of that name is waited for")
    if is_true(status, "Succeeded") and "artifact" in status:
        return dict(status["artifact"])
    return _unfinished(kind, name, body)


def _missing(kind: Kind, name: str) -> Blocked:
    """Return the wait for a resource that is not there."""
    return Blocked(f"WaitingFor{kind}", f"{kind} `{name}` does not exist in this namespace; it is waited for")


def _unfinished(kind: Kind, name: str, body: Body) -> Blocked:
    """Return the wait for a resource that has not succeeded."""
    status = body.get("status", {})
    found = condition(status, "Succeeded")
    if found is not None and found["status"] == "False":
        return Blocked("InputFailed", f"{kind} `{name}` failed ({found['reason']}): {found['message']}")
    # How far it has come is for its own status to say: said here too, each of its steps would be a write of all who wait for it. It does not go on by itself
    # only where a person stopped it.
    stopped = ", which is suspended" if status.get("state") == "Suspended" else ""
    return Blocked(f"WaitingFor{kind}", f"waiting for {kind} `{name}`{stopped}")


def _output(body: Body) -> Output | None:
    """Return the `output` of a resource that is only seen raw."""
    output = body["spec"].get("output")
    return Output.model_validate(output) if output else None


def _rank(name: str, world: World) -> int | None:
    """Return the rank a FineTuneJob gave its adapter."""
    rank: int | None = world.resources[Kind.FINE_TUNE_JOB, name]["spec"].get("lora", {}).get("rank")
    return rank
