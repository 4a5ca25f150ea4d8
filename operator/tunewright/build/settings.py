"""What the chart's values decide for every object the operator makes."""

from dataclasses import dataclass, field
from typing import Literal

from tunewright.api.common import CpuResources


@dataclass(frozen=True)
class ContainerDefaults:
    """Requests, in Kubernetes quantities, of a Pod whose resource does not name its own; `memory_limit` guards the node."""

    cpu: str
    memory: str
    memory_limit: str


@dataclass(frozen=True)
class Settings:
    """Images, defaults and environment. `server_device` is the one difference between a GPU cluster and a CPU one."""

    trainer_image: str
    server_image: str
    server_device: Literal["GPU", "CPU"] = "GPU"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    access_mode: str = "ReadWriteOnce"
    hub_endpoint: str | None = None
    trainer_env: dict[str, str] = field(default_factory=dict)
    server_env: dict[str, str] = field(default_factory=dict)
    server_args: tuple[str, ...] = ()
    cpu_stage: ContainerDefaults = ContainerDefaults("500m", "2Gi", "8Gi")
    train_stage: ContainerDefaults = ContainerDefaults("1", "8Gi", "64Gi")
    server: ContainerDefaults = ContainerDefaults("1", "4Gi", "64Gi")


def requests(resources: CpuResources, gpus: int, defaults: ContainerDefaults) -> dict[str, dict[str, str]]:
    """Return a container's `resources`. A memory the user names is request and limit; GPUs are both by Kubernetes' rule."""
    memory = resources.memory
    result = {
        "requests": {"cpu": resources.cpu or defaults.cpu, "memory": memory or defaults.memory},
        "limits": {"memory": memory or defaults.memory_limit},
    }
    if gpus:
        result["limits"]["nvidia.com/gpu"] = str(gpus)
    return result
