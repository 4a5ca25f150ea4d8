"""Loads models and adapters from checked local directories: safetensors only, no code, no network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunewright_trainer.errors import RunError
from tunewright_trainer.log import log

if TYPE_CHECKING:
    import torch

Precision = Literal["BF16", "FP32"]

# The tokenizer goes on byte by byte: saved again by another version of transformers it may no longer load in the server's version.
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def device() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(precision: Precision) -> "torch.dtype":
    """Return torch's type for a precision of the contract."""
    import torch

    return {"BF16": torch.bfloat16, "FP32": torch.float32}[precision]


def load_model(directory: Path, dtype: "torch.dtype | Literal['auto']") -> Any:
    """Load the causal language model of `directory` on the GPU, or the CPU without one. `auto` keeps the type of the files."""
    import torch
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    log(f"loading {directory} on {device()} with {torch.get_num_threads()} threads")
    try:
        model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False)
    except ValueError as error:
        raise RunError("BadConfiguration", f"{directory} is no causal language model that transformers knows: {str(error).splitlines()[0]}") from error
    return model.to(device())


def load_adapter(model: Any, directory: Path, name: str = "default") -> Any:
    """Put the adapter of `directory` on `model` under `name`; `model` may carry adapters already."""
    from peft import PeftModel

    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(directory), adapter_name=name)
            return model
        return PeftModel.from_pretrained(model, str(directory), adapter_name=name)
    except (ValueError, RuntimeError) as error:
        if "size mismatch" in str(error) or "Target modules" in str(error):
            raise RunError("BadConfiguration", f"the adapter {directory} was not trained on this base model: {str(error).splitlines()[0]}") from error
        raise


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files and the chat template from one model directory to another, unchanged."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())


def quiet_libraries() -> None:
    """Keep the progress bars of transformers and datasets out of the log; their warnings stay."""
    import datasets
    from transformers.utils import logging

    logging.disable_progress_bar()
    datasets.disable_progress_bars()
