"""The Deployment and Service of an InferenceService: vLLM behind a verified copy of the model."""

from typing import Final

from tunewright.api.inference_service import InferenceServiceSpec
from tunewright.build import Manifest
from tunewright.build.names import MODEL_DIGEST, MODEL_URI, labels, metadata, with_hash
from tunewright.build.pods import CONTAINER_SECURITY, pod_spec, trainer_container
from tunewright.build.resolved import ResolvedSource
from tunewright.build.settings import Settings, requests
from tunewright.build.volumes import volumes
from tunewright.contract.run_spec import FetchSpec, Owner

PORT: Final = 8000
STAGE: Final = "server"
_MODELS: Final = "/models"
_LORA_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be (vllm/config/lora.py, MaxLoRARanks)."""
_LEAVE_SECONDS: Final = 10
"""A Pod that ends goes on answering so long: until every node has stopped sending it new requests."""
_DRAIN_SECONDS: Final = 40
"""Then vLLM refuses new requests and finishes those it has; by default it would abort them."""
_MARGIN_SECONDS: Final = 10
_STARTUP_MINUTES: Final = 60
"""How long loading may take before the Pod counts as stuck: a 70B model from cold storage is slow."""


def deployment_name(name: str) -> str:
    """Return the name of the Deployment of the InferenceService `name`."""
    return f"{name}-{STAGE}"


def url(owner: Owner) -> str:
    """Return the base URL of the OpenAI API inside the cluster."""
    return f"http://{owner.name}.{owner.namespace}.svc:{PORT}/v1"


def deployment(owner: Owner, spec: InferenceServiceSpec, model: ResolvedSource, adapters: dict[str, ResolvedSource], settings: Settings) -> Manifest:
    """Return the Deployment. An old Pod stays until a new one answers, so a model that does not load takes nothing down."""
    sources = (model, *adapters.values())
    made, mounts = volumes([source.uri for source in sources])
    fetch = FetchSpec(owner=owner, model=model.source(), adapters={name: each.source() for name, each in adapters.items()}, output_dir=_MODELS)
    cpu_stage = requests(spec.resources.model_copy(update={"cpu": None, "memory": None}), 0, settings.cpu_stage)
    models_mount = {"name": "models", "mountPath": _MODELS}
    pod = pod_spec(
        settings, spec.resources, spec.resources.gpus,
        [*made, {"name": "models", "emptyDir": {}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}],
        [_server(owner, spec, adapters, settings, [*mounts, models_mount, {"name": "shm", "mountPath": "/dev/shm"}])],
        initContainers=[trainer_container(settings, "fetch", fetch, sources, cpu_stage, [*mounts, models_mount])],
        terminationGracePeriodSeconds=_LEAVE_SECONDS + _DRAIN_SECONDS + _MARGIN_SECONDS,
    )  # fmt: skip
    annotations = {MODEL_URI: model.uri} | ({MODEL_DIGEST: model.digest} if model.digest else {})
    return with_hash({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(owner, deployment_name(owner.name), STAGE, annotations),
        "spec": {
            "replicas": spec.replicas,
            "progressDeadlineSeconds": _STARTUP_MINUTES * 60 + 60,
            "selector": {"matchLabels": labels(owner, STAGE)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels(owner, STAGE), "annotations": annotations}, "spec": pod},
        },
    })  # fmt: skip


def service(owner: Owner) -> Manifest:
    """Return the Service in front of the server's Pods."""
    return with_hash({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, owner.name),
        "spec": {
            "selector": labels(owner, STAGE),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    })  # fmt: skip


def _server(owner: Owner, spec: InferenceServiceSpec, adapters: dict[str, ResolvedSource], settings: Settings, mounts: list[Manifest]) -> Manifest:
    """Return the vLLM container; the public image and the CPU image take the same arguments."""
    health = {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 5}
    env = {
        "HOME": "/tmp",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": "/tmp/vllm",
        "XDG_CACHE_HOME": "/tmp/cache",
        **settings.server_env,
    }
    return {
        "name": STAGE,
        "image": settings.server_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": server_args(owner.name, spec, adapters, settings),
        "env": [{"name": key, "value": value} for key, value in sorted(env.items())],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": requests(spec.resources, spec.resources.gpus, settings.server),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
        "startupProbe": {**health, "periodSeconds": 5, "failureThreshold": _STARTUP_MINUTES * 12},
        "readinessProbe": {**health, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**health, "periodSeconds": 15, "failureThreshold": 4},
    }


def server_args(name: str, spec: InferenceServiceSpec, adapters: dict[str, ResolvedSource], settings: Settings) -> list[str]:
    """Return the arguments of `vllm serve`."""
    args = [f"{_MODELS}/model", "--served-model-name", name, "--port", str(PORT), "--max-model-len", str(spec.max_model_len)]
    args += ["--shutdown-timeout", str(_DRAIN_SECONDS)]
    if settings.server_device == "GPU":
        args += ["--gpu-memory-utilization", str(spec.gpu_memory_utilization), "--tensor-parallel-size", str(max(spec.resources.gpus, 1))]
    if adapters:
        args += ["--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", str(_max_rank(adapters)), "--lora-modules"]
        args += [f"{adapter}={_MODELS}/adapters/{adapter}" for adapter in sorted(adapters)]
    return [*args, *settings.server_args]


def _max_rank(adapters: dict[str, ResolvedSource]) -> int:
    """Return the least rank of those vLLM offers that fits every adapter; an adapter of unknown rank may have up to 64."""
    rank = max(adapter.lora_rank or 64 for adapter in adapters.values())
    return next(each for each in _LORA_RANKS if each >= rank)
