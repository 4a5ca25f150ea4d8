"""Downloads from a Hugging Face hub (HF_ENDPOINT, HF_TOKEN): real files, no cache links, nothing that holds code."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tunewright.contract.run_result import FailureReason
from tunewright.contract.uris import Location
from tunewright_trainer.endpoints import guarded_connections
from tunewright_trainer.errors import RunError
from tunewright_trainer.log import log

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

SMALL_SUFFIXES = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken", ".jsonl"})
POLL_SECONDS = 1.0


def wanted_files(names: Sequence[str], weights: bool) -> list[str]:
    """Return the files of a model repository that are downloaded: configuration and tokenizer at its root, and safetensors if `weights`.

    Raises RunError UnsafeModel when the repository has Python code, or weights but none in safetensors.
    """
    code = [name for name in names if name.endswith(".py")]
    if code:
        raise RunError("UnsafeModel", f"the repository holds Python code ({code[0]}), which is never run; use a model that transformers knows")
    at_root = [name for name in names if "/" not in name]
    small = [name for name in at_root if PurePosixPath(name).suffix in SMALL_SUFFIXES]
    tensors = [name for name in at_root if name.endswith(".safetensors")]
    if not weights:
        return sorted(name for name in small if not name.endswith(".index.json"))
    if not tensors:
        pickles = [name for name in at_root if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".gguf"))]
        held = f"only {pickles[0]}" if pickles else "no weights at all"
        raise RunError("UnsafeModel", f"the repository has {held}: only safetensors are read; convert the model, or use a revision that has them")
    return sorted(small + tensors)


def download_hub_model(uri: str, location: Location, target: Path, weights: bool, on_bytes: Callable[[int, int], None]) -> Path:
    """Bring the model at `location` to `target` and return it; raises RunError ModelNotFound, Denied, UnsafeModel."""
    from huggingface_hub import HfApi

    with _hub_errors(uri, "ModelNotFound"):
        info = HfApi().model_info(location.root, revision=location.revision, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    names = wanted_files(list(sizes), weights)
    _snapshot(uri, "ModelNotFound", location.root, "model", info.sha, names, sum(sizes[name] for name in names), target, on_bytes)
    return target / location.path if location.path else target


def pinned_uri(uri: str, location: Location) -> str:
    """Return `uri` with the commit that its revision stands for now; raises RunError ModelNotFound or Denied."""
    from huggingface_hub import HfApi

    with _hub_errors(uri, "ModelNotFound"):
        commit = HfApi().model_info(location.root, revision=location.revision).sha
    return f"hf://{location.root}@{commit}" + (f"#{location.path}" if location.path else "")


def download_hub_dataset(uri: str, location: Location, target: Path) -> Path:
    """Bring a data set's file (`#file`), or all its *.jsonl, to `target`; raises RunError DatasetNotFound or Denied."""
    from huggingface_hub import HfApi

    if not location.is_dataset:
        raise RunError("BadConfiguration", f"`{uri}` is a model; a data set is written `hf://datasets/org/name#file.jsonl`")
    with _hub_errors(uri, "DatasetNotFound"):
        info = HfApi().dataset_info(location.root, revision=location.revision, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    names = [name for name in sizes if (name == location.path if location.path else name.endswith(".jsonl") and "/" not in name)]
    if not names:
        raise RunError("DatasetNotFound", f"`{uri}` has no {location.path or '*.jsonl'}; name the file after `#`")
    _snapshot(uri, "DatasetNotFound", location.root, "dataset", info.sha, names, sum(sizes[name] for name in names), target, _ignore)
    return target / location.path if location.path else target


def _snapshot(
    uri: str,
    missing: FailureReason,
    repository: str,
    kind: str,
    commit: str | None,
    names: list[str],
    total: int,
    target: Path,
    on_bytes: Callable[[int, int], None],
) -> None:
    from huggingface_hub import snapshot_download

    log(f"downloading {len(names)} files ({total} bytes) of {uri} at {commit}")
    with _hub_errors(uri, missing), _watch(target, total, on_bytes):
        snapshot_download(repository, repo_type=kind, revision=commit, local_dir=target, allow_patterns=names)
    shutil.rmtree(target / ".cache", ignore_errors=True)


@contextmanager
def _watch(directory: Path, total: int, on_bytes: Callable[[int, int], None]) -> Iterator[None]:
    """Report the bytes below `directory` once a second; the client's own progress bars count files."""
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(POLL_SECONDS):
            on_bytes(_bytes_below(directory), total)

    thread = threading.Thread(target=poll, name="download-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    on_bytes(total, total)


def _bytes_below(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # the client renames its partial files meanwhile
            continue
    return total


@contextmanager
def _hub_errors(uri: str, missing: FailureReason) -> Iterator[None]:
    """Turn the client's errors into ours; what may pass by itself (network, 5xx) stays as it is and is retried by the Job."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with guarded_connections():
            yield
    except LocalEntryNotFoundError:  # an EntryNotFoundError by class, but it means that the hub could not be reached
        raise
    except HFValidationError as error:
        raise RunError("BadConfiguration", f"`{uri}` is no name of a hub repository: {str(error).splitlines()[0]}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError, HfHubHTTPError) as error:
        status = _status(error)
        if status in (401, 403):
            raise RunError(
                "Denied", f"the hub denied access to {uri} (HTTP {status}): it is private or gated, or does not exist; give a token that may read it"
            ) from error
        if status == 404:
            what = "revision" if isinstance(error, RevisionNotFoundError) else "file" if isinstance(error, EntryNotFoundError) else "repository"
            raise RunError(missing, f"the hub has no such {what}: {uri}") from error
        raise


def _status(error: "HfHubHTTPError | Exception") -> int | None:
    response = getattr(error, "response", None)
    status: int | None = getattr(response, "status_code", None)
    return status


def _ignore(done: int, total: int) -> None:
    """Take no notice."""
