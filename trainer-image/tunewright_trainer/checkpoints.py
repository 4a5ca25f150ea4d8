"""Checkpoints of a training run: finished by a manifest, and looked through for one to resume from."""

import re
import shutil
from pathlib import Path

from tunewright.contract.run_spec import Owner
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, verify, write_manifest
from tunewright_trainer.errors import RunError
from tunewright_trainer.log import log

_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_path(directory: Path, step: int) -> Path:
    """Return where the checkpoint of `step` is; the name is transformers'."""
    return directory / f"checkpoint-{step}"


def finish_checkpoint(path: Path, owner: Owner, inputs: str) -> None:
    """Write the manifest of a saved checkpoint: without it, it was not completely saved."""
    write_manifest(path, Provenance("Checkpoint", owner, {INPUTS_KEY: inputs}))


def newest_checkpoint(directory: Path, owner: Owner, inputs: str) -> tuple[Path, int] | None:
    """Return the newest checkpoint of the same inputs that verifies, and its step; None for none.

    Newer ones that are broken are named in the log and removed: training would write into their directories again.
    """
    for step, path in sorted(_steps(directory), reverse=True):
        problem = _problem(path, owner, inputs)
        if problem is None:
            return path, step
        log(f"skipping {path.name}: {problem}")
        shutil.rmtree(path)
    return None


def _steps(directory: Path) -> list[tuple[int, Path]]:
    if not directory.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir() if path.is_dir())
    return [(int(match.group(1)), path) for match, path in found if match]


def _problem(path: Path, owner: Owner, inputs: str) -> str | None:
    try:
        manifest = verify(path)
    except RunError as error:
        return str(error)
    if manifest.owner.uid != owner.uid or manifest.made_with.get(INPUTS_KEY) != inputs:
        return "it is of a run with other data or parameters"
    return None
