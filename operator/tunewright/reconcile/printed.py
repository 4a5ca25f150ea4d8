"""Figures as `kubectl get` prints them: short, and in Kubernetes' own units."""


def duration(seconds: int) -> str:
    """Return a duration as kubectl prints an age: `45s`, `3m`, `2h5m`, `3d4h`."""
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    if seconds < 172800:
        return f"{seconds // 3600}h{seconds % 3600 // 60}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600}h"


def size(size_bytes: int) -> str:
    """Return bytes as a Kubernetes quantity of three digits or so: `512`, `9.4Mi`, `260Mi`, `14Gi`."""
    value, unit = float(size_bytes), ""
    for unit in ("", "Ki", "Mi", "Gi", "Ti"):
        if value < 1024 or unit == "Ti":
            break
        value /= 1024
    return f"{value:.1f}{unit}" if unit and value < 10 else f"{value:.0f}{unit}"
