"""A token that no one may ever see again, and how to see it."""

import base64
from typing import Any, Final

CANARY: Final = "hf_canaryThatMustNotBeSeen42"


def secret(name: str, *keys: str, **plain: str) -> dict[str, Any]:
    """Return a Secret with the canary as the value of each of `keys`, and `plain` beside it."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {**dict.fromkeys(keys, CANARY), **plain}}


def forms() -> tuple[str, str]:
    """Return what the canary looks like: plainly, and as the API server keeps it."""
    return CANARY, base64.b64encode(CANARY.encode()).decode()


def leaks(text: str) -> bool:
    """Return whether the canary is in `text`."""
    return any(form in text for form in forms())
