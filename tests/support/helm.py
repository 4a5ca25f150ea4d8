"""The chart as `helm template` renders it: real helm, of the pinned version."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts/tunewright"
RELEASE: Final = "tunewright"
NAMESPACE: Final = "tunewright-system"


def service_account_name(release: str) -> str:
    """Return the user name of the service account of a release."""
    return f"system:serviceaccount:{NAMESPACE}:{release}"


def helm() -> Path:
    """Return the pinned helm, built once by hack/cluster/build."""
    cache = os.environ.get("TUNEWRIGHT_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"), "tunewright")  # noqa: PTH118
    pins = dict(line.split("=", 1) for line in (ROOT / "hack/versions.env").read_text().splitlines() if "=" in line and not line.startswith("#"))
    found = Path(cache) / "bin" / f"helm-{pins['HELM_VERSION']}" / "helm"
    if not found.exists():
        subprocess.run([ROOT / "hack/cluster/build", "helm"], check=True)
    return found


def helm_template(release: str = RELEASE, **values: Any) -> subprocess.CompletedProcess[str]:
    """Run `helm template` with `values`, once for all tests; it fails where the chart's schema refuses them."""
    return _run(release, json.dumps(values, sort_keys=True))


@cache
def _run(release: str, values: str) -> subprocess.CompletedProcess[str]:
    command = [helm(), "template", release, CHART, "--namespace", NAMESPACE, "--kube-version", "1.34.0", "--values", "-"]
    return subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)


def rendered(release: str = RELEASE, **values: Any) -> list[dict[str, Any]]:
    """Return the objects the chart makes with `values`, without the CRDs, which are most of the text and are tested by themselves."""
    done = helm_template(release, **{"crds": {"install": False}, **values})
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """Return the objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]
