"""Downloads from S3 and what speaks its protocol (AWS_ENDPOINT_URL and boto3's other variables)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from tunewright.contract.manifest import MANIFEST_NAME
from tunewright.contract.run_result import FailureReason
from tunewright.contract.uris import Location
from tunewright_trainer.endpoints import guarded_connections
from tunewright_trainer.errors import RunError
from tunewright_trainer.hub import wanted_files
from tunewright_trainer.log import log

DENIED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AllAccessDisabled"})
MISSING = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NotFound"})


def download_s3_model(uri: str, location: Location, target: Path, weights: bool, on_bytes: Callable[[int, int], None]) -> Path:
    """Bring the model below the prefix to `target` and return it; raises RunError ModelNotFound, Denied, UnsafeModel."""
    with _s3_errors(uri, "ModelNotFound"):
        client = _client()
        sizes = _list(client, location)
        if not sizes:
            raise RunError("ModelNotFound", f"there is nothing below {uri}")
        names = list(sizes) if MANIFEST_NAME in sizes and weights else wanted_files(list(sizes), weights)
        _download(client, uri, location, {name: sizes[name] for name in names}, target, on_bytes)
    return target


def download_s3_dataset(uri: str, location: Location, target: Path) -> Path:
    """Bring one object, or all *.jsonl below a prefix, to `target`; raises RunError DatasetNotFound or Denied."""
    with _s3_errors(uri, "DatasetNotFound"):
        client = _client()
        if PurePosixPath(location.path).suffix:
            file = target / PurePosixPath(location.path).name
            target.mkdir(parents=True, exist_ok=True)
            client.download_file(location.root, location.path, str(file))
            return file
        names = {name: size for name, size in _list(client, location).items() if name.endswith(".jsonl") and "/" not in name}
        if not names:
            raise RunError("DatasetNotFound", f"there is no *.jsonl below {uri}")
        _download(client, uri, location, names, target, lambda done, total: None)
    return target


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _list(client: Any, location: Location) -> dict[str, int]:
    """Return names below the prefix and their sizes in bytes."""
    prefix = f"{location.path}/" if location.path else ""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=location.root, Prefix=prefix)
    sizes = {item["Key"].removeprefix(prefix): item["Size"] for page in pages for item in page.get("Contents", [])}
    for name in sizes:
        if name.startswith("/") or ".." in name.split("/"):
            raise RunError("UnsafeModel", f"the object `{prefix}{name}` would be written outside of its directory")
    return {name: size for name, size in sizes.items() if name and not name.endswith("/")}


def _download(client: Any, uri: str, location: Location, sizes: dict[str, int], target: Path, on_bytes: Callable[[int, int], None]) -> None:
    total = sum(sizes.values())
    log(f"downloading {len(sizes)} objects ({total} bytes) of {uri}")
    done = 0

    def count(chunk: int) -> None:
        nonlocal done
        done += chunk
        on_bytes(done, total)

    for name in sizes:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        key = f"{location.path}/{name}" if location.path else name
        client.download_file(location.root, key, str(file), Callback=count)


@contextmanager
def _s3_errors(uri: str, missing: FailureReason) -> Iterator[None]:
    from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

    try:
        with guarded_connections():
            yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise RunError("Denied", f"there are no credentials for {uri}; give a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in DENIED:
            raise RunError("Denied", f"access to {uri} was denied ({code}); check the credentials and the bucket's policy") from error
        if code in MISSING:
            raise RunError(missing, f"{uri} does not exist ({code})") from error
        raise
