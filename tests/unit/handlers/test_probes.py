"""The operator's own port over HTTP: what the kubelet sees when reconciling stands still."""

import aiohttp
import pytest

from support.api_server import free_port
from support.worlds import SETTINGS
from tunewright.cluster.work_queue import WorkQueue
from tunewright.handlers.probes import STALLED_AFTER_SECONDS, serve_probes
from tunewright.handlers.watch import Runtime


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/{path}") as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("stalled", "status"), [(0.0, 200), (STALLED_AFTER_SECONDS, 200), (STALLED_AFTER_SECONDS + 1, 503), (float("inf"), 503)], ids=lambda each: str(each)
)
async def test_liveness_fails_when_reconciling_has_stalled(monkeypatch, stalled, status):
    runtime, port = Runtime(SETTINGS), free_port()
    monkeypatch.setattr(runtime, "stalled_seconds", lambda: stalled)
    served = await serve_probes(runtime, port)
    try:
        found, text = await ask(port, "healthz")
    finally:
        await served.cleanup()
    assert found == status
    assert ("stalled" in text) == (status == 503)


async def test_readiness_waits_for_the_queue_and_metrics_are_there():
    runtime, port = Runtime(SETTINGS), free_port()
    served = await serve_probes(runtime, port)
    try:
        assert (await ask(port, "readyz"))[0] == 503
        runtime.queue = WorkQueue()
        assert (await ask(port, "readyz"))[0] == 200
        status, text = await ask(port, "metrics")
    finally:
        await served.cleanup()
    assert status == 200
    assert "tunewright_queue_keys" in text
