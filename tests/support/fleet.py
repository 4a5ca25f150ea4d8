"""The stand-in for thousands: watches Jobs and Deployments of a namespace and moves all of them at once, through the states a controller and a kubelet report."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiohttp import web

from support.api_server import Body
from support.async_api import AsyncApi
from support.stand_in import RUNNING_JOB, ended_job, ended_pod, pod_of, rolled_out, running_pod
from support.worlds import reading, result
from tunewright.build.names import KIND_LABEL, NAME_LABEL, STAGE_LABEL
from tunewright.contract.run_spec import PROGRESS_PORT

ANSWERING: Final = "127.0.0.81"
SILENT: Final = "127.0.0.82"
"""Where a connection is taken and nothing is ever said: what a Pod behind a NetworkPolicy looks like to one who waits."""

_JOBS: Final = "/apis/batch/v1/namespaces/{}/jobs"
_DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/{}/deployments"
_PODS: Final = "/api/v1/namespaces/{}/pods"


class Fleet:
    """Children of one namespace. `runs_for` is how long a Job runs; a Pod of a resource in `silent` does not answer for its progress."""

    def __init__(self, port: int, token: str, namespace: str, runs_for: float, silent: frozenset[str]) -> None:
        self.owners: dict[tuple[str, str], tuple[str, str, str]] = {}
        """What each Job or Deployment, by plural and name, belongs to: kind, name, stage."""
        self._port = port
        self._token = token
        self._namespace = namespace
        self._runs_for = runs_for
        self._silent = silent
        self._moves: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        """Move children until the end of the block; an error of the stand-in ends the block."""
        async with (
            AsyncApi.connected(self._port, self._token, watches=2) as self._api,
            _progress(),
            asyncio.TaskGroup() as group,
        ):
            watches = [group.create_task(self._watch(_JOBS, self._job)), group.create_task(self._watch(_DEPLOYMENTS, self._deployment))]
            yield self
            for task in (*watches, *self._moves):
                task.cancel()

    async def create(self, path: str, *bodies: Body) -> None:
        """Create objects, many at once."""
        await asyncio.gather(*(self._send("POST", path, each) for each in bodies))

    async def _watch(self, collection: str, move: Any) -> None:
        """Start `move` for every object that is made."""
        async for event in self._api.watch(collection.format(self._namespace)):
            if event["type"] == "ADDED":
                self._start(move(event["object"]))

    def _start(self, move: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(move)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    async def _job(self, job: Body) -> None:
        """Run a Job to its end."""
        _, name, stage = self._owner("jobs", job)
        pod = await self._pod(job, SILENT if name in self._silent else ANSWERING)
        await self._status(_JOBS, job["metadata"]["name"], RUNNING_JOB)
        await asyncio.sleep(self._runs_for)
        await self._status(_PODS, pod, ended_pod(job, result(stage)))
        await self._status(_JOBS, job["metadata"]["name"], ended_job())

    async def _deployment(self, deployment: Body) -> None:
        """Roll a Deployment out."""
        self._owner("deployments", deployment)
        await self._pod(deployment, ANSWERING)
        await self._status(_DEPLOYMENTS, deployment["metadata"]["name"], rolled_out(deployment))

    def _owner(self, plural: str, child: Body) -> tuple[str, str, str]:
        labels = child["spec"]["template"]["metadata"]["labels"]
        owner = self.owners[plural, child["metadata"]["name"]] = (labels[KIND_LABEL], labels[NAME_LABEL], labels[STAGE_LABEL])
        return owner

    async def _pod(self, owner: Body, address: str) -> str:
        """Make the Pod of a Job or Deployment, and run it."""
        pod = pod_of(owner, "x")
        await self._send("POST", _PODS, pod)
        await self._status(_PODS, pod["metadata"]["name"], running_pod(address))
        return str(pod["metadata"]["name"])

    async def _status(self, collection: str, name: str, status: Body) -> None:
        await self._send("PATCH", f"{collection}/{name}/status", {"status": status}, "application/merge-patch+json")

    async def _send(self, method: str, path: str, body: Body, content_type: str = "application/json") -> None:
        await self._api.must(method, path.format(self._namespace), body, content_type)


@asynccontextmanager
async def _progress() -> AsyncIterator[None]:
    """Serve the progress of all Pods: at one address it is answered, at the other it never is."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=reading().to_json())

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError, ConnectionError):
            await reader.read()
        writer.close()

    application = web.Application()
    application.add_routes([web.get("/progress", answer)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, ANSWERING, PROGRESS_PORT).start()
    silent = await asyncio.start_server(hold, SILENT, PROGRESS_PORT)
    try:
        yield
    finally:
        silent.close()
        await runner.cleanup()
