"""The operator's own port: `/healthz` fails when reconciling has stalled, `/readyz` until it has begun, `/metrics` for Prometheus."""

from typing import Final

from aiohttp import web
from prometheus_client import generate_latest

from tunewright.cluster.metrics import REGISTRY
from tunewright.handlers.watch import Runtime

STALLED_AFTER_SECONDS: Final = 120.0
"""Longer than the longest pass: a few requests with a 30 s limit each."""


async def serve_probes(runtime: Runtime, port: int) -> web.AppRunner:
    """Serve until `cleanup()` of the returned runner."""

    async def healthz(_: web.Request) -> web.Response:
        stalled = runtime.stalled_seconds()
        if stalled > STALLED_AFTER_SECONDS:
            return web.Response(status=503, text=f"reconciling has stalled for {stalled:.0f} s\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if runtime.queue is not None else web.Response(status=503, text="not started\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
