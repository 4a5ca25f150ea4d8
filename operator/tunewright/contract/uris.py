"""Locations of models and data: `hf://`, `s3://`, `pvc://` and `configmap://`, parsed without any I/O."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

URI_PATTERN: Final = (
    r"^(hf://(datasets/)?[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._/-]+)?(#[A-Za-z0-9._/-]+)?"
    r"|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/=+-]*)?"
    r"|pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[A-Za-z0-9._/=+-]*)?"
    r"|configmap://[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+)$"
)
"""The pattern in the CRDs and here. RE2 and Python agree on all of it."""

URI_FORMS: Final = "`hf://org/name@revision`, `s3://bucket/path`, `pvc://claim/path` or `configmap://name/key`"


class Scheme(StrEnum):
    """Where a location lives."""

    HF = "hf"
    S3 = "s3"
    PVC = "pvc"
    CONFIGMAP = "configmap"


@dataclass(frozen=True)
class Location:
    """A parsed URI.

    `root` is the repository, bucket, claim or ConfigMap; `path` is what lies below it ("" for all of it);
    `revision` is set for `hf://` only, and `is_dataset` tells a hub dataset from a hub model.
    """

    scheme: Scheme
    root: str
    path: str = ""
    revision: str | None = None
    is_dataset: bool = False


def parse_uri(uri: str) -> Location:
    """Parse `uri`, or raise ValueError with the allowed forms. `..` is refused: a path never leaves its root."""
    if not re.fullmatch(URI_PATTERN, uri):
        raise ValueError(f"`{uri}` is not a location; it must be {URI_FORMS}")
    scheme, rest = uri.split("://", 1)
    if ".." in re.split("[/@#]", rest):
        raise ValueError(f"`{uri}` must not contain `..`")
    if scheme == Scheme.HF:
        return _parse_hub(rest)
    root, _, path = rest.partition("/")
    return Location(Scheme(scheme), root, path.strip("/"))


def _parse_hub(rest: str) -> Location:
    """Parse what follows `hf://`: an optional `datasets/`, the repository, `@revision` and `#file`."""
    is_dataset = rest.startswith("datasets/")
    rest = rest.removeprefix("datasets/")
    rest, _, path = rest.partition("#")
    repository, _, revision = rest.partition("@")
    return Location(Scheme.HF, repository, path, revision or None, is_dataset)
