"""Which model directories are read."""

import json

import pytest

from support.weight_files import weights
from tunewright_trainer.errors import RunError
from tunewright_trainer.hub import wanted_files
from tunewright_trainer.model_safety import check_adapter_directory, check_model_directory


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "llama"}')
    (directory / "model.safetensors").write_bytes(weights(1.0))
    (directory / "tokenizer.json").write_text("{}")
    return directory


def test_good_model(model):
    check_model_directory(model)


@pytest.mark.parametrize(
    "name", ["modeling_x.py", "pytorch_model.bin", "model.pt", "weights.PKL", "a.pickle", "m.ckpt", "lib.so", "sub/hook.py", "training_args.bin", "model.gguf"]
)
def test_code_and_pickles_are_named(model, name):
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(b"x")
    with pytest.raises(RunError, match=name) as caught:
        check_model_directory(model)
    assert caught.value.reason == "UnsafeModel"


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_auto_map(model, name):
    (model / name).write_text(json.dumps({"auto_map": {"AutoModel": "modeling.Model"}}))
    with pytest.raises(RunError, match=f"{name}.*auto_map"):
        check_model_directory(model)


def test_links(model, tmp_path):
    (model / "inside.json").symlink_to(model / "tokenizer.json")
    check_model_directory(model)
    (tmp_path / "secret").write_text("x")
    (model / "outside.json").symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match=r"outside\.json is a link"):
        check_model_directory(model)


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda model: (model / "config.json").unlink(), "config.json is missing"),
        (lambda model: (model / "config.json").write_text("{"), "config.json is not JSON"),
        (lambda model: (model / "config.json").write_text("[]"), "not a JSON object"),
        (lambda model: (model / "model.safetensors").unlink(), "safetensors"),
        (lambda model: (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002.safetensors"}}'), "model-00002"),
        (lambda model: (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}'), "not in the directory"),
        (lambda model: (model / "model.safetensors.index.json").write_text("{}"), "weight_map"),
    ],
)
def test_incomplete_models(model, break_it, named):
    break_it(model)
    with pytest.raises(RunError, match=named) as caught:
        check_model_directory(model)
    assert caught.value.reason == "UnsafeModel"


def test_absent(tmp_path):
    with pytest.raises(RunError) as caught:
        check_model_directory(tmp_path / "absent")
    assert caught.value.reason == "ModelNotFound"


def test_adapter(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(RunError, match=r"adapter_model\.safetensors is missing"):
        check_adapter_directory(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(weights(1.0))
    check_adapter_directory(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(RunError, match=r"adapter_model\.bin"):
        check_adapter_directory(tmp_path)


def test_wanted_files_of_a_repository():
    names = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin", "onnx/model.onnx", "chat_template.jinja", ".gitattributes"]
    assert wanted_files(names, weights=True) == ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]
    assert wanted_files(names, weights=False) == ["chat_template.jinja", "config.json", "tokenizer.json"]


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["config.json", "model.safetensors", "modeling.py"], "modeling.py"),
        (["config.json", "pytorch_model.bin"], "pytorch_model.bin"),
        (["config.json"], "no weights"),
    ],
)
def test_refused_repositories(names, part):
    with pytest.raises(RunError, match=part) as caught:
        wanted_files(names, weights=True)
    assert caught.value.reason == "UnsafeModel"
