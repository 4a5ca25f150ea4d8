"""Keeps secrets of the environment out of all that is printed and of the result: errors of clients may quote a token or a signed URL."""

import json
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final, TextIO
from urllib.parse import quote

from tunewright.contract.secrets import SECRET_PREFIX

HIDDEN: Final = "[hidden]"

_SECRET_NAME: Final = re.compile(
    rf"^{SECRET_PREFIX}|(^|_)(TOKENS?|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|APIKEY|API_KEY|ACCESS_KEY|PRIVATE_KEY)(_|$)", re.IGNORECASE
)
_NOT_SECRET: Final = re.compile(r"(ENDPOINT|REGION|ENDPOINT_URL|ENDPOINT_URL_S3)$")
_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_SHORTEST: Final = 6
"""A shorter value would be found in ordinary words."""


def secret_values(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the values of the variables that hold secrets by their names, and the passwords in URLs of any variable."""
    values = {value for name, value in environ.items() if _SECRET_NAME.search(name) and not _NOT_SECRET.search(name)}
    values |= {password for value in environ.values() for password in _PASSWORD_IN_URL.findall(value)}
    lines = {line.strip() for value in values for line in value.splitlines()}
    return frozenset(value for value in values | lines if len(value) >= _SHORTEST)


class Redactor:
    """Replaces secrets in texts, also as they stand in URLs and in JSON."""

    def __init__(self, values: frozenset[str]) -> None:
        forms = {form for value in values for form in (value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1], repr(value)[1:-1])}
        self._pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))) if forms else None

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


class RedactingStream:
    """A text stream in front of another. A line goes on when it is whole or flushed, so that a secret written in parts is seen."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor
        self._pending = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Take text; pass on whole lines."""
        with self._lock:
            lines, newline, rest = (self._pending + text).rpartition("\n")
            self._pending = rest
            if newline:
                self._stream.write(self._redactor.text(lines + newline))
        return len(text)

    def flush(self) -> None:
        """Pass on the beginning of a line as well."""
        with self._lock:
            if self._pending:
                self._stream.write(self._redactor.text(self._pending))
                self._pending = ""
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_output(redactor: Redactor) -> None:
    """Put the redactor before stdout and stderr; call it before libraries are imported, whose log handlers keep the stream they find."""
    sys.stdout = RedactingStream(sys.stdout, redactor)
    sys.stderr = RedactingStream(sys.stderr, redactor)
