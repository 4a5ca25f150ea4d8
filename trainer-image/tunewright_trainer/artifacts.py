"""Artifacts on disk: published at once with a manifest of hashes, verified before use."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tunewright.contract.manifest import MANIFEST_NAME, FileEntry, Manifest
from tunewright.contract.run_result import ArtifactRef, FailureReason
from tunewright.contract.run_spec import Owner
from tunewright_trainer.errors import RunError
from tunewright_trainer.finite_weights import FiniteScan
from tunewright_trainer.log import log
from tunewright_trainer.safetensors_header import HeaderError, read_header

Kind = Literal["Model", "Adapter", "Dataset", "Evaluation", "Checkpoint"]

INPUTS_KEY = "inputs"
"""The key of `made_with` whose value is the hash of everything the artifact was made from; the same inputs need no second run."""

CHUNK = 1 << 20


@dataclass(frozen=True)
class Provenance:
    """What a manifest says of an artifact besides its files."""

    kind: Kind
    owner: Owner
    made_with: Mapping[str, str]
    base_uri: str | None = None
    base_digest: str | None = None
    parents: tuple[str, ...] = ()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_and_broken_tensor(path: Path) -> tuple[str, str | None]:
    """Return the sha256 of a file in hex and, of safetensors, the first tensor with NaN or infinite numbers; the bytes are read once for both."""
    if path.suffix != ".safetensors":
        return sha256_of(path), None
    try:
        scan = FiniteScan(read_header(path))
    except HeaderError:
        return sha256_of(path), None  # model_safety says what is wrong with it
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            scan.feed(chunk)
    return digest.hexdigest(), scan.broken


def file_entries(directory: Path, when_broken: FailureReason) -> tuple[FileEntry, ...]:
    """Hash every file below `directory` but the manifest, sorted by path. Two at a time: hashing releases the interpreter's lock.

    Raises RunError `when_broken` for weights with NaN or infinite numbers.
    """
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / MANIFEST_NAME)
    entries = []
    with ThreadPoolExecutor(2) as pool:
        for path, (sha256, broken) in zip(paths, pool.map(sha256_and_broken_tensor, paths), strict=True):
            if broken is not None:
                raise RunError(when_broken, not_finite(path, broken))
            entries.append(FileEntry(path=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=sha256))
    return tuple(entries)


def not_finite(path: Path, tensor: str) -> str:
    """Return the sentence for a file with weights that are no numbers."""
    return f"{path}: tensor `{tensor}` has NaN or infinite values; nothing that is computed with them has a meaning"


def write_manifest(directory: Path, provenance: Provenance) -> Manifest:
    """Sync every file of `directory`, then write its manifest in one step; a directory without manifest was never finished.

    Raises RunError NotFinite for weights with NaN or infinite numbers: they are never published.
    """
    entries = file_entries(directory, "NotFinite")
    for entry in entries:
        _sync(directory / entry.path)
    manifest = Manifest(
        kind=provenance.kind, files=entries, owner=provenance.owner, base_uri=provenance.base_uri, base_digest=provenance.base_digest,
        parents=provenance.parents, made_with=dict(provenance.made_with),
    )  # fmt: skip
    temporary = directory / f".{MANIFEST_NAME}.partial"
    temporary.write_text(manifest.to_json() + "\n", encoding="utf-8")
    _sync(temporary)
    temporary.rename(directory / MANIFEST_NAME)
    _sync(directory)
    return manifest


def read_manifest(directory: Path) -> Manifest | None:
    """Return the manifest of `directory`, None when there is none; raises RunError DigestMismatch when it cannot be read."""
    path = directory / MANIFEST_NAME
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError("DigestMismatch", f"{path} is damaged or of another version: {error.errors()[0]['msg']}") from error


def verify(directory: Path, expected_digest: str | None = None) -> Manifest:
    """Check every file of the artifact against its manifest, and the manifest against `expected_digest`.

    Raises RunError DigestMismatch, naming the first file that is missing, differs or is not listed, and UnsafeModel for weights that are not finite.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise RunError("DigestMismatch", f"{directory} has no {MANIFEST_NAME}: it is no artifact, or was never finished")
    if expected_digest is not None and manifest.digest() != expected_digest:
        raise RunError(
            "DigestMismatch", f"{directory} has digest {manifest.digest()}, expected {expected_digest}: it was replaced after its digest was recorded"
        )
    with ThreadPoolExecutor(2) as pool:
        for problem in pool.map(lambda entry: _file_problem(directory, entry), manifest.files):
            if problem is not None:
                raise problem
    _check_nothing_added(directory, manifest)
    return manifest


def _check_nothing_added(directory: Path, manifest: Manifest) -> None:
    # A file beside those of the manifest (a chat template, another shard) would be loaded with them, and no digest would show it.
    listed = {entry.path for entry in manifest.files}
    for top in _visible_entries(directory):
        for path in (top, *top.rglob("*")):
            name = path.relative_to(directory).as_posix()
            if name not in listed and name != MANIFEST_NAME and (path.is_symlink() or not path.is_dir()):
                raise RunError("DigestMismatch", f"{path} is not in the manifest: it was added after the artifact was published")


def _file_problem(directory: Path, entry: FileEntry) -> RunError | None:
    path = directory / entry.path
    if ".." in Path(entry.path).parts or Path(entry.path).is_absolute():
        return RunError("DigestMismatch", f"{directory}: the manifest names `{entry.path}`, outside of the artifact")
    if not path.is_file():
        return RunError("DigestMismatch", f"{path} is missing, but the manifest names it")
    if not path.resolve().is_relative_to(directory.resolve()):
        return RunError("DigestMismatch", f"{path} is a link out of the artifact")
    size = path.stat().st_size
    if size != entry.size:
        return RunError("DigestMismatch", f"{path} has {size} bytes, the manifest says {entry.size}")
    sha256, broken = sha256_and_broken_tensor(path)
    if sha256 != entry.sha256:
        return RunError("DigestMismatch", f"{path} differs from its sha256 in the manifest")
    return None if broken is None else RunError("UnsafeModel", not_finite(path, broken))


def artifact_size(manifest: Manifest) -> int:
    """Return the bytes of all files of the artifact, without the manifest."""
    return sum(entry.size for entry in manifest.files)


def reference(directory: Path, manifest: Manifest) -> ArtifactRef:
    """Return how the operator is told of an artifact."""
    return ArtifactRef(path=str(directory), digest=manifest.digest(), size_bytes=artifact_size(manifest))


def find_published(final: Path, owner: Owner, inputs: str) -> Manifest | None:
    """Return the verified manifest at `final` when this owner made it from the same inputs, else None.

    Raises RunError BadConfiguration when `final` holds what another resource (or nobody known) put there: that is never overwritten.
    A damaged or outdated artifact of the same owner counts as absent; `publish` replaces it.
    """
    if not final.is_dir() or not _visible_entries(final):
        return None
    manifest = read_manifest(final)
    if manifest is None:
        raise RunError("BadConfiguration", f"{final} is not empty and holds no artifact; give the output an empty path")
    if manifest.owner.uid != owner.uid:
        other = f"{manifest.owner.kind} {manifest.owner.namespace}/{manifest.owner.name}"
        raise RunError("BadConfiguration", f"{final} holds the artifact of {other}; give each resource an output path of its own")
    if manifest.made_with.get(INPUTS_KEY) != inputs:
        return None
    try:
        return verify(final)
    except RunError as error:
        log(f"the artifact of an earlier attempt is not used again: {error}")
        return None


@contextmanager
def staging(final: Path) -> Iterator[Path]:
    """Give an empty directory to build an artifact in, on the same filesystem as `final`; what an earlier attempt left there is removed."""
    final.mkdir(parents=True, exist_ok=True)
    directory = _staging_path(final)
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def publish(staged: Path, final: Path, provenance: Provenance) -> ArtifactRef:
    """Give `staged` its manifest and move it to `final`, where it appears at once; a former artifact of the same owner is replaced.

    Call `find_published` first: it refuses a `final` that belongs to someone else.
    """
    _let_others_read(staged)
    manifest = write_manifest(staged, provenance)
    if _is_mount(final):
        _replace_contents(staged, final)
    else:
        if final.exists():
            shutil.rmtree(final)
        staged.rename(final)
    _sync(final.parent)
    log(f"published {provenance.kind} at {final} ({artifact_size(manifest)} bytes, {manifest.digest()})")
    return reference(final, manifest)


def _replace_contents(staged: Path, final: Path) -> None:
    # A mount point cannot be renamed over. The manifest goes first and comes last, so that a half-moved artifact never looks whole.
    (final / MANIFEST_NAME).unlink(missing_ok=True)
    for entry in _visible_entries(final):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for entry in sorted(staged.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
        entry.rename(final / entry.name)
    _sync(final)


def _let_others_read(directory: Path) -> None:
    # safetensors writes files only their owner can read; a server may run as another uid.
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))


def _staging_path(final: Path) -> Path:
    return final / ".partial" if _is_mount(final) else final.parent / f".{final.name}.partial"


def _is_mount(path: Path) -> bool:
    return os.path.ismount(path)


def _visible_entries(directory: Path) -> list[Path]:
    # `lost+found` is in the root of every fresh ext4 volume.
    return [entry for entry in directory.iterdir() if not entry.name.startswith(".") and entry.name != "lost+found"]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of_json(value: object) -> str:
    """Return `sha256:` and the hash of `value` as canonical JSON."""
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
