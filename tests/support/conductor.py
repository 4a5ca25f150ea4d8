"""The stand-in for many namespaces at once: level-based as the real controllers are, so it goes on wherever a fault has left a namespace.

It waits for what the operator says before each move, so that a run makes the same writes each time.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from support.api_server import ADMIN, TOKENS, Body
from support.paths import PLURALS, everywhere, path
from support.stand_in import ended_job, ended_pod, pod_of, rolled_out
from support.worlds import result
from tunewright.build.names import MANAGED_BY, OWNER_UID_LABEL, STAGE_LABEL

_RUNNING: Final = "fieldSelector=status.successful%3D0"
_SELECTOR: Final = "labelSelector=" + ",".join(f"{key}%3D{value}" for key, value in MANAGED_BY.items())
_MERGE: Final = "application/merge-patch+json"
MADE: Final = ("Job", "PersistentVolumeClaim", "Deployment", "Service", *PLURALS)
"""The kinds that the operator makes or writes to."""


class Admin:
    """A connection to the API server that is kept open: thousands of requests are cheap."""

    def __init__(self, port: int) -> None:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        self._http = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=30)

    def send(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> tuple[int, Body]:
        """Return the code and the parsed answer."""
        headers = {"Authorization": f"Bearer {TOKENS[ADMIN]}", "Content-Type": content_type}
        self._http.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._http.getresponse()
        text = answer.read()
        # Of a kind that is not served it says so in plain text.
        return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else {"message": text.decode()}

    def must(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Body:
        """Return the answer of a request that must succeed."""
        code, answer = self.send(method, path, body, content_type)
        assert code < 300, f"{method} {path}: {code} {answer}"
        return answer

    def items(self, path: str) -> list[Body]:
        """Return the items of a list, each with its kind."""
        return _items(self.must("GET", path))

    def served(self, path: str) -> list[Body]:
        """Return the items of a list, none where its kind is not served."""
        code, answer = self.send("GET", path)
        return [] if code == 404 else _items(answer)

    def close(self) -> None:
        self._http.close()


def _items(answer: Body) -> list[Body]:
    kind, version = answer["kind"].removesuffix("List"), answer["apiVersion"]
    return [{"kind": kind, "apiVersion": version, **each} for each in answer["items"]]


class Conductor:
    """Moves the Jobs, Pods and Deployments of all namespaces to their ends, one step each time `step` is called."""

    def __init__(self, port: int) -> None:
        self._admin = Admin(port)
        self._shown: set[str] = set()
        """Jobs by uid whose Pod the operator can see."""

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Step on and on in a thread; what went wrong there fails the test."""
        stop, failed = threading.Event(), []

        def play() -> None:
            try:
                pause = 0.05
                while not stop.wait(pause):
                    began = time.monotonic()
                    self.step()
                    # The server and the operator share the machine with us: no more than a third of the time is ours.
                    pause = max(0.05, 2 * (time.monotonic() - began))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            self._admin.close()
        if failed:
            raise failed[0]

    def step(self) -> None:
        """Look at everything once, and move what can move."""
        said = self._said()
        for job in self._admin.items(f"{everywhere('Job')}?{_SELECTOR}&{_RUNNING}"):
            if not job.get("status", {}).get("conditions") and not job["spec"].get("suspend"):
                self._move(job, said.get(job["metadata"]["labels"][OWNER_UID_LABEL], ""))
        for deployment in self._admin.items(f"{everywhere('Deployment')}?{_SELECTOR}"):
            if not deployment.get("status", {}).get("readyReplicas") and "0 of" in said.get(deployment["metadata"]["labels"][OWNER_UID_LABEL], ""):
                self._status(deployment, rolled_out(deployment))

    def _move(self, job: Body, said: str) -> None:
        """Bring a Job one step on, once its resource says where it stands."""
        namespace, labels = job["metadata"]["namespace"], job["spec"]["template"]["metadata"]["labels"]
        uid = job["metadata"]["uid"]
        if uid not in self._shown and "no Pod yet" in said:
            # The Pod ends before the operator can see it: each of its states would be another write, or not, as it happens.
            pod = pod_of(job, "x")
            hidden = {**pod, "metadata": {**pod["metadata"], "labels": {}}}
            target = path("Pod", namespace, pod["metadata"]["name"])
            self._admin.send("POST", path("Pod", namespace), hidden)
            self._admin.must("PATCH", target + "/status", {"status": ended_pod(job, result(labels[STAGE_LABEL]))}, _MERGE)
            self._admin.must("PATCH", target, {"metadata": {"labels": labels}}, _MERGE)
            self._shown.add(uid)
        elif uid in self._shown and "is running" in said:
            self.finish(job)

    def finish(self, job: Body) -> None:
        """End a Job whose Pod has ended."""
        self._status(job, ended_job())

    def _said(self) -> dict[str, str]:
        """Return the message of the condition that sums each resource up, by its uid."""
        found = {}
        for kind in PLURALS:
            for body in self._admin.served(everywhere(kind)):
                conditions = {entry["type"]: entry["message"] for entry in body.get("status", {}).get("conditions", [])}
                found[body["metadata"]["uid"]] = conditions.get("Succeeded", conditions.get("Ready", ""))
        return found

    def _status(self, body: Body, status: Body) -> None:
        target = path(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]) + "/status"
        code, answer = self._admin.send("PATCH", target, {"status": status}, _MERGE)
        assert code in (200, 404, 409), answer
