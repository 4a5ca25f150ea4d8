"""What goes into a manifest's `made_with`: versions of the packages used, and the hash of a run's inputs."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tunewright.contract.wire import Wire
from tunewright_trainer.artifacts import digest_of_json

# Where things are put is no input: the same work at another path gives the same bytes. A digest says more than a path.
PLACES = frozenset({"output_dir", "checkpoint_dir", "data_dir"})


def versions(*packages: str) -> dict[str, str]:
    """Return `version.NAME` for each package; a package that is not installed is named `absent`."""
    return {f"version.{name}": _version(name) for name in packages}


def inputs_digest(spec: Wire, **more: Any) -> str:
    """Return the hash of `spec` without its places and its owner, and of `more` (JSON-ready data, such as hashes of files)."""
    fields = {name: value for name, value in spec.model_dump(mode="json").items() if name not in PLACES and name != "owner"}
    return digest_of_json({"spec": fields, "more": more})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
