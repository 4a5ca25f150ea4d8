"""Plain log lines on stdout, for `kubectl logs`."""

from datetime import UTC, datetime


def log(message: str) -> None:
    """Print `message` with the time in UTC."""
    print(f"{now_text()} {message}", flush=True)


def now_text() -> str:
    """Return the time in UTC, RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
