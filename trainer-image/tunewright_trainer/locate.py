"""From a Source of the contract to a local path: mounted already, or downloaded; checked and verified either way."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from tunewright.contract.manifest import MANIFEST_NAME
from tunewright.contract.run_spec import Source
from tunewright.contract.uris import Location, Scheme, parse_uri
from tunewright_trainer.artifacts import digest_of_json, file_entries, read_manifest, verify
from tunewright_trainer.environment import scratch
from tunewright_trainer.errors import RunError
from tunewright_trainer.hub import download_hub_dataset, download_hub_model, pinned_uri
from tunewright_trainer.model_safety import check_adapter_directory, check_model_directory, check_tokenizer_directory
from tunewright_trainer.s3 import download_s3_dataset, download_s3_model

OnBytes = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of all files."""


def ignore_bytes(done: int, total: int) -> None:
    """Take no notice of download progress."""


def resolve_model(source: Source, on_bytes: OnBytes = ignore_bytes) -> Path:
    """Return the directory of a model, checked; raises RunError ModelNotFound, Denied, UnsafeModel or DigestMismatch."""
    directory = _model_files(source, on_bytes, weights=True)
    _verify(directory, source)
    check_model_directory(directory)
    return directory


def resolve_adapter(source: Source, on_bytes: OnBytes = ignore_bytes) -> Path:
    """Return the directory of an adapter, checked; raises as `resolve_model`."""
    directory = _model_files(source, on_bytes, weights=True)
    _verify(directory, source)
    check_adapter_directory(directory)
    return directory


def resolve_tokenizer(source: Source) -> Path:
    """Return a directory with the model's tokenizer and configuration; weights are not downloaded, nor hashed where they are mounted.

    What a whole model directory would be refused for is refused here already, before a GPU is asked for.
    """
    directory = _model_files(source, ignore_bytes, weights=False)
    if source.path is not None:
        check_model_directory(directory)
    else:
        check_tokenizer_directory(directory)
    return directory


def pin(source: Source) -> Source:
    """Return the source of a model with the commit in place of a branch or tag, which may move between the stages of one job."""
    location = parse_uri(source.uri)
    if source.path is not None or location.scheme != Scheme.HF:
        return source
    return source.model_copy(update={"uri": pinned_uri(source.uri, location)})


def resolve_dataset(source: Source) -> Path:
    """Return the file or directory of a data set; raises RunError DatasetNotFound, Denied or DigestMismatch."""
    if source.path is not None:
        path = Path(source.path)
        if not path.exists():
            raise RunError("DatasetNotFound", f"{source.uri} is not there ({path}); check the path below the volume or the key of the ConfigMap")
        _check_stays_in_its_mount(source, path)
    else:
        location = _downloadable(source.uri)
        target = download_directory(source.uri, "dataset")
        path = download_hub_dataset(source.uri, location, target) if location.scheme == Scheme.HF else download_s3_dataset(source.uri, location, target)
    _verify(path if path.is_dir() else path.parent, source)
    return path


def model_digest(directory: Path, source: Source) -> str:
    """Return what identifies the weights: the digest given, that of the artifact's manifest, or a hash over the safetensors of a plain directory."""
    if source.digest is not None:
        return source.digest
    manifest = read_manifest(directory)
    if manifest is not None:
        return manifest.digest()
    entries = [entry for entry in file_entries(directory, "UnsafeModel") if entry.path.endswith(".safetensors")]
    return digest_of_json([[entry.path, entry.size, entry.sha256] for entry in entries])


def download_directory(uri: str, purpose: str) -> Path:
    """Return the directory in the scratch space for what is downloaded from `uri`."""
    return scratch() / "inputs" / f"{purpose}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"


def _model_files(source: Source, on_bytes: OnBytes, weights: bool) -> Path:
    if source.path is not None:
        directory = Path(source.path)
        if not directory.is_dir():
            raise RunError("ModelNotFound", f"{source.uri} is not there ({directory}); check the path below the volume")
        _check_stays_in_its_mount(source, directory)
        return directory
    location = _downloadable(source.uri)
    if location.is_dataset:
        raise RunError("BadConfiguration", f"`{source.uri}` is a data set, not a model")
    target = download_directory(source.uri, "model" if weights else "tokenizer")
    if location.scheme == Scheme.HF:
        return download_hub_model(source.uri, location, target, weights, on_bytes)
    return download_s3_model(source.uri, location, target, weights, on_bytes)


def _check_stays_in_its_mount(source: Source, path: Path) -> None:
    """Raise RunError UnsafeModel for a link that leaves the volume: to another one, or to the environment of this process in /proc."""
    location = parse_uri(source.uri)
    below = location.path
    if location.scheme not in (Scheme.PVC, Scheme.CONFIGMAP) or not str(path).endswith(below):
        return  # not mounted by the operator, whose paths end as their URIs do
    mount = Path(str(path).removesuffix(below)).resolve()
    files = [path, *path.glob("*.jsonl")] if path.is_dir() else [path]
    for each in files:
        if not each.resolve().is_relative_to(mount):
            raise RunError("UnsafeModel", f"{each} is a link out of the volume of {source.uri}")


def _downloadable(uri: str) -> Location:
    try:
        location = parse_uri(uri)
    except ValueError as error:
        raise RunError("BadConfiguration", str(error)) from error
    if location.scheme not in (Scheme.HF, Scheme.S3):
        raise RunError("BadConfiguration", f"`{uri}` is not mounted in this container, and only hf:// and s3:// can be downloaded")
    return location


def _verify(directory: Path, source: Source) -> None:
    # A downloaded or mounted directory that carries a manifest is an artifact: its files are checked even when no digest was recorded.
    if source.digest is not None or (directory / MANIFEST_NAME).is_file():
        verify(directory, source.digest)


def check_adapter_base(adapter: Path, base_digest: str) -> None:
    """Raise RunError DigestMismatch when the adapter's manifest names another base than `base_digest`: it would be applied to weights it was not trained on."""
    manifest = read_manifest(adapter)
    if manifest is not None and manifest.base_digest is not None and manifest.base_digest != base_digest:
        raise RunError(
            "DigestMismatch",
            f"the adapter was trained on {manifest.base_uri} ({manifest.base_digest}), the base given here has {base_digest}: name the base it was trained on",
        )
