"""Which model and adapter directories are read at all: safetensors and JSON, no code, no pickles."""

import json
from pathlib import Path

from tunewright_trainer.errors import RunError

CODE_OR_PICKLE = frozenset(
    {".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".hdf5", ".msgpack", ".ot", ".gguf"}
)
"""Names that end so are code, or weights in a format that can run code when read, or that this trainer does not read."""

ADVICE = "publish the model as safetensors without Python code"


def check_model_directory(directory: Path) -> None:
    """Raise RunError UnsafeModel unless `directory` is a model of config.json and safetensors only; the message names the file."""
    _check_files(directory)
    _check_config(directory / "config.json")
    _check_weights(directory)


def check_adapter_directory(directory: Path) -> None:
    """Raise RunError UnsafeModel unless `directory` is a peft adapter of adapter_config.json and adapter_model.safetensors."""
    _check_files(directory)
    _check_config(directory / "adapter_config.json")
    if not (directory / "adapter_model.safetensors").is_file():
        raise RunError("UnsafeModel", f"{directory / 'adapter_model.safetensors'} is missing: only adapters in safetensors are read")


def refused_name(name: str) -> bool:
    """Return whether a file of this name makes a model directory unsafe."""
    return Path(name).suffix.lower() in CODE_OR_PICKLE


def _check_files(directory: Path) -> None:
    if not directory.is_dir():
        raise RunError("ModelNotFound", f"{directory} is not there or is not a directory")
    root = directory.resolve()
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise RunError("UnsafeModel", f"{path} is a link out of the model directory; {ADVICE}")
        if refused_name(path.name):
            raise RunError("UnsafeModel", f"{path} may hold code; {ADVICE}")
        if path.parent == directory and path.name.endswith("config.json"):
            _check_no_code_reference(path)


def _check_config(path: Path) -> None:
    if not path.is_file():
        raise RunError("UnsafeModel", f"{path} is missing")
    if not isinstance(_read_json(path), dict):
        raise RunError("UnsafeModel", f"{path} is not a JSON object")


def _check_no_code_reference(path: Path) -> None:
    config = _read_json(path)
    if isinstance(config, dict) and "auto_map" in config:
        raise RunError("UnsafeModel", f"{path} has `auto_map`: the model needs its own Python code, which is never run; use a model that transformers knows")


def _check_weights(directory: Path) -> None:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        if not any(directory.glob("*.safetensors")):
            raise RunError("UnsafeModel", f"{directory} has no *.safetensors: only safetensors are read")
        return
    content = _read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict):
        raise RunError("UnsafeModel", f"{index} has no `weight_map`")
    for name in sorted(set(map(str, weight_map.values()))):
        if "/" in name or not (directory / name).is_file():
            raise RunError("UnsafeModel", f"{index} names `{name}`, which is not in the directory: the model is not complete")


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RunError("UnsafeModel", f"{path} is not JSON") from error
