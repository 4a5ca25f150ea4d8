"""Pod Security `restricted`, as a function: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_VOLUMES: Final = frozenset({"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"})
_SECCOMP: Final = frozenset({"RuntimeDefault", "Localhost"})


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Return what the standard `restricted` refuses of a Pod spec, each with the field's path; empty means it is admitted."""
    return [*_of_pod(pod), *(each for field, container in containers(pod) for each in _of_container(f"{field}[{container['name']}]", container, pod))]


def containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every container of a Pod spec with the name of its list."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(field, []):
            yield field, container


def _of_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} must be false"
    security = pod.get("securityContext", {})
    if security.get("runAsUser") == 0:
        yield "securityContext.runAsUser must not be 0"
    if security.get("sysctls"):
        yield "securityContext.sysctls must be absent"
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volumes[{volume['name']}] must not be a {kind}"


def _of_container(path: str, container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    security = container.get("securityContext", {})
    whole = pod.get("securityContext", {})
    if security.get("privileged"):
        yield f"{path}.securityContext.privileged must be false"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{path}.securityContext.allowPrivilegeEscalation must be false"
    if security.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield f"{path}.securityContext.runAsNonRoot must be true"
    if security.get("runAsUser") == 0:
        yield f"{path}.securityContext.runAsUser must not be 0"
    if (security.get("seccompProfile") or whole.get("seccompProfile") or {}).get("type") not in _SECCOMP:
        yield f"{path}.securityContext.seccompProfile.type must be RuntimeDefault or Localhost"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{path}.securityContext.capabilities.drop must have ALL"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{path}.securityContext.capabilities.add may have NET_BIND_SERVICE only"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{path}.ports.hostPort must be absent"
