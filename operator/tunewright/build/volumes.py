"""How `pvc://` and `configmap://` locations become volumes: a location's path in a Pod follows from its URI alone."""

from collections.abc import Iterable

from tunewright.build import Manifest
from tunewright.contract.uris import Scheme, parse_uri


def mounted_path(uri: str) -> str | None:
    """Return where `uri` is in a Pod that mounts it, or None for a location that is downloaded."""
    location = parse_uri(uri)
    match location.scheme:
        case Scheme.PVC:
            return f"/volumes/{location.root}/{location.path}".rstrip("/")
        case Scheme.CONFIGMAP:
            return f"/configmaps/{location.root}/{location.path}"
        case Scheme.HF | Scheme.S3:
            return None


def join_uri(uri: str, name: str) -> str:
    """Return the location `name` below the directory `uri`."""
    return f"{uri.rstrip('/')}/{name}"


def volumes(uris: Iterable[str], writable: str | None = None) -> tuple[list[Manifest], list[Manifest]]:
    """Return the Pod's volumes and the container's mounts for `uris`.

    A claim is mounted once however many locations it has; only the claim of the location `writable` can be written.
    """
    claims: dict[str, bool] = {}
    configmaps: dict[str, set[str]] = {}
    for uri in [*uris, *([writable] if writable else [])]:
        location = parse_uri(uri)
        if location.scheme == Scheme.PVC:
            claims[location.root] = claims.get(location.root, False) or uri == writable
        elif location.scheme == Scheme.CONFIGMAP:
            configmaps.setdefault(location.root, set()).add(location.path)
    made: list[Manifest] = []
    mounts: list[Manifest] = []
    for number, (claim, is_writable) in enumerate(sorted(claims.items())):
        name = f"claim-{number}"
        made.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": name, "mountPath": f"/volumes/{claim}", **({} if is_writable else {"readOnly": True})})
    for number, (configmap, keys) in enumerate(sorted(configmaps.items())):
        name = f"configmap-{number}"
        made.append({"name": name, "configMap": {"name": configmap, "items": [{"key": key, "path": key} for key in sorted(keys)]}})
        mounts.append({"name": name, "mountPath": f"/configmaps/{configmap}", "readOnly": True})
    return made, mounts
