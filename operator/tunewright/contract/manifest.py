"""The manifest `tunewright.json` of an artifact, and its digest."""

import hashlib
import json
from typing import Final, Literal

from tunewright.contract.run_spec import Owner
from tunewright.contract.wire import Wire

MANIFEST_NAME: Final = "tunewright.json"


class FileEntry(Wire):
    """A file of the artifact: path below its root, size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str


class Manifest(Wire):
    """What an artifact is and how it was made. `base` is an adapter's base model; `made_with` has versions and parameters."""

    format_version: Literal[1] = 1
    kind: Literal["Model", "Adapter", "Dataset", "Evaluation", "Checkpoint"]
    files: tuple[FileEntry, ...]
    base_uri: str | None = None
    base_digest: str | None = None
    owner: Owner
    parents: tuple[str, ...] = ()
    made_with: dict[str, str] = {}

    def digest(self) -> str:
        """Return `sha256:` and the hash of the manifest in canonical JSON (sorted keys, no spaces); it covers every file."""
        canonical = json.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
