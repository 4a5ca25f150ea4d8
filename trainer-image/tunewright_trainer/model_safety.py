"""Which model and adapter directories are read at all: safetensors and JSON, no code, no pickles, and no file that is not what its name says.

Only names, the first bytes of files and the headers of safetensors are read here; all bytes are read once, for their hashes (artifacts.py).
"""

import json
import stat
from pathlib import Path
from typing import Any, Final

from tunewright_trainer.errors import RunError
from tunewright_trainer.file_magic import HEAD_BYTES, dangerous_content
from tunewright_trainer.safetensors_header import Header, HeaderError, read_header

CODE_OR_PICKLE = frozenset(
    {".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".hdf5", ".msgpack", ".ot", ".gguf"}
)
"""Names that end so are code, or weights in a format that can run code when read, or that this trainer does not read."""

ADVICE = "publish the model as safetensors without Python code"

MAX_JSON_BYTES: Final = 100_000_000
"""Of a file that is parsed; the biggest tokenizers have a third of it."""

MAX_TEMPLATE_CHARACTERS: Final = 262_144
"""Of a chat template; those of models that call tools have some twenty thousand."""


def check_model_directory(directory: Path) -> None:
    """Raise RunError UnsafeModel unless `directory` is a model of config.json and safetensors only; the message names the file and what is wrong."""
    _check_files(directory)
    _check_config(directory / "config.json")
    _check_weights(directory, _check_headers(directory))


def check_adapter_directory(directory: Path) -> None:
    """Raise RunError UnsafeModel unless `directory` is a peft adapter of adapter_config.json and adapter_model.safetensors."""
    _check_files(directory)
    _check_config(directory / "adapter_config.json")
    if not (directory / "adapter_model.safetensors").is_file():
        raise RunError("UnsafeModel", f"{directory / 'adapter_model.safetensors'} is missing: only adapters in safetensors are read")
    _check_headers(directory)


def check_tokenizer_directory(directory: Path) -> None:
    """Raise RunError UnsafeModel for a downloaded tokenizer and configuration that a whole model would be refused for."""
    _check_files(directory)


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
        if path.is_dir():
            continue
        if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
            # Opening a pipe would wait for ever.
            raise RunError("UnsafeModel", f"{path} is not a regular file; {ADVICE}")
        if path.suffix.lower() != ".safetensors":
            _check_content(path)
        if path.parent == directory and path.name.endswith("config.json"):
            _check_no_code_reference(path)
        _check_template(path)


def _check_content(path: Path) -> None:
    with path.open("rb") as file:
        found = dangerous_content(file.read(HEAD_BYTES))
    if found is not None:
        raise RunError("UnsafeModel", f"{path} is {found}, whatever its name says; {ADVICE}")


def _check_template(path: Path) -> None:
    if path.suffix == ".jinja":
        length = path.stat().st_size
    elif path.name in ("tokenizer_config.json", "chat_template.json", "processor_config.json"):
        content = _read_json(path)
        length = len(json.dumps(content.get("chat_template"))) if isinstance(content, dict) else 0
    else:
        return
    if length > MAX_TEMPLATE_CHARACTERS:
        raise RunError("UnsafeModel", f"{path} has a chat template of {length} characters, allowed are {MAX_TEMPLATE_CHARACTERS}")


def _check_headers(directory: Path) -> dict[str, Header]:
    """Return the header of each safetensors file by its path below `directory`."""
    headers = {}
    for path in sorted(directory.rglob("*.safetensors")):
        try:
            headers[path.relative_to(directory).as_posix()] = read_header(path)
        except HeaderError as error:
            with path.open("rb") as file:
                found = dangerous_content(file.read(HEAD_BYTES))
            if found is not None:
                raise RunError("UnsafeModel", f"{path} is {found}, whatever its name says; {ADVICE}") from error
            raise RunError("UnsafeModel", f"{path} {error}; download or save the model again") from error
    return headers


def _check_config(path: Path) -> None:
    if not path.is_file():
        raise RunError("UnsafeModel", f"{path} is missing")
    if not isinstance(_read_json(path), dict):
        raise RunError("UnsafeModel", f"{path} is not a JSON object")


def _check_no_code_reference(path: Path) -> None:
    if _has_key(_read_json(path), "auto_map"):
        raise RunError("UnsafeModel", f"{path} has `auto_map`: the model needs its own Python code, which is never run; use a model that transformers knows")


def _has_key(value: Any, key: str) -> bool:
    """Return whether an object anywhere in `value` has `key`: servers have run the code of a nested configuration too (CVE-2025-66448)."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            if key in each:
                return True
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
    return False


def _check_weights(directory: Path, headers: dict[str, Header]) -> None:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        if not any(directory.glob("*.safetensors")):
            raise RunError("UnsafeModel", f"{directory} has no *.safetensors: only safetensors are read")
        return
    content = _read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict):
        raise RunError("UnsafeModel", f"{index} has no `weight_map`")
    for tensor, name in sorted((str(tensor), str(name)) for tensor, name in weight_map.items()):
        if "/" in name or name not in headers:
            raise RunError("UnsafeModel", f"{index} names `{name}`, which is not in the directory: the model is not complete")
        if tensor not in headers[name].names:
            raise RunError("UnsafeModel", f"{index} says that `{name}` has `{tensor}`, which it has not: the model is not complete")


def _read_json(path: Path) -> object:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise RunError("UnsafeModel", f"{path} has {path.stat().st_size} bytes, allowed are {MAX_JSON_BYTES}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RunError("UnsafeModel", f"{path} is not JSON") from error
