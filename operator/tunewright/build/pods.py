"""Pod specs that a namespace with Pod Security `restricted` admits: no token, no privilege, a read-only root."""

from collections.abc import Iterable
from typing import Final

from tunewright.api.common import CpuResources
from tunewright.build import Manifest
from tunewright.build.resolved import ResolvedSource
from tunewright.build.settings import ContainerDefaults, Settings, requests
from tunewright.build.volumes import volumes
from tunewright.contract.run_spec import PROGRESS_PORT, RUN_SPEC_ENV, TERMINATION_MESSAGE_PATH
from tunewright.contract.secrets import SECRET_PREFIX
from tunewright.contract.wire import Wire

USER: Final = 65532
"""The `nonroot` user of distroless images; the volume's group, so that every Pod can read what another wrote."""

CONTAINER_SECURITY: Final[Manifest] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_spec(settings: Settings, resources: CpuResources, gpus: int, made_volumes: list[Manifest], containers: list[Manifest], **more: object) -> Manifest:
    """Return a restricted Pod spec around `containers`; `more` are fields of the Pod spec."""
    result: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # Without this the kubelet walks every file of a volume at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "tmp", "emptyDir": {}}, *made_volumes],
        "containers": containers,
        **more,
    }
    if settings.image_pull_secrets:
        result["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if resources.node_selector:
        result["nodeSelector"] = {term.key: term.value for term in resources.node_selector}
    tolerations = [_toleration(each.key, each.value, each.effect) for each in resources.tolerations or ()]
    if gpus:
        # Most GPU node pools are tainted so; asking for a GPU is reason enough to tolerate it.
        tolerations.append(_toleration("nvidia.com/gpu", None, "NoSchedule"))
    if tolerations:
        result["tolerations"] = tolerations
    return result


def trainer_container(settings: Settings, name: str, spec: Wire, sources: Iterable[ResolvedSource], requested: Manifest, mounts: list[Manifest]) -> Manifest:
    """Return a container that runs `spec` with the trainer image; secrets are only named, the kubelet mounts them."""
    # Without the last one, boto3 would use the node's own rights where a user gives no credentials.
    env = {"HOME": "/tmp", RUN_SPEC_ENV: spec.to_json(), "AWS_EC2_METADATA_DISABLED": "true", **settings.trainer_env}
    if settings.hub_endpoint:
        env["HF_ENDPOINT"] = settings.hub_endpoint
    secrets = sorted({source.secret_name for source in sources if source.secret_name})
    container: Manifest = {
        "name": name,
        "image": settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": [{"name": key, "value": value} for key, value in sorted(env.items())],
        "ports": [{"name": "progress", "containerPort": PROGRESS_PORT}],
        "resources": requested,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": TERMINATION_MESSAGE_PATH,
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
    }
    if secrets:
        container["envFrom"] = [{"prefix": SECRET_PREFIX, "secretRef": {"name": secret}} for secret in secrets]
    return container


def trainer_pod(
    settings: Settings, stage: str, spec: Wire, sources: Iterable[ResolvedSource], *,
    writable: str, resources: CpuResources, gpus: int, defaults: ContainerDefaults, grace_seconds: int,
) -> Manifest:  # fmt: skip
    """Return the Pod spec of one stage. `writable` is the location it publishes to, `grace_seconds` its time to save on SIGTERM."""
    sources = tuple(sources)
    made, mounts = volumes([source.uri for source in sources], writable)
    if gpus:
        # Data loaders and NCCL talk through /dev/shm, whose default of 64 MiB is too small.
        made.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    container = trainer_container(settings, stage, spec, sources, requests(resources, gpus, defaults), mounts)
    return pod_spec(settings, resources, gpus, made, [container], restartPolicy="Never", terminationGracePeriodSeconds=grace_seconds)


def _toleration(key: str, value: str | None, effect: str | None) -> Manifest:
    """Return a toleration of one value of a taint, or of every value."""
    match = {"operator": "Equal", "value": value} if value is not None else {"operator": "Exists"}
    return {"key": key, **match, **({"effect": effect} if effect else {})}
