"""A stand-in for the controllers and the kubelet: writes what they would write to Jobs, Pods and Deployments."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from support.api_server import ApiServer, Body, Conflict, wait_for
from support.paths import path
from tunewright.contract.progress import Progress
from tunewright.contract.run_result import RunResult
from tunewright.contract.run_spec import PROGRESS_PORT

_NOW: Final = "2026-01-01T00:00:00Z"


RUNNING_JOB: Final[Body] = {"startTime": _NOW, "active": 1}


def pod_of(owner: Body, suffix: str) -> Body:
    """Return the Pod that the controller of a Job or a Deployment would make."""
    meta, template = owner["metadata"], owner["spec"]["template"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], "controller": True}
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{meta['name']}-{suffix}", "labels": labels, "ownerReferences": [reference]},
        "spec": template["spec"],
    }


def running_pod(address: str) -> Body:
    """Return the status of a Pod that runs at `address`."""
    return {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}


def ended_pod(job: Body, result: RunResult, exit_code: int = 0) -> Body:
    """Return the status of a Job's Pod that has ended with what its container wrote."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    reason = "Error" if exit_code else "Completed"
    ended = {"exitCode": exit_code, "reason": reason, "message": result.to_json(), "startedAt": _NOW, "finishedAt": _NOW}
    seen = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
    return {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [seen]}


def ended_job(exit_code: int = 0) -> Body:
    """Return the status of a Job whose Pod has ended."""
    first, last, counts = ("FailureTarget", "Failed", {"failed": 1}) if exit_code else ("SuccessCriteriaMet", "Complete", {"succeeded": 1})
    reason = "PodFailurePolicy" if exit_code else "CompletionsReached"
    conditions = [{"type": each, "status": "True", "reason": reason, "lastProbeTime": _NOW, "lastTransitionTime": _NOW} for each in (first, last)]
    times = {"startTime": _NOW} if exit_code else {"startTime": _NOW, "completionTime": _NOW}
    return {**times, **counts, "active": 0, "terminating": 0, "ready": 0, "conditions": conditions}


def rolled_out(deployment: Body, ready: int = 1) -> Body:
    """Return the status of a Deployment with one Pod of its newest template, of which `ready` answer."""
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}
    return {"observedGeneration": deployment["metadata"]["generation"], **counts}


class Cluster:
    """One namespace of a server, and what happens to the objects in it."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        server.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def path(self, kind: str, name: str = "") -> str:
        return path(kind, self.namespace, name)

    def get(self, kind: str, name: str) -> Body | None:
        return self.server.get(self.path(kind, name))

    def list(self, kind: str) -> list[Body]:
        return list(self.server.request("GET", self.path(kind))["items"])

    def delete(self, kind: str, name: str) -> None:
        # As kubectl does; a Job's own default would leave it to a garbage collector that is not here.
        self.server.request("DELETE", self.path(kind, name), {"propagationPolicy": "Background"})

    def apply(self, *objects: Body) -> None:
        self.server.apply(*({**each, "metadata": {**each["metadata"], "namespace": self.namespace}} for each in objects))

    def status(self, kind: str, name: str) -> Body:
        return dict((self.get(kind, name) or {}).get("status", {}))

    def condition(self, kind: str, name: str, type_: str) -> Body:
        return next((each for each in self.status(kind, name).get("conditions", []) if each["type"] == type_), {})

    def wait_condition(self, kind: str, name: str, type_: str, status: str, reason: str, timeout: float = 30) -> Body:
        """Wait for a condition, and return it."""

        def found() -> Body | None:
            seen = self.condition(kind, name, type_)
            return seen if (seen.get("status"), seen.get("reason")) == (status, reason) else None

        try:
            return wait_for(f"{kind} {name}: {type_}={status} ({reason})", found, timeout) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.condition(kind, name, type_)}") from None

    def wait_job(self, name: str, timeout: float = 30) -> Body:
        return wait_for(f"Job {name}", lambda: self.get("Job", name), timeout) or {}

    def make_pod(self, job: Body, status: Body, suffix: str = "x") -> str:
        """Make the Pod that the Job controller would make, in the state the kubelet would report."""
        pod = pod_of(job, suffix)
        name = str(pod["metadata"]["name"])
        with suppress(Conflict):
            self.server.request("POST", self.path("Pod"), pod)
        self.server.merge(self.path("Pod", name) + "/status", {"status": status})
        return name

    def run_job(self, name: str, address: str) -> None:
        """Bring the Job's Pod to Running at `address`."""
        job = self.wait_job(name)
        self.make_pod(job, running_pod(address))
        self.server.merge(self.path("Job", name) + "/status", {"status": RUNNING_JOB})

    def finish_job(self, name: str, result: RunResult, exit_code: int = 0) -> None:
        """Bring the Job to its end with what its container wrote."""
        job = self.wait_job(name)
        self.make_pod(job, ended_pod(job, result, exit_code))
        self.server.merge(self.path("Job", name) + "/status", {"status": ended_job(exit_code)})

    def roll_out(self, name: str, ready: int = 1) -> None:
        """Bring a Deployment to `ready` Pods of its newest template."""
        found = wait_for(f"Deployment {name}", lambda: self.get("Deployment", name)) or {}
        self.server.merge(self.path("Deployment", name) + "/status", {"status": rolled_out(found, ready)})


@contextmanager
def serving_progress(address: str, reading: Callable[[], Progress]) -> Iterator[None]:
    """Serve `/progress` at `address` as a trainer does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = reading().to_json().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, PROGRESS_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
