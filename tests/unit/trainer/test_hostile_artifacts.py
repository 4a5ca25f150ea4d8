"""A corpus of hostile artifacts: each is refused for its own reason, by a message that names the file."""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.weight_files import floats, safetensors, weights, with_header
from tunewright.contract.manifest import MANIFEST_NAME
from tunewright.contract.run_spec import Owner, Source
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, publish, staging, verify
from tunewright_trainer.errors import RunError
from tunewright_trainer.file_magic import dangerous_content
from tunewright_trainer.finite_weights import FiniteScan
from tunewright_trainer.locate import model_digest, resolve_dataset, resolve_model
from tunewright_trainer.model_safety import MAX_TEMPLATE_CHARACTERS, check_adapter_directory, check_model_directory, check_tokenizer_directory
from tunewright_trainer.safetensors_header import BITS, MAX_HEADER_BYTES, Header, HeaderError, header_length, parse_header, read_header

OWNER = Owner(kind="FineTuneJob", namespace="team", name="bot", uid="u-1")


class Payload:
    """What a pickle calls when it is read; here it would leave a file."""

    def __reduce__(self):
        return os.mkdir, ("pickle-was-read",)


def pickled(protocol):
    return pickle.dumps(Payload(), protocol)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(2))
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/passwd"))
    return buffer.getvalue()


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "llama"}')
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights(1.0, -2.0))
    return directory


def refusal(check, *arguments):
    with pytest.raises(RunError) as caught:
        check(*arguments)
    return caught.value.reason, str(caught.value)


PICKLES = {
    "pickle 0": (pickled(0), "is a pickle"), "pickle 1": (pickled(1), "is a pickle"), "pickle 2": (pickled(2), "is a pickle"),
    "pickle 4": (pickled(4), "is a pickle"), "pickle 5": (pickled(5), "is a pickle"), "torch.save": (zipped(), "is a zip archive"),
    "joblib": (gzip.compress(pickled(4)), "is a gzip archive"), "tar": (tarred(), "is a tar archive"),
    "numpy": (b"\x93NUMPY\x01\x00" + pickled(4), "is a NumPy file"), "hdf5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"), "gguf": (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
    "program": (b"\x7fELF\x02\x01\x01", "is a program"), "script": (b"#!/bin/sh\nid\n", "is a script"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "tokenizer.model", "vocab.txt", "README.md", "chat_template.jinja", "sub/notes"])
@pytest.mark.parametrize("content", PICKLES)
def test_a_pickle_is_known_under_any_name(model, content, name):
    data, words = PICKLES[content]
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(data)
    reason, message = refusal(check_model_directory, model)
    assert reason == "UnsafeModel"
    assert str(model / name) in message
    assert words in message


@pytest.mark.parametrize("name", ["tokenizer.model", "adapter_model.safetensors"])
def test_in_an_adapter_and_in_a_tokenizer_as_well(tmp_path, name):
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(weights(1.0))
    check_adapter_directory(tmp_path)
    check_tokenizer_directory(tmp_path)
    (tmp_path / name).write_bytes(pickled(4))
    assert "is a pickle" in refusal(check_adapter_directory, tmp_path)[1]
    if name != "adapter_model.safetensors":
        assert "is a pickle" in refusal(check_tokenizer_directory, tmp_path)[1]


@pytest.mark.parametrize(
    "text", [b"", b".", b"cat\ndog\n", b"cos\nsystem\n", b"#version: 0.2\nh e\n", b"I am a sentence.", b"{}", b"\n\x07<unk>\x12", b"N.", b"(dp0\n."]
)
def test_ordinary_content_is_no_pickle(text):
    assert dangerous_content(text) is None


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def header(**tensors):
    return json.dumps(tensors).encode()


LYING_HEADERS = {
    "empty file": (b"", "too few for a header"),
    "half a length": (b"\x08\x00", "too few for a header"),
    "header longer than the file": (struct.pack("<Q", 1000) + b"{}", "header of 1000 bytes, but only 2 follow"),
    "huge header": (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{", "allowed are 100000000"),
    "length of 2**64": (b"\xff" * 8 + b"{}", "allowed are 100000000"),
    "truncated data": (with_header(header(a=ONE), b"1234567"), "up to byte 8 of 7: it is truncated"),
    "data after the last tensor": (with_header(header(a=ONE), b"123456789"), "1 bytes that belong to no tensor"),
    "offsets beyond the file": (with_header(header(a={**ONE, "data_offsets": [1 << 40, (1 << 40) + 8]}), b"12345678"), "of 8: it is truncated, or the header lies"),
    "offsets that wrap around": (with_header(header(a={**ONE, "data_offsets": [(1 << 64) - 8, 1 << 64]}), b"12345678"), "not a begin and an end"),
    "negative offsets": (with_header(header(a={**ONE, "data_offsets": [-8, 0]}), b"12345678"), "not a begin and an end"),
    "end before begin": (with_header(header(a={**ONE, "data_offsets": [8, 0]}), b"12345678"), "not a begin and an end"),
    "overlap": (with_header(header(a=ONE, b={**ONE, "data_offsets": [4, 12]}), b"123456789012"), "overlaps the one before it"),
    "the same bytes twice": (with_header(header(a=ONE, b=ONE), b"12345678"), "overlaps the one before it"),
    "gap": (with_header(header(a=ONE, b={**ONE, "data_offsets": [12, 20]}), b"x" * 20), "leaves a gap before it"),
    "shape and bytes differ": (with_header(header(a={**ONE, "shape": [3]}), b"12345678"), "8 bytes, but F32 in shape [3] takes 12"),
    "type and bytes differ": (with_header(header(a={**ONE, "dtype": "F64"}), b"12345678"), "8 bytes, but F64 in shape [2] takes 16"),
    "a shape of astronomic size": (with_header(header(a={**ONE, "shape": [1 << 62] * 64}), b"12345678"), "8 bytes, but F32"),
    "negative shape": (with_header(header(a={**ONE, "shape": [-1, -2]}), b"12345678"), "no list of sizes"),
    "true as a size": (with_header(header(a={**ONE, "shape": [True, 2]}), b"12345678"), "no list of sizes"),
    "float as a size": (with_header(header(a={**ONE, "shape": [2.0]}), b"12345678"), "no list of sizes"),
    "unknown type": (with_header(header(a={**ONE, "dtype": "OBJECT"}), b"12345678"), "a type that the format does not have"),
    "a list as type": (with_header(header(a={**ONE, "dtype": ["F32"]}), b"12345678"), "a type that the format does not have"),
    "another field": (with_header(header(a={**ONE, "code": "x"}), b"12345678"), "other fields"),
    "a string for a tensor": (with_header(header(a="x"), b""), "other fields"),
    "metadata with a number": (with_header(b'{"__metadata__": {"a": 1}}'), "not a map of strings"),
    "metadata that is a list": (with_header(b'{"__metadata__": ["a"]}'), "not a map of strings"),
    "the same tensor twice": (with_header(b'{"a": ' + json.dumps(ONE).encode() + b', "a": ' + json.dumps(ONE).encode() + b"}", b"12345678"), "the same key twice"),
    "no JSON": (with_header(b"{not json"), "not JSON"),
    "nested too deep": (with_header(b'{"a":' * 100_000 + b"}" * 100_000), "not JSON"),
    "not UTF-8": (with_header(b'{"\xff": 1}'), "not JSON"),
    "a list": (with_header(b"[]"), "no safetensors file"),
    "spaces first": (with_header(b"   {}"), "no safetensors file"),
    "zeros": (bytes(64), "no safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("case", LYING_HEADERS)
def test_headers_that_lie(model, case):
    data, words = LYING_HEADERS[case]
    (model / "model.safetensors").write_bytes(data)
    reason, message = refusal(check_model_directory, model)
    assert reason == "UnsafeModel"
    assert str(model / "model.safetensors") in message
    assert words in message


def test_every_type_of_the_format_is_measured():
    for dtype, bits in BITS.items():
        assert read_back(safetensors(("a", dtype, [8, 3], bytes(3 * bits))))[0].end == 3 * bits
    with pytest.raises(HeaderError, match="F4 in shape \\[3\\] takes 1 and 4 bits"):
        read_back(safetensors(("a", "F4", [3], b"12")))


def read_back(data):
    length = header_length(data[:8], len(data))
    return parse_header(data[8 : 8 + length], len(data) - 8 - length)


def test_good_headers(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(("z", "F32", [1], floats(1)), ("a", "BF16", [], b"\x80\x3f"), ("none", "F32", [0, 5], b""), metadata={"format": "pt"}))
    found = read_header(path)
    assert found.names == {"z", "a", "none"}
    assert [tensor.name for tensor in found.tensors if tensor.end > tensor.start] == ["z", "a"]
    path.write_bytes(with_header(b'{"__metadata__": {}}   '))
    assert read_header(path).tensors == ()


def test_a_big_file_is_judged_by_its_header_alone(model):
    """10 GB without a disk; the kernel counts what is read."""
    size = 10_000_000_000
    text = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with (model / "model.safetensors").open("wb") as file:
        file.write(with_header(text))
        file.truncate(8 + len(text) + size)
    before = bytes_read()
    check_model_directory(model)
    assert 0 < bytes_read() - before < 1_000_000


def bytes_read():
    """Return what this process has read so far, from files and from the page cache."""
    return next(int(line.split()[1]) for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"weight": "../model.safetensors"}, "names `../model.safetensors`"), ({"weight": "/etc/passwd"}, "names `/etc/passwd`"), ({"weight": ".."}, "names `..`"),
        ({"weight": "tokenizer.json"}, "names `tokenizer.json`"), ({"weight": 7}, "names `7`"), ({"other": "model.safetensors"}, "has `other`, which it has not"),
    ],
)  # fmt: skip
def test_paths_of_the_index_stay_inside(model, weight_map, words):
    (model.parent / "model.safetensors").write_bytes(weights(1.0))
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": "model.safetensors"}}))
    check_model_directory(model)
    index.write_text(json.dumps({"weight_map": weight_map}))
    reason, message = refusal(check_model_directory, model)
    assert reason == "UnsafeModel"
    assert str(index) in message
    assert words in message


def artifact(tmp_path, data=None):
    final = tmp_path / "artifact"
    with staging(final) as directory:
        (directory / "config.json").write_text("{}")
        (directory / "model.safetensors").write_bytes(data or weights(1.0))
        publish(directory, final, Provenance("Model", OWNER, {INPUTS_KEY: "i"}))
    return final


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret"])
def test_paths_of_the_manifest_stay_inside(tmp_path, path):
    final = artifact(tmp_path)
    content = json.loads((final / MANIFEST_NAME).read_text())
    content["files"][0]["path"] = path
    (final / MANIFEST_NAME).write_text(json.dumps(content))
    reason, message = refusal(verify, final)
    assert reason == "DigestMismatch"
    assert f"`{path}`, outside of the artifact" in message


@pytest.mark.parametrize("name", ["chat_template.jinja", "model-00002.safetensors", "sub/config.json"])
def test_a_file_beside_the_manifest_is_noticed(tmp_path, name):
    """It would be loaded with the others, and no digest would show it."""
    final = artifact(tmp_path)
    digest = verify(final).digest()
    (final / name).parent.mkdir(exist_ok=True)
    (final / name).write_bytes(weights(1.0))
    reason, message = refusal(verify, final, digest)
    assert (reason, message.split(" ")[0]) == ("DigestMismatch", str(final / name))
    assert "not in the manifest" in message


def test_a_file_replaced_by_a_link_out_is_noticed(tmp_path):
    final = artifact(tmp_path)
    outside = tmp_path / "outside"
    (final / "config.json").rename(outside)
    (final / "config.json").symlink_to(outside)
    assert refusal(verify, final) == ("DigestMismatch", f"{final / 'config.json'} is a link out of the artifact")


@pytest.mark.parametrize("target", ["/proc/self/environ", "/etc", "../secret", "absent"])
def test_links_out_of_a_model_are_refused(model, target):
    (model.parent / "secret").write_text("x")
    (model / "link.json").symlink_to(target)
    reason, message = refusal(check_model_directory, model)
    assert reason == "UnsafeModel"
    assert str(model / "link.json") in message


def test_a_pipe_is_refused_and_not_waited_for(model):
    os.mkfifo(model / "pipe.json")
    assert refusal(check_model_directory, model)[1].startswith(f"{model / 'pipe.json'} is not a regular file")


def test_a_data_set_that_links_out_of_its_volume_is_refused(tmp_path):
    """Such as to the environment of the trainer itself, which has the token of whoever runs the job."""
    volume = tmp_path / "volumes" / "claim"
    (volume / "rows").mkdir(parents=True)
    (volume / "rows" / "real.jsonl").write_text("{}\n")
    (volume / "rows" / "a.jsonl").symlink_to("real.jsonl")
    (volume / "outside.jsonl").symlink_to("/proc/self/environ")
    assert resolve_dataset(Source(uri="pvc://claim/rows", path=str(volume / "rows"))) == volume / "rows"
    reason, message = refusal(resolve_dataset, Source(uri="pvc://claim/outside.jsonl", path=str(volume / "outside.jsonl")))
    assert (reason, message) == ("UnsafeModel", f"{volume / 'outside.jsonl'} is a link out of the volume of pvc://claim/outside.jsonl")
    (volume / "rows" / "b.jsonl").symlink_to("/etc/hostname")
    assert "b.jsonl is a link" in refusal(resolve_dataset, Source(uri="pvc://claim/rows", path=str(volume / "rows")))[1]


def test_a_key_of_a_config_map_is_a_link_that_stays(tmp_path):
    mount = tmp_path / "configmaps" / "rows"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026" / "train.jsonl").write_text("{}\n")
    (mount / "..data").symlink_to("..2026")
    (mount / "train.jsonl").symlink_to("..data/train.jsonl")
    assert resolve_dataset(Source(uri="configmap://rows/train.jsonl", path=str(mount / "train.jsonl"))) == mount / "train.jsonl"


def test_a_model_that_is_a_link_out_of_its_volume_is_refused(model, tmp_path):
    (tmp_path / "volumes" / "claim").mkdir(parents=True)
    link = tmp_path / "volumes" / "claim" / "model"
    link.symlink_to(model)
    assert refusal(resolve_model, Source(uri="pvc://claim/model", path=str(link)))[1] == f"{link} is a link out of the volume of pvc://claim/model"


NOT_FINITE = {
    "F32 NaN": ("F32", floats(1, float("nan"))), "F32 infinity": ("F32", floats(float("-inf"), 1)), "F32 signalling NaN": ("F32", floats(1) + b"\x01\x00\x80\x7f"),
    "F16 NaN": ("F16", b"\x00\x3c\x01\x7c"), "F16 infinity": ("F16", b"\x00\xfc\x00\x3c"), "BF16 NaN": ("BF16", b"\x80\x3f\xc0\x7f"),
    "BF16 infinity": ("BF16", b"\x80\xff\x80\x3f"), "F64 NaN": ("F64", struct.pack("<2d", 1, float("nan"))), "F8 NaN": ("F8_E4M3", b"\x38\x7f"),
    "F8 infinity": ("F8_E5M2", b"\x3c\x7c"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_FINITE)
def test_weights_that_are_no_numbers_are_named(model, case):
    dtype, data = NOT_FINITE[case]
    (model / "model.safetensors").write_bytes(safetensors(("fine", "F32", [1], floats(1)), ("broken", dtype, [2], data)))
    assert refusal(model_digest, model, Source(uri="pvc://m/model")) == (
        "UnsafeModel",
        f"{model / 'model.safetensors'}: tensor `broken` has NaN or infinite values; nothing that is computed with them has a meaning",
    )


def test_weights_that_are_no_numbers_are_never_published(tmp_path):
    reason, message = refusal(artifact, tmp_path, weights(1.0, float("inf")))
    assert (reason, "tensor `weight` has NaN" in message) == ("NotFinite", True)
    assert list((tmp_path / "artifact").iterdir()) == []


def test_an_artifact_with_broken_weights_and_right_hashes_is_refused(tmp_path, monkeypatch):
    """As one made by something else than this trainer."""
    final = artifact(tmp_path)
    broken = weights(float("nan"))
    content = json.loads((final / MANIFEST_NAME).read_text())
    (final / "model.safetensors").write_bytes(broken)
    content["files"][1] |= {"sha256": hashlib.sha256(broken).hexdigest(), "size": len(broken)}
    (final / MANIFEST_NAME).write_text(json.dumps(content))
    reason, message = refusal(verify, final)
    assert (reason, "tensor `weight` has NaN" in message) == ("UnsafeModel", True)


LARGEST = {
    "F32": b"\xff\xff\x7f\x7f",
    "BF16": b"\x7f\xff",
    "F16": b"\xff\x7b",
    "F64": struct.pack("<d", 1.7976931348623157e308),
    "F8_E4M3": b"\x7e",
    "F8_E5M2": b"\xfb",
}


@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 1000])
def test_the_scan_does_not_depend_on_the_chunks(tmp_path, dtype, chunk):
    number = LARGEST[dtype]
    bad = {"F32": "F32 NaN", "BF16": "BF16 NaN", "F16": "F16 NaN", "F64": "F64 NaN", "F8_E4M3": "F8 NaN", "F8_E5M2": "F8 infinity"}[dtype]
    pair = NOT_FINITE[bad][1]
    good = ("good", dtype, [50], number * 50)
    for tensors, expected in (
        ([("u", "U8", [3], b"\xff\x7f\x7f"), good], None),
        ([("u", "U8", [3], b"abc"), good, ("bad", dtype, [2], pair), good2(dtype)], "bad"),
    ):
        path = tmp_path / "a.safetensors"
        path.write_bytes(safetensors(*tensors))
        scan = FiniteScan(read_header(path))
        data = path.read_bytes()
        for start in range(0, len(data), chunk):
            scan.feed(data[start : start + chunk])
        assert scan.broken == expected


def good2(dtype):
    return ("zeros", dtype, [4], bytes(4 * BITS[dtype] // 8))


def test_one_number_among_millions_is_found():
    size = 1 << 24
    for last, expected in ((b"\x12\xbd", None), (b"\x80\x7f", "a")):
        data = safetensors(("a", "BF16", [size // 2], b"\x12\xbd\x34\x3c" * (size // 4 - 1) + b"\x34\x3c" + last))
        length = header_length(data[:8], len(data))
        scan = FiniteScan(Header(parse_header(data[8 : 8 + length], size), 8 + length))
        for start in range(0, len(data), 1 << 20):
            scan.feed(data[start : start + (1 << 20)])
        assert scan.broken == expected


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling.Model"}}), ("config.json", {"vision_config": {"auto_map": {"AutoModel": "org/repo--modeling.Model"}}}),
        ("config.json", {"experts": [{"auto_map": {}}]}), ("preprocessor_config.json", {"auto_map": {}}), ("tokenizer_config.json", {"x": {"auto_map": {}}}),
    ],
)  # fmt: skip
def test_references_to_code_are_found_at_any_depth(model, name, config):
    (model / name).write_text(json.dumps(config))
    for check in (check_model_directory, check_tokenizer_directory):
        reason, message = refusal(check, model)
        assert (reason, "auto_map" in message, str(model / name) in message) == ("UnsafeModel", True, True)


@pytest.mark.parametrize("name", ["modeling_bot.py", "sub/__init__.py", "compiled.pyc", "kernel.so"])
def test_code_is_refused_beside_good_weights(model, name):
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("import os")
    for check in (check_model_directory, check_tokenizer_directory):
        reason, message = refusal(check, model)
        assert (reason, message.split(" ")[0]) == ("UnsafeModel", str(model / name))


TOO_LONG = "{{ x }}" * (MAX_TEMPLATE_CHARACTERS // 7 + 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.jinja", TOO_LONG), ("additional_chat_templates/tools.jinja", TOO_LONG), ("tokenizer_config.json", json.dumps({"chat_template": TOO_LONG})),
        ("tokenizer_config.json", json.dumps({"chat_template": [{"name": "default", "template": TOO_LONG}]})), ("chat_template.json", json.dumps({"chat_template": TOO_LONG})),
    ],
)  # fmt: skip
def test_templates_of_a_book_are_refused(model, name, content):
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text(content)
    reason, message = refusal(check_model_directory, model)
    assert (reason, "chat template of" in message, str(model / name) in message) == ("UnsafeModel", True, True)
