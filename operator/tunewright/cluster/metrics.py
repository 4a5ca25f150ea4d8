"""The operator's own metrics."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()
RECONCILES: Final = Counter("tunewright_reconciles", "Reconciles by kind and result (ok, error).", ["kind", "result"], registry=REGISTRY)
RECONCILE_SECONDS: Final = Histogram(
    "tunewright_reconcile_seconds", "Seconds from taking a key to the end of its writes.", ["kind"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)  # fmt: skip
QUEUE_DEPTH: Final = Gauge("tunewright_queue_keys", "Keys in the work queue, due now or later.", registry=REGISTRY)
STALLED_SECONDS: Final = Gauge("tunewright_queue_stalled_seconds", "Seconds the longest-kept key has been due or worked on.", registry=REGISTRY)
REQUESTS: Final = Counter(
    "tunewright_api_requests", "Requests to the API server by method and status (0: not reached).", ["method", "status"], registry=REGISTRY
)
