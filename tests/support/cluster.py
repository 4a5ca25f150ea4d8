"""The end-to-end tests' view of the cluster: real kubectl, and waiting with a reason."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("TUNEWRIGHT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunewright")
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
OPERATOR = ("--namespace", "tunewright-system")


class Cluster:
    """kubectl in one namespace."""

    def __init__(self, namespace: str) -> None:
        kubeconfig = subprocess.run([REPO / "hack/cluster/kubeconfig"], check=True, capture_output=True, text=True).stdout.strip()
        self.namespace = namespace
        self.base = [str(CACHE / "bin/current/kubectl"), "--kubeconfig", kubeconfig]

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, system: bool = False) -> str:
        """Run kubectl; return its output, both streams where it may fail."""
        where = () if system else ("--namespace", self.namespace)
        done = subprocess.run([*self.base, *where, *arguments], input=stdin, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, kind: str, name: str = "", *selector: str) -> Any:
        """Return an object, or the items of a list; None for an object that is not there."""
        arguments = ["get", kind, *([name] if name else []), *selector, "--output", "json", "--ignore-not-found"]
        text = self.kubectl(*arguments)
        if not text:
            return None if name else []
        answer = json.loads(text)
        return answer if name else answer["items"]

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        self.kubectl("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Return the status of a resource, empty while there is none."""
        found: dict[str, Any] = (self.get(kind, name) or {}).get("status", {})
        return found

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """Return one condition, empty while there is none."""
        return next((each for each in self.status(kind, name).get("conditions", []) if each["type"] == type_), {})

    def wait(self, what: str, seconds: float, check: Callable[[], Any]) -> Any:
        """Poll until `check` returns something true; fails with the state of everything after `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = check()
            if found:
                return found
            time.sleep(1)
        raise AssertionError(f"not within {seconds:.0f} s: {what}\n" + self.kubectl("get", "ftj,mmerge,tfeval,tfisvc,jobs,pods,pvc,events", check=False))

    @contextmanager
    def forwarded(self, target: str, port: int, namespace: str | None = None) -> Iterator[int]:
        """Forward a local port; yields it."""
        command = [*self.base, "--namespace", namespace or self.namespace, "port-forward", target, f":{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split("->")[0].rsplit(":", 1)[1])
        finally:
            process.terminate()
            process.wait()


def trainer_pod(cluster: Cluster, name: str, script: str, claims: dict[str, str], **container: Any) -> dict[str, Any]:
    """Return a restricted Pod of the trainer's image that runs a Python script, with claims mounted."""
    operator = json.loads(cluster.kubectl("get", "deployment", "tunewright", "--namespace", "tunewright-system", "--output", "json", system=True))
    settings = json.loads(next(each["value"] for each in operator["spec"]["template"]["spec"]["containers"][0]["env"] if each["name"] == "TUNEWRIGHT_SETTINGS"))
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [*({"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims), {"name": "tmp", "emptyDir": {}}],
            "containers": [{
                "name": "run", "image": settings["trainer_image"], "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", script],
                "env": [{"name": "HF_ENDPOINT", "value": settings["hub_endpoint"]}, {"name": "HOME", "value": "/tmp"}],
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [*({"name": claim, "mountPath": path} for claim, path in claims.items()), {"name": "tmp", "mountPath": "/tmp"}],
                **container,
            }],
        },
    }  # fmt: skip


def audited(user: str) -> list[dict[str, Any]]:
    """Return what the API server's audit log holds of `user`, the oldest first; skips where the cluster is not ours to audit."""
    done = subprocess.run([REPO / "hack/cluster/audit-log"], capture_output=True, text=True)
    if done.returncode != 0:
        if "only the local cluster" in done.stderr:
            pytest.skip(done.stderr.strip())
        raise AssertionError(done.stderr)
    log = Path(done.stdout.strip())
    # A part that is full is renamed with the time in its name.
    parts = [*sorted(log.parent.glob(f"{log.stem}-*{log.suffix}")), log]
    requests = (json.loads(line) for part in parts for line in part.read_text().splitlines())
    return [each for each in requests if each["user"]["username"] == user]


@contextmanager
def restricted_namespace(name: str) -> Iterator[Cluster]:
    """Make a namespace that admits restricted Pods only; it goes at the end, with all that is in it."""
    cluster = Cluster(name)
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", system=True)
    cluster.kubectl("create", "namespace", name, system=True)
    cluster.kubectl("label", "namespace", name, RESTRICTED, system=True)
    try:
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", system=True)
