"""The HTTP server of a trainer container: /progress (JSON), /metrics (Prometheus) and /healthz, in a daemon thread."""

import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tunewright.contract.progress import Progress
from tunewright_trainer.progress import ProgressBoard

GAUGES = (
    ("tunewright_progress_percent", "Percent of the run that is done", "percent"),
    ("tunewright_step", "Steps done: optimizer steps, or rows of an evaluation", "step"),
    ("tunewright_steps", "Steps of the whole run", "total_steps"),
    ("tunewright_epoch", "Passes over the training data so far", "epoch"),
    ("tunewright_loss", "Training loss of the last step, nats per token", "loss"),
    ("tunewright_eval_loss", "Loss on the evaluation split, nats per token", "eval_loss"),
    ("tunewright_tokens_per_second", "Trained tokens per second of this attempt", "tokens_per_second"),
    ("tunewright_eta_seconds", "Seconds to the end of the run", "eta_seconds"),
)


class ProgressCollector(Collector):
    """The reading as gauges; a field without a value yet has no sample."""

    def __init__(self, board: ProgressBoard) -> None:
        self._board = board

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield a gauge for each value of the latest reading."""
        reading = self._board.reading()
        for name, text, field in GAUGES:
            value: float | None = getattr(reading, field)
            if value is not None:
                family = GaugeMetricFamily(name, text, labels=["verb", "phase"])
                family.add_metric([reading.verb, reading.phase], value)
                yield family


def respond(path: str, reading: Progress, registry: CollectorRegistry) -> tuple[int, str, bytes]:
    """Return status, content type and body for a GET of `path`."""
    match path.split("?", 1)[0]:
        case "/progress":
            return 200, "application/json", reading.to_json().encode()
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
        case "/healthz":
            return 200, "text/plain; charset=utf-8", b"ok\n"
    return 404, "text/plain; charset=utf-8", b"only /progress, /metrics and /healthz are here\n"


def start_server(board: ProgressBoard, port: int) -> ThreadingHTTPServer:
    """Serve `board` on 0.0.0.0:`port` (0 takes a free one) until the process ends; raises OSError when the port is taken."""
    registry = CollectorRegistry()
    registry.register(ProgressCollector(board))

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that sends nothing must not hold a thread for the whole run

        def do_GET(self) -> None:
            status, content_type, body = respond(self.path, board.reading(), registry)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: the operator asks every few seconds."""

    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="progress-server", daemon=True).start()
    return server
