"""`python -m tunewright.handlers`: runs the operator until it is told to stop."""

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import Final

import kopf
from pydantic import TypeAdapter

from tunewright.build.settings import Settings
from tunewright.cluster.work_queue import BACKOFF_LAST_SECONDS, backoff_seconds
from tunewright.handlers import listing
from tunewright.handlers.configuration import SILENCE_SECONDS, configure
from tunewright.handlers.probes import serve_probes
from tunewright.handlers.watch import Runtime, register

LOG: Final = logging.getLogger("tunewright")


async def run() -> None:
    """Run the operator; returns on SIGTERM or SIGINT."""
    settings = TypeAdapter(Settings).validate_json(os.environ["TUNEWRIGHT_SETTINGS"])
    namespaces = [name for name in os.environ.get("TUNEWRIGHT_NAMESPACES", "").split(",") if name]
    runtime = Runtime(settings, namespaces)
    listing.install(runtime.indexed)
    stop = asyncio.Event()
    probes = await serve_probes(runtime, int(os.environ.get("TUNEWRIGHT_PROBE_PORT", "8081")))
    failures = 0
    try:
        while not stop.is_set():
            began = time.monotonic()
            try:
                return await _watch(runtime, namespaces, stop)
            except Exception as error:
                # A kind that is no longer served, a token refused, an error in the midst of a watch: Kopf ends of it, and begins again with a list.
                failures = 1 if time.monotonic() - began > BACKOFF_LAST_SECONDS else failures + 1
                delay = backoff_seconds(failures)
                for number in (signal.SIGTERM, signal.SIGINT):
                    # Kopf's own handlers answer to nobody while it does not run.
                    asyncio.get_running_loop().add_signal_handler(number, stop.set)
                LOG.warning("watching ended: %s: %s; again in %.1f s", type(error).__name__, error, delay)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay)
    finally:
        await probes.cleanup()


async def _watch(runtime: Runtime, namespaces: list[str], stop: asyncio.Event) -> None:
    """Run Kopf, and the workers beside it, until a signal or `stop`; raises what ended it otherwise."""
    registry = kopf.OperatorRegistry()
    register(registry, runtime)
    try:
        await kopf.operator(
            registry=registry,
            settings=configure(clusterwide=not namespaces, silence_seconds=float(os.environ.get("TUNEWRIGHT_WATCH_SILENCE_SECONDS", SILENCE_SECONDS))),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )
    finally:
        await runtime.close()


def main() -> None:
    """Configure logging and run."""
    logging.basicConfig(level=os.environ.get("TUNEWRIGHT_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Kopf logs every event it passes on; ours are in metrics.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    asyncio.run(run())


if __name__ == "__main__":
    main()
