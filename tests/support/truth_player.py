"""Plays the rows of support/truth.py against a real API server, each in a namespace of its own and all at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from support.api_server import Body
from support.async_api import AsyncApi
from support.paths import path
from support.stand_in import ended_job, ended_pod, pod_of
from support.truth import CLAIMS, REPLICAS, RUNNING, STAGES, Pod, Row, Seen, works
from support.worlds import result

ANSWERING: Final = "127.0.0.83"
_SILENT: Final = "127.0.0.84"
"""Where nobody listens: the address of a Pod whose machine is off."""

_HUB: Final = {"uri": "hf://org/model@main"}
_ROWS: Final = {"uri": "configmap://rows/train.jsonl"}
_SPECS: Final[dict[str, Body]] = {
    "FineTuneJob": {"model": _HUB, "dataset": _ROWS, "resources": {"gpus": 0}},
    "ModelMerge": {"adapter": {"uri": "hf://org/adapter@main"}, "base": _HUB},
    "Evaluation": {"model": _HUB, "dataset": _ROWS, "resources": {"gpus": 0}},
    "InferenceService": {"model": _HUB, "resources": {"gpus": 0}, "replicas": REPLICAS},
}
_MERGE: Final = "application/merge-patch+json"


class Player:
    """One row in one namespace: `bot` of the row's kind, and what controllers, kubelets and people do to its objects."""

    def __init__(self, kind: str, row: Row, namespace: str, api: AsyncApi) -> None:
        self.kind, self.row, self.namespace, self.stage = kind, row, namespace, STAGES[kind]
        self._main = "Deployment" if kind == "InferenceService" else "Job"
        self._name = f"bot-{self.stage}"
        self._api = api

    def path(self, kind: str, name: str = "") -> str:
        """Return the path of an object, or of its collection."""
        return path(kind, self.namespace, name)

    async def begin(self) -> None:
        """Make the resource and bring it to its last stage."""
        await self._api.must("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        await self._api.must(
            "POST", self.path("ConfigMap"), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": "{}\n"}}
        )
        body = {"apiVersion": "tunewright.dev/v1alpha1", "kind": self.kind, "metadata": {"name": "bot"}, "spec": _SPECS[self.kind]}
        await self._api.must("POST", self.path(self.kind), body)
        if self.kind == "FineTuneJob":
            await self._make_pod(await self._made("Job", "bot-prepare"), Pod(works("prepare"), "z"), answers=True)
            await self._finish("bot-prepare", "prepare")
        await self._made(self._main, self._name)

    async def end(self) -> None:
        """Take the resource away, so that the operator has no more to do with it."""
        await self._api.must("DELETE", self.path(self.kind, "bot"))

    async def show(self, seen: Seen) -> None:
        """Let the world be as `seen` says."""
        if seen.status.get("phase") == "Succeeded":
            await self._finish(self._name, self.stage)
            await self._until(lambda: self._get(self.kind, "bot"), lambda body: body["status"].get("state") == "Done")
        await self._let_go()
        for kind in (*seen.deleted, *seen.leaving):
            policy = "Foreground" if kind in seen.leaving else "Background"
            await self._api.must("DELETE", self.path(kind, self._child(kind)), {"propagationPolicy": policy})
        if seen.status.get("phase") in ("Succeeded", "Failed") or self._main in seen.leaving:
            main = await self._get(self._main, self._name)
        else:
            main = await self._made(self._main, self._name)
        if seen.by_hand:
            main = await self._patch(self._main, self._name, {"spec": seen.by_hand})
        await self._set_pods(main, seen)
        if main and seen.status.get("phase") != "Succeeded" and self._main not in seen.deleted:
            await self._set_status(main, seen)
        if self._main == "Job" and (await self._get("PersistentVolumeClaim", CLAIMS[self.kind])):
            await self._patch("PersistentVolumeClaim", CLAIMS[self.kind], {"status": {"phase": seen.claim}}, "/status")

    async def _let_go(self) -> None:
        """Take off the finalizers of what somebody deleted, as the garbage collector and the volume controller do in the end."""
        for kind in (self._main, "PersistentVolumeClaim"):
            found = await self._get(kind, self._child(kind))
            if found and "deletionTimestamp" in found["metadata"]:
                await self._patch(kind, self._child(kind), {"metadata": {"finalizers": None}})

    async def _set_status(self, main: Body, seen: Seen) -> None:
        status = seen.status
        if status.get("phase") == "Complete":
            status = ended_job()
        elif status.get("phase") == "Failed":
            failed = ended_job(1)
            status = {**failed, "failed": 4, "conditions": [{**each, "reason": "BackoffLimitExceeded"} for each in failed["conditions"]]}
        seen_generation = {"observedGeneration": main["metadata"]["generation"]} if self._main == "Deployment" else {}
        await self._patch(self._main, self._name, {"status": {**status, **seen_generation}}, "/status")

    async def _set_pods(self, main: Body, seen: Seen) -> None:
        """Make the row's Pods, and let those of the world before end."""
        wanted = {f"{self._name}-{pod.suffix}": pod for pod in seen.pods} if main else {}
        answer = await self._api.must("GET", self.path("Pod"))
        for each in answer["items"]:
            if each["metadata"]["name"] not in wanted:
                await self._api.must("DELETE", self.path("Pod", each["metadata"]["name"]), {"gracePeriodSeconds": 0})
        for pod in wanted.values():
            await self._make_pod(main, pod, answers=seen.answers)

    async def _make_pod(self, main: Body, pod: Pod, *, answers: bool) -> None:
        made = pod_of({"apiVersion": "batch/v1" if self._main == "Job" else "apps/v1", "kind": self._main, **main}, pod.suffix)
        await self._api.must("POST", self.path("Pod"), {**made, "spec": {**made["spec"], **({"nodeName": pod.node} if pod.node else {})}})
        # A Pod's class is worked out when it is made, and never written again.
        status = {key: value for key, value in pod.status.items() if key != "qosClass"}
        if status["phase"] in ("Running", "Unknown"):
            address = ANSWERING if answers else _SILENT
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        await self._patch("Pod", made["metadata"]["name"], {"status": status}, "/status")
        if pod.deleting:
            await self._api.must("DELETE", self.path("Pod", made["metadata"]["name"]), {"gracePeriodSeconds": 300})

    async def _finish(self, name: str, stage: str) -> None:
        """Let a Job whose Pod `z` works, as the operator says by now, end well."""
        await self._until(
            lambda: self._get(self.kind, "bot"), lambda body: body.get("status", {}).get("state") == {"prepare": "Preparing"}.get(stage, RUNNING[self.kind])
        )
        job = await self._made("Job", name)
        await self._patch("Pod", f"{name}-z", {"status": ended_pod(job, result(stage))}, "/status")
        await self._patch("Job", name, {"status": ended_job()}, "/status")

    async def _made(self, kind: str, name: str) -> Body:
        """Wait for an object that is not being deleted."""
        return await self._until(lambda: self._get(kind, name), lambda body: bool(body) and "deletionTimestamp" not in body["metadata"])

    async def _until(self, get: Callable[[], Awaitable[Body]], check: Callable[[Body], bool]) -> Body:
        for _ in range(200):
            found = await get()
            if check(found):
                return found
            await asyncio.sleep(0.3)
        raise AssertionError(f"{self.kind}, {self.row.name}: waited in vain; the last seen is {found}")

    async def _get(self, kind: str, name: str) -> Body:
        """Return an object, empty when there is none."""
        code, found = await self._api.send("GET", self.path(kind, name))
        assert code in (200, 404), found
        return found if code == 200 else {}

    async def _patch(self, kind: str, name: str, patch: Body, part: str = "") -> Body:
        return await self._api.must("PATCH", self.path(kind, name) + part, patch, _MERGE)

    def _child(self, kind: str) -> str:
        """Return the name of the resource's object of a kind."""
        return {"Service": "bot", "PersistentVolumeClaim": CLAIMS.get(self.kind, "none")}.get(kind, self._name)
