"""The verb `fetch`: a model and its adapters, verified, where a server reads them: `model/` and `adapters/NAME/`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tunewright.contract.run_result import ArtifactRef, RunResult
from tunewright.contract.run_spec import FetchSpec, Owner, Source
from tunewright_trainer.artifacts import INPUTS_KEY, Kind, Provenance, find_published, publish, read_manifest, reference, staging
from tunewright_trainer.errors import RunError
from tunewright_trainer.locate import OnBytes, resolve_adapter, resolve_model
from tunewright_trainer.log import log
from tunewright_trainer.progress import ProgressBoard, share
from tunewright_trainer.versions import inputs_digest

Resolve = Callable[[Source, OnBytes], Path]


def run_fetch(spec: FetchSpec, board: ProgressBoard) -> RunResult:
    """Bring everything of `spec` to `output_dir`. What is there already from the same source and verifies is left alone, so a restarted Pod starts fast."""
    output = Path(spec.output_dir)
    for name in spec.adapters:
        if not name or "/" in name or name.startswith("."):
            raise RunError("BadConfiguration", f"`{name}` cannot be an adapter's name: it becomes a directory")
    parts = 1 + len(spec.adapters)
    board.phase("Fetching", 0)
    artifact = _place(spec.model, output / "model", "Model", spec.owner, resolve_model, _on_bytes(board, 0, parts))
    for index, (name, source) in enumerate(sorted(spec.adapters.items()), start=1):
        _place(source, output / "adapters" / name, "Adapter", spec.owner, resolve_adapter, _on_bytes(board, index, parts))
    message = "the model is in place" if not spec.adapters else f"the model and {len(spec.adapters)} adapter(s) are in place"
    return RunResult(verb="fetch", outcome="Succeeded", message=message, artifact=artifact)


def _on_bytes(board: ProgressBoard, part: int, parts: int) -> OnBytes:
    first, last = 100 * part // parts, 100 * (part + 1) // parts
    return lambda done, total: board.update(percent=share(done, total, first, last))


def _place(source: Source, final: Path, kind: Kind, owner: Owner, resolve: Resolve, on_bytes: OnBytes) -> ArtifactRef | None:
    if source.path is not None:
        return _link(resolve(source, on_bytes), final)
    if final.is_symlink():
        final.unlink()
    inputs = inputs_digest(source)
    published = find_published(final, owner, inputs)
    if published is not None:
        log(f"{final} is in place already")
        return reference(final, published)
    downloaded = resolve(source, on_bytes)
    with staging(final) as directory:
        for entry in sorted(downloaded.iterdir()):
            shutil.move(entry, directory / entry.name)
        shutil.rmtree(downloaded, ignore_errors=True)
        return publish(directory, final, Provenance(kind, owner, {INPUTS_KEY: inputs, "source": source.uri}))


def _link(mounted: Path, final: Path) -> ArtifactRef | None:
    """Link to what is mounted: the server has the same mounts, and a copy of the weights would only take time and disk."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_symlink():
        final.unlink()
    elif final.exists():
        raise RunError("BadConfiguration", f"{final} is there already and is no link; give the output an empty directory")
    final.symlink_to(mounted.resolve(), target_is_directory=True)
    log(f"linked {final} to {mounted}")
    manifest = read_manifest(mounted)
    return None if manifest is None else reference(mounted, manifest)
