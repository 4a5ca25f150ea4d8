"""`python -m tunewright.handlers`: runs the operator until it is told to stop."""

import asyncio
import logging
import os
import signal

import kopf
from pydantic import TypeAdapter

from tunewright.build.settings import Settings
from tunewright.handlers import listing
from tunewright.handlers.configuration import configure
from tunewright.handlers.probes import serve_probes
from tunewright.handlers.watch import Runtime, register


async def run() -> None:
    """Run the operator; returns on SIGTERM or SIGINT, raises what ended Kopf otherwise."""
    settings = TypeAdapter(Settings).validate_json(os.environ["TUNEWRIGHT_SETTINGS"])
    namespaces = [name for name in os.environ.get("TUNEWRIGHT_NAMESPACES", "").split(",") if name]
    runtime = Runtime(settings)
    listing.install()
    registry = kopf.OperatorRegistry()
    register(registry, runtime)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    probes = await serve_probes(runtime, int(os.environ.get("TUNEWRIGHT_PROBE_PORT", "8081")))
    try:
        await kopf.operator(
            registry=registry,
            settings=configure(clusterwide=not namespaces),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )
    finally:
        await runtime.close()
        await probes.cleanup()


def main() -> None:
    """Configure logging and run."""
    logging.basicConfig(level=os.environ.get("TUNEWRIGHT_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Kopf logs every event it passes on; ours are in metrics.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    asyncio.run(run())


if __name__ == "__main__":
    main()
